"""Attention: every token attends to all tokens before it."""

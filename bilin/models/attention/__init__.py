"""Attention: every token looks at all that came before it."""

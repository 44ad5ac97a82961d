"""Selective state spaces: linear recurrences with diagonal transitions that depend on the input."""

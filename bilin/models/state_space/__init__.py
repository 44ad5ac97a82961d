"""Selective state spaces: linear recurrences whose diagonal transitions depend on the input."""

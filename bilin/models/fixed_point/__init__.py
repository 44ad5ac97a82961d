"""Layers whose output is the fixed point of an iteration of diagonal recurrences."""

"""Nonlinear recurrences: a state that a gate or a squashing function updates."""

"""Trains a trial: its state, steps, evaluations and checkpoints."""

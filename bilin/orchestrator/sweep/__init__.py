"""Runs a sweep: the launch, its loop, what it writes, and the snapshots that it shows."""

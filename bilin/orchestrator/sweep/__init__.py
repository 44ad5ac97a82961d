"""Runs a sweep: the launch, its loop, what it writes, and what it looks like meanwhile."""

"""Blocks of settings read from nodes, with the checks of their fields. May import yaml and faults."""

"""Architectures that the bilinear ones are compared with."""

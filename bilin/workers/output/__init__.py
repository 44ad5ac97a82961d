"""Keeps what trials print beside the store. Standard library only."""

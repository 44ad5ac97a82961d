"""Figures of results: the numbers behind each, and how it is drawn. The home of matplotlib, which is an extra."""

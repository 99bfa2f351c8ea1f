"""Finished runs, as values to read."""

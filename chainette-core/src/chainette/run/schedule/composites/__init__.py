"""Flows on their way through routes and repeats."""

"""Rows and their items on their way through the nodes of a chain."""

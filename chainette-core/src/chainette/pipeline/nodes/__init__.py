"""The nodes of a chain."""

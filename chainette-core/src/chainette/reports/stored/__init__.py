"""A run as its folder holds it, read without its chain."""

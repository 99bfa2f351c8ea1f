"""Readers of files and tables, one for each format."""

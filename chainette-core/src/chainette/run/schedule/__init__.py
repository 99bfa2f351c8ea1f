"""Rows in flight."""

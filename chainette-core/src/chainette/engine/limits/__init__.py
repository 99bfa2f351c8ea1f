"""Limits of what is sent to a server at a time, and in a time."""

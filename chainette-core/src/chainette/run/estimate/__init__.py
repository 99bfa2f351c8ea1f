"""Tokens, dollars and time of a run, estimated from a random sample of its rows."""

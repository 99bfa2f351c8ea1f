"""Comparison of two runs, or of a run with labels, from their folders."""

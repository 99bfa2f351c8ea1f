"""The schedule of a run: rows in flight, and what they wait for."""

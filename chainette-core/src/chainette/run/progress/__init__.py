"""The progress of a run, for people who wait for it."""

"""Input rows of a run."""

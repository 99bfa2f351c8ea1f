"""Input rows."""

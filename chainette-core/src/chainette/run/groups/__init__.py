"""The groups of a run: made of the rows when all of them have ended."""

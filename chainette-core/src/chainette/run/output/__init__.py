"""Output of a run: journal, results, tables."""

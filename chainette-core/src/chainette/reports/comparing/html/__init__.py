"""A comparison as an HTML page, with the table of a run's report."""

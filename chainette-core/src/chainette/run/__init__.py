"""Running a chain over a dataset."""

"""A run's tables as files of other programs."""

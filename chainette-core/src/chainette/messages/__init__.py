"""Messages and other texts for people who read them at a terminal, in a notebook or in code."""

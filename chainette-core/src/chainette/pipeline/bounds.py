"""Bounds within which prompts are rendered."""

MAX_PROMPT = 10_000_000
"""Maximum characters of a rendered prompt, and of any text that is made on the way, by default."""
MAX_LOOPS = 1_000_000
"""Maximum rounds of all loops together, for one prompt."""
MAX_BITS = 100_000
"""Maximum bits of a number."""

"""What every engine's client does."""

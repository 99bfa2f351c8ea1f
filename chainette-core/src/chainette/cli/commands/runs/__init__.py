"""The commands about runs on disk."""

"""Prompts that are longer than a model's context."""

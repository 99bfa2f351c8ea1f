"""Chains: steps, prompts, and how they are loaded."""

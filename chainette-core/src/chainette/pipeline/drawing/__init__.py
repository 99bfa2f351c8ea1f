"""Chains and their nodes as pictures and cards, for notebooks."""

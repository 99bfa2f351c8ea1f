"""Nodes that lead their item through nodes of their own: routes and repeats."""

"""Digests of all that a node's outputs depend on, which two processes can compare."""

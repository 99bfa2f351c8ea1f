"""What the outputs of nodes depend on, as digests that two processes can compare."""

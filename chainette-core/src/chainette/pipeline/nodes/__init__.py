"""The nodes of a chain, and the flows that they form."""

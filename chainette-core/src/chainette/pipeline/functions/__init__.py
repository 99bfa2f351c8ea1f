"""Parameters of the functions in chains, and the engine calls that they make."""

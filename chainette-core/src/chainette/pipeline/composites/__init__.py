"""Parts of a chain that hold other parts: routes, repeats, and what works on groups."""

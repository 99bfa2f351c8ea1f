"""Parts of a chain that hold other parts."""

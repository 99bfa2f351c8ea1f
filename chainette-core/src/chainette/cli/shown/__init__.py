"""What the command line says to people: words, help and tables."""

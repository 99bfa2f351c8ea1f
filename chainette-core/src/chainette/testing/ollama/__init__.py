"""A fake of Ollama that answers as recorded exchanges with the real program do."""

"""Nodes that say what is done with an item in a word: no function has to be written."""

"""Engines: their configuration, their clients, and what all clients share."""

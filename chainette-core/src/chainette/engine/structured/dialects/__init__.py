"""Schemas as the decoders of servers take them."""

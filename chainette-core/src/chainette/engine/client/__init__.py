"""The part of a client that all backends share."""

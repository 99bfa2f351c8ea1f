"""The failure of a check that is not the backend's."""

from __future__ import annotations


class ModelError(AssertionError):
    """A failed check whose cause is the answer of a real model, not the backend."""

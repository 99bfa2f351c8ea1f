"""A cache of values computed from objects that every row shares, such as a step's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

CAPACITY = 64
"""Values that are kept; a chain has fewer steps."""


class IdentityCache(Generic[T]):
    """Values by the identity of the objects that they were computed from."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, ...], tuple[tuple[Any, ...], T]] = {}

    def clear(self) -> None:
        """Forget every value."""
        self._entries.clear()

    def get(self, objects: tuple[Any, ...], compute: Callable[[], T]) -> T:
        """The value for some objects, computed when they are first seen.

        Args:
            objects: Objects that do not change; they need not be hashable.
            compute: Computes the value.
        """
        key = tuple(map(id, objects))
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= CAPACITY:
                self._entries.clear()
            # The objects are kept, too: an id is unique only as long as its object lives.
            entry = self._entries[key] = objects, compute()
        return entry[1]

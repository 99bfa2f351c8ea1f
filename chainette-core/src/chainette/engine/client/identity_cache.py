"""What is computed once for objects that come again with every row, such as a step's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MOST = 64
"""So many values are kept; a chain has fewer steps."""


class IdentityCache(Generic[T]):
    """Values by the identity of the objects that they were made of."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, ...], tuple[tuple[Any, ...], T]] = {}

    def get(self, objects: tuple[Any, ...], make: Callable[[], T]) -> T:
        """The value for some objects, made when they are first seen.

        Args:
            objects: Objects that are not changed; they need no hash.
            make: Makes the value.
        """
        key = tuple(map(id, objects))
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= MOST:
                self._made.clear()
            # The objects are kept, too: an id is an object's own only as long as it lives.
            found = self._made[key] = objects, make()
        return found[1]

"""A sampler: the rule by which the values of a column are drawn."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chainette.errors import InputError
from chainette.samplers.cell import CellRandom

T_co = TypeVar("T_co", covariant=True)

_MUTABLE = (list, dict, set, bytearray)


@dataclass(frozen=True, repr=False, eq=False)
class Sampler(Generic[T_co]):
    """The rule by which the values of a column are drawn.

    Attributes:
        name: The function that makes it, such as `choice`.
        arguments: Its arguments.
        options: Its keywords, as far as they were given.
        draw: Draws a value for a cell, given its random numbers, the row so far, and the row's
            index.
        reads: The columns that it needs.
        version: That of the library that it draws from.
    """

    name: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    draw: Callable[[CellRandom, Mapping[str, Any], int], T_co]
    reads: frozenset[str] = frozenset()
    version: str = ""

    def __repr__(self) -> str:
        """The call that makes it."""
        words = [*map(_short, self.arguments)]
        words += [f"{key}={_short(it)}" for key, it in self.options.items() if it is not None]
        return f"{self.name}({', '.join(words)})"


def _short(value: Any) -> str:
    if callable(value) and not isinstance(value, type):
        return getattr(value, "__name__", type(value).__name__)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def same(value: Any) -> Any:
    """The value, or a copy where a row could change that of another row."""
    return copy.deepcopy(value) if isinstance(value, _MUTABLE) else value


def check_share(p: Any, what: str) -> None:
    """Check that a value is a probability.

    Raises:
        InputError: It is not.
    """
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
        raise InputError(f"{what} is {p!r}; give a number from 0 to 1")


def check_order(low: Any, high: Any, what: str) -> None:
    """Check that the lower end of a range is not above its upper end.

    Raises:
        InputError: It is.
    """
    if low > high:
        raise InputError(f"{what}: low is {low}, which is above high, {high}; exchange them")


def sizes(size: Any, most: int | None, what: str) -> tuple[int, int]:
    """The smallest and the largest size of a list.

    Args:
        size: A number, or the smallest and the largest one.
        most: Number of values that there are.
        what: The sampler.

    Raises:
        InputError: It is something else, or larger than there are values.
    """
    ends = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(ends) != 2 or any(isinstance(it, bool) or not isinstance(it, int) for it in ends):
        raise InputError(f"{what}: size is {size!r}; give a whole number, or two: (least, most)")
    if not 0 <= ends[0] <= ends[1]:
        raise InputError(f"{what}: size is {size!r}; give sizes of at least 0, the smaller first")
    if most is not None and ends[1] > most:
        raise InputError(f"{what}: size is {size!r}, but there are {most} values")
    return ends

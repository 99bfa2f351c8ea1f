"""Samplers of values from a list: one, several, or always the same."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import accumulate
from typing import Any, TypeVar, overload

from chainette.errors import InputError
from chainette.samplers.cell import CellRandom
from chainette.samplers.sampler import Sampler, check_share, same, sizes

T = TypeVar("T")
EnumT = TypeVar("EnumT", bound=Enum)


@overload
def choice(values: Mapping[T, float], /) -> Sampler[T]: ...
@overload
def choice(values: type[EnumT], /, *, weights: Sequence[float] | None = None) -> Sampler[EnumT]: ...
@overload
def choice(values: list[T], /, *, weights: Sequence[float] | None = None) -> Sampler[T]: ...
@overload
def choice(*values: T, weights: Sequence[float] | None = None) -> Sampler[T]: ...
def choice(*values: Any, weights: Any = None) -> Sampler[Any]:
    """One of several values.

    Args:
        *values: The values; or one list, dict of weights by value, or `Enum` that has them.
        weights: How often each is drawn, compared with the others; equally often by default.

    Raises:
        InputError: There are no values, or the weights do not fit them.
    """
    found, parts = _options("choice", values, weights)
    if parts is None:
        count = len(found)
        return Sampler("choice", found, {}, lambda cell, *_: same(found[cell.below(count)]))
    drawn = [value for value, part in zip(found, parts, strict=True) if part]
    totals = [*accumulate(filter(None, parts))]
    whole, last = totals[-1], len(totals) - 1
    return Sampler(
        "choice",
        found,
        {"weights": parts},
        lambda cell, *_: same(drawn[bisect(totals, cell.random() * whole, 0, last)]),
    )


@overload
def subset(
    values: type[EnumT], /, *, size: int | tuple[int, int] | None = None
) -> Sampler[list[EnumT]]: ...
@overload
def subset(
    values: list[T], /, *, size: int | tuple[int, int] | None = None
) -> Sampler[list[T]]: ...
@overload
def subset(*values: T, size: int | tuple[int, int] | None = None) -> Sampler[list[T]]: ...
def subset(*values: Any, size: Any = None) -> Sampler[list[Any]]:
    """Several different ones of the values, in the order in which they are given.

    Args:
        *values: The values; or one list or `Enum` that has them.
        size: How many; two numbers are the least and the most. By default, at least one.

    Raises:
        InputError: There are no values, or fewer than `size`.
    """
    found, _ = _options("subset", values, None)
    least, most = sizes((1, len(found)) if size is None else size, len(found), "subset")

    def draw(cell: CellRandom, *_: Any) -> list[Any]:
        count = cell.randint(least, most)
        return [same(found[index]) for index in sorted(cell.sample(range(len(found)), count))]

    return Sampler("subset", found, {"size": (least, most)}, draw)


def constant(value: T) -> Sampler[T]:
    """The same value in every row."""
    return Sampler("constant", (value,), {}, lambda *_: same(value))


def boolean(p: float = 0.5) -> Sampler[bool]:
    """True or false.

    Args:
        p: The share of rows in which it is true.

    Raises:
        InputError: `p` is not a share.
    """
    check_share(p, "boolean: p")
    return Sampler("boolean", (p,), {}, lambda cell, *_: cell.random() < p)


def uuid() -> Sampler[str]:
    """A random UUID (version 4 of RFC 9562), as a text; no two rows have the same."""

    def draw(cell: CellRandom, *_: Any) -> str:
        text = f"{cell.getrandbits(128):032x}"
        variant = "89ab"[int(text[16], 16) & 3]
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    return Sampler("uuid", (), {}, draw)


def _options(
    what: str, values: tuple[Any, ...], weights: Any
) -> tuple[tuple[Any, ...], tuple[float, ...] | None]:
    """The values and their weights, in whatever form they are given.

    Raises:
        InputError: There are none, or the weights do not fit them.
    """
    if len(values) == 1:
        values, weights = _one_argument(what, values[0], weights)
    if not values:
        raise InputError(f"{what}: there are no values; give at least one")
    for value in values:
        if isinstance(value, Sampler):
            raise InputError(f"{what}: {value} is a sampler, not a value; see switch")
    return values, None if weights is None else _weights(what, weights, len(values))


def _one_argument(what: str, value: Any, weights: Any) -> tuple[tuple[Any, ...], Any]:
    """The values that one argument has, or is, and their weights.

    Raises:
        InputError: They have no order, or are of another kind.
    """
    if isinstance(value, set | frozenset):
        raise InputError(f"{what}: a set has no order; give a list, such as sorted(values)")
    if isinstance(value, Mapping):
        if weights is not None or what != "choice":
            raise InputError(f"{what}: give a list of values; a dict has their weights in choice")
        return tuple(value), tuple(value.values())
    is_enum = isinstance(value, type) and issubclass(value, Enum)
    if is_enum or isinstance(value, list | tuple | range):
        return tuple(value), weights
    if hasattr(value, "__iter__") and not _is_plain(value):
        raise InputError(f"{what}: give the values in a list, not in a {type(value).__name__}")
    return (value,), weights


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | bytes) or hasattr(type(value), "model_fields")


def _weights(what: str, weights: Any, count: int) -> tuple[float, ...]:
    if isinstance(weights, Mapping) or not hasattr(weights, "__iter__"):
        raise InputError(f"{what}: weights is {weights!r}; give a number for each value")
    found = tuple(weights)
    if len(found) != count:
        raise InputError(f"{what}: there are {count} values and {len(found)} weights")
    for weight in found:
        is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not is_number or not math.isfinite(weight) or weight < 0:
            raise InputError(f"{what}: a weight is {weight!r}; give numbers that are not negative")
    if not math.isfinite(sum(found)):
        raise InputError(f"{what}: the weights are too large to be added; give smaller ones")
    if not any(found):
        raise InputError(f"{what}: all weights are 0; one must be above it")
    return found

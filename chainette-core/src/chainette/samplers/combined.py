"""Samplers that draw from others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from chainette.errors import InputError
from chainette.samplers.cell import CellRandom
from chainette.samplers.functions import as_sampler
from chainette.samplers.sampler import Sampler, check_share, sizes

T = TypeVar("T")
_NONE: Any = object()


def optional(sampler: Sampler[T], p: float = 0.1) -> Sampler[T | None]:
    """A value, or none in some rows.

    Args:
        sampler: Draws the values.
        p: The share of rows that have none.

    Raises:
        InputError: `p` is not a share.
    """
    drawn = as_sampler(sampler, "optional")
    check_share(p, "optional: p")

    def draw(cell: CellRandom, row: Mapping[str, Any], row_id: int) -> Any:
        return None if cell.random() < p else drawn.draw(cell, row, row_id)

    return Sampler("optional", (drawn, p), {}, draw, drawn.reads)


def several(sampler: Sampler[T], size: int | tuple[int, int]) -> Sampler[list[T]]:
    """A list of values that are drawn one by one, so that some may be equal; see `subset`.

    Args:
        sampler: Draws the values.
        size: How many; two numbers are the least and the most.

    Raises:
        InputError: `size` is not a size.
    """
    drawn = as_sampler(sampler, "several")
    least, most = sizes(size, None, "several")

    def draw(cell: CellRandom, row: Mapping[str, Any], row_id: int) -> list[Any]:
        return [drawn.draw(cell, row, row_id) for _ in range(cell.randint(least, most))]

    return Sampler("several", (drawn, (least, most)), {}, draw, drawn.reads)


def switch(column: str, cases: Mapping[Any, Any], *, default: Any = _NONE) -> Sampler[Any]:
    """A value that depends on another column.

    Args:
        column: The other column, which comes before this one.
        cases: By its values: a sampler, a function of the row, or a value.
        default: What is drawn for other values; without it, they are an error.

    Raises:
        InputError: There are no cases.
    """
    if not isinstance(column, str):
        raise InputError(f"switch: column is {column!r}; give its name")
    if not isinstance(cases, Mapping) or not cases:
        raise InputError("switch: give a dict of samplers by value")
    arms = {value: as_sampler(it, f"switch: {value!r}") for value, it in cases.items()}
    other = None if default is _NONE else as_sampler(default, "switch: default")

    def draw(cell: CellRandom, row: Mapping[str, Any], row_id: int) -> Any:
        arm = arms.get(row[column], other)
        if arm is None:
            known = ", ".join(map(repr, arms))
            raise InputError(f"switch: no case for {row[column]!r}; the cases are {known}")
        return arm.draw(cell, row, row_id)

    inner = [*arms.values(), *([other] if other else [])]
    reads = frozenset({column}).union(*(it.reads for it in inner))
    return Sampler("switch", (column, arms), {"default": other}, draw, reads)

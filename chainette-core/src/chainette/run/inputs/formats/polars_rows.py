"""Rows of data frames of Polars, without Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chainette.errors import InputError
from chainette.run.inputs.formats.arrow_values import (
    Wanted,
    broken_in,
    warn_of_unreadable,
    warn_of_value,
)
from chainette.run.inputs.formats.csv_rows import check_columns
from chainette.run.inputs.formats.json_rows import Read

ROWS = 1024
"""Rows that are converted at a time."""
_FLOATS = ("Float32", "Float64")


def is_polars(inputs: Any) -> bool:
    """Whether inputs are a data frame of Polars that is not lazy."""
    return _module(inputs) == "polars" and hasattr(inputs, "iter_slices")


def is_lazy(inputs: Any) -> bool:
    """Whether inputs are a lazy data frame of Polars."""
    return (
        _module(inputs) == "polars"
        and hasattr(inputs, "collect_schema")
        and (not hasattr(inputs, "iter_slices"))
    )


def read_polars(frame: Any, wanted: Wanted) -> Iterator[Read]:
    """Read the rows of a data frame in chunks.

    Args:
        frame: The data frame.
        wanted: The columns that are wanted.

    Raises:
        InputError: A column that is needed has objects of Python.
    """
    names = list(frame.columns)
    check_columns(names, "the data frame")
    kinds = dict(zip(names, map(str, frame.dtypes), strict=True))
    for name, kind in kinds.items():
        if kind == "Object" and wanted.needs(name):
            raise InputError(f"the data frame: the column {name!r} cannot be read: it has objects")
        if kind == "Object" and wanted.takes(name):
            warn_of_unreadable("the data frame", name, "it has objects")
    names = [name for name in names if wanted.takes(name) and kinds[name] != "Object"]
    floats = [name for name in names if kinds[name] in _FLOATS]
    index = 0
    for chunk in frame.iter_slices(ROWS):
        for value, error in (
            _rows(chunk.select(names), wanted) if names else [({}, None)] * len(chunk)
        ):
            place = f"input row {index}"
            for name in floats if value is not None else ():
                if value.get(name, 0) != value.get(name, 0):
                    value[name] = None
            yield value, place, None if error is None else InputError(f"{place}: {error}")
            index += 1


def _rows(chunk: Any, wanted: Wanted) -> Iterator[tuple[Any, str | None]]:
    """The rows of a chunk; a value that Python does not have fails its row only.

    In a column that the chain does not need, only this value is not kept.
    """
    try:
        rows = chunk.to_dicts()
    except Exception as error:  # years after 9999
        if len(chunk) == 1:
            broken = broken_in(chunk.columns, lambda it: chunk.select([it]).to_dicts())
            name = next(filter(wanted.needs, broken), None)
            if broken and name is None:
                warn_of_value(type(error).__name__)
                yield from _rows(chunk.drop(broken), wanted)
                return
            yield None, f"the column {name!r} cannot be converted: {error}"
            return
        for single in chunk.iter_slices(1):
            yield from _rows(single, wanted)
        return
    for row in rows:
        yield row, None


def _module(inputs: Any) -> str:
    return type(inputs).__module__.partition(".")[0]

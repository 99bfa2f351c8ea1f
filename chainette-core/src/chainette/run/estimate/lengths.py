"""The lengths of all inputs, read once."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pydantic_core import to_json

from chainette.errors import InputError
from chainette.run.inputs.files import STDIN
from chainette.run.inputs.source import InputSource


async def lengths_of(source: InputSource) -> array[float]:
    """The characters of each input row, of which 8 bytes are in memory.

    Args:
        source: The inputs.

    Raises:
        InputError: They have no rows.
    """
    found = array("d")
    async with aclosing(source.rows()) as rows:
        async for row in rows:
            found.append(0.0 if row.error is not None else float(_length(row.value)))
    if not found:
        raise InputError("the inputs have no rows: there is nothing to estimate")
    return found


def check_countable(inputs: Any) -> None:
    """Refuse inputs that can be read only once: their rows are counted before some are drawn.

    Raises:
        InputError: They are such.
    """
    is_async = isinstance(inputs, AsyncIterable)
    is_once = isinstance(inputs, Iterator) or (is_async and not hasattr(inputs, "__len__"))
    is_stdin = isinstance(inputs, str | Path) and str(inputs) in STDIN
    if is_once or is_stdin:
        what = "standard input" if is_stdin else f"a {type(inputs).__name__}"
        raise InputError(
            f"an estimate needs the number of all rows, and {what} can be read only once: give a "
            "list, a data frame or a file"
        )


def _length(value: Any) -> int:
    """The length of a row as JSON; of what has no JSON, that of its text."""
    try:
        return len(to_json(value, fallback=str))
    except ValueError:  # such as half a surrogate pair
        return len(str(value))

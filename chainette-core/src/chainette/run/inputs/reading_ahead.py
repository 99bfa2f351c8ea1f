"""Rows that another thread reads, since the network may keep them waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator

from chainette.run.inputs.files import InputRow

AHEAD = 64
"""Rows that are read at a time."""


async def read_in_thread(rows: Iterator[InputRow]) -> AsyncGenerator[InputRow, None]:
    """Read rows without keeping the other tasks of the event loop waiting.

    Args:
        rows: Reads them, one by one.
    """
    while True:
        read, error = await asyncio.to_thread(_next, rows)
        for row in read:
            yield row
        if error is not None:
            raise error
        if len(read) < AHEAD:
            return


def _next(rows: Iterator[InputRow]) -> tuple[list[InputRow], Exception | None]:
    """The next rows, and the error that ended them."""
    read: list[InputRow] = []
    try:
        for row in rows:
            read.append(row)
            if len(read) == AHEAD:
                break
    except Exception as error:  # it is raised after the rows before it
        return read, error
    return read, None

"""Rows that another thread reads, since the network may keep them waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

from chainette.run.inputs.files import InputRow

AHEAD = 64
"""Rows that are read at a time, while those before them run."""
Read: TypeAlias = tuple[list[InputRow], Exception | None]
"""Rows, and the error that ended them."""


async def read_in_thread(rows: Iterator[InputRow]) -> AsyncGenerator[InputRow, None]:
    """Read rows without keeping the other tasks of the event loop waiting.

    The thread is one that the end of the program does not wait for, as a server may never answer.

    Args:
        rows: Reads them, one by one.
    """
    loop = asyncio.get_running_loop()
    wanted: SimpleQueue[asyncio.Future[Read] | None] = SimpleQueue()

    def read_on() -> None:
        while (future := wanted.get()) is not None:
            read = _next(rows)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(_settle, future, read)

    def ask() -> asyncio.Future[Read]:
        future: asyncio.Future[Read] = loop.create_future()
        wanted.put(future)
        return future

    Thread(target=read_on, name="chainette-inputs", daemon=True).start()
    coming = ask()
    try:
        while True:
            read, error = await coming
            is_last = error is not None or len(read) < AHEAD
            if not is_last:
                coming = ask()
            for row in read:
                yield row
            if error is not None:
                raise error
            if is_last:
                return
    finally:
        wanted.put(None)


def _settle(future: asyncio.Future[Read], read: Read) -> None:
    if not future.done():
        future.set_result(read)


def _next(rows: Iterator[InputRow]) -> Read:
    read: list[InputRow] = []
    try:
        for row in rows:
            read.append(row)
            if len(read) == AHEAD:
                break
    except Exception as error:  # it is raised after the rows before it
        return read, error
    return read, None

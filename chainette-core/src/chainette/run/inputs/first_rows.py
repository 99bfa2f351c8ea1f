"""The first rows of an asynchronous iterable, held until they show whether rows can fit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from typing import Any

from chainette.run.inputs.files import InputRow

PATIENCE = 0.5
"""Seconds that rows which lack a field are held while no other comes."""


class FirstRows:
    """Rows of an asynchronous iterable, of which the first are looked at.

    Only rows that lack a field are held, which are not sent in any case; a row that fits passes at
    once, and all that follow it. So a stream that waits for the answer to a row receives it.

    Args:
        inputs: The iterable.
        most: Number of rows to look at.
        may_fit: Says whether a row shows that rows can fit.
        check: Refuses rows none of which can fit.
    """

    def __init__(
        self,
        inputs: AsyncIterable[Any],
        most: int,
        may_fit: Callable[[InputRow], bool],
        check: Callable[[Sequence[InputRow]], None],
    ) -> None:
        self._inputs = inputs
        self._most = most
        self._may_fit = may_fit
        self._check = check
        self._held: list[InputRow] = []

    async def rows(self) -> AsyncGenerator[InputRow, None]:
        """Read the rows lazily, one by one.

        Raises:
            InputError: A field that is required is in none of the first rows.
        """
        iterator = aiter(self._inputs)
        index = 0
        next_value = await self._hold(iterator)
        for row in self._held:
            yield row
            index += 1
        self._held.clear()
        try:
            if next_value is not None:
                yield _row(index, await next_value)
                index += 1
            async for value in iterator:
                yield _row(index, value)
                index += 1
        except StopAsyncIteration:  # of `next_value`
            return
        finally:
            if next_value is not None and not next_value.done():
                next_value.cancel()
                await asyncio.wait([next_value])

    async def _hold(self, iterator: AsyncIterator[Any]) -> asyncio.Future[Any] | None:
        """Hold rows until one can fit, or the stream waits.

        Returns:
            The value that the stream waits for, if it does.

        Raises:
            InputError: None can fit.
        """
        held = self._held
        while len(held) < self._most:
            next_value = asyncio.ensure_future(anext(iterator))
            try:
                await asyncio.wait([next_value], timeout=PATIENCE if held else None)
                if not next_value.done():
                    return next_value
                held.append(_row(len(held), next_value.result()))
            except StopAsyncIteration:
                break
            except BaseException:
                next_value.cancel()
                raise
            if self._may_fit(held[-1]):
                return None
        self._check(held)
        return None


def _row(index: int, value: Any) -> InputRow:
    return InputRow(index, value, f"input row {index}")

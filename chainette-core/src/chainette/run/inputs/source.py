"""The input rows that a run takes."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from chainette.run.inputs.files import InputRow, check_file, count_inputs, digest, read_rows
from chainette.run.inputs.hugging_face import is_dataset, open_dataset
from chainette.run.inputs.selection import choose, select


class InputSource:
    """Inputs, with the selection of rows and columns.

    Args:
        inputs: The inputs; see `Chain.run`.
        limit: Maximum number of input rows.
        sample: Number of rows to take at random.
        columns: Columns of the input by the field that each becomes.

    Raises:
        InputError: The inputs cannot be read.
        ConfigError: An extra is needed to read them.
    """

    def __init__(
        self,
        inputs: Any,
        *,
        limit: int | None,
        sample: int | None,
        columns: Mapping[str, str] | None,
    ) -> None:
        self._path = str(inputs) if isinstance(inputs, str | Path) else None
        if is_dataset(inputs):
            inputs = open_dataset(inputs)
        elif isinstance(inputs, str | Path):
            check_file(inputs)
        self._inputs = inputs
        self._limit = limit
        self._columns = columns
        self._chosen = choose(inputs, sample, limit)

    async def rows(self) -> AsyncGenerator[InputRow, None]:
        """Read the rows lazily, one by one."""
        last = self._limit if self._chosen is None else len(self._chosen)
        count = 0
        if last == 0:
            return
        async with aclosing(read_rows(self._inputs)) as rows:
            async for row in rows:
                if self._chosen is not None and row.row_id not in self._chosen:
                    continue
                yield select(row, self._columns)
                count += 1
                if count == last:
                    return

    def order(self) -> Iterator[int]:
        """The row ids in the order of the inputs."""
        return itertools.count() if self._chosen is None else iter(sorted(self._chosen))

    def total(self) -> int | None:
        """The number of rows, or `None` where it is unknown."""
        if self._chosen is not None:
            return len(self._chosen)
        total = count_inputs(self._inputs)
        if self._limit is not None:
            return self._limit if total is None else min(total, self._limit)
        return total

    def identity(self) -> dict[str, str | None]:
        """The path and the digest of the inputs, as far as they have them."""
        return {"path": self._path, "sha256": digest(self._inputs)}

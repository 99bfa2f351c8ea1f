"""The input rows that a run takes."""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from chainette.errors import InputError
from chainette.run.inputs.columns import LOOK, Fields
from chainette.run.inputs.files import Files, InputRow, as_path
from chainette.run.inputs.hugging_face import is_dataset, open_dataset
from chainette.run.inputs.selection import choose, select
from chainette.run.inputs.tables import about_index, is_frame, read_frame

_logger = logging.getLogger(__name__)


class InputSource:
    """Inputs, with the selection of rows and columns.

    Args:
        inputs: The inputs; see `Chain.run`.
        limit: Maximum number of input rows.
        sample: Number of rows to take at random.
        columns: Columns of the input by the field that each becomes.
        model: Type of the rows.
        adapter: The validation of rows; that of `model` by default.

    Raises:
        InputError: The inputs cannot be read, are not rows, or lack a required column.
        ConfigError: An extra is needed to read them.
    """

    def __init__(
        self,
        inputs: Any,
        *,
        limit: int | None,
        sample: int | None,
        columns: Mapping[str, str] | None,
        model: Any = Any,
        adapter: TypeAdapter[Any] | None = None,
    ) -> None:
        if isinstance(inputs, str | Path):
            inputs = as_path(inputs)
        self._path = str(inputs) if isinstance(inputs, str | Path) else None
        if is_dataset(inputs):
            inputs = open_dataset(inputs)
        elif isinstance(inputs, str | Path):
            inputs = Files(inputs)
        else:
            _check_kind(inputs)
        self._inputs = inputs
        self._limit = limit
        self._columns = columns
        self._fields = Fields(adapter or TypeAdapter(model), model)
        self._is_checked = self._check_first()
        self._chosen = choose(self._count(), sample, limit)

    def _check_first(self) -> bool:
        """Look at the first rows, where that does not use them up."""
        inputs = self._inputs
        if not (
            (isinstance(inputs, Files) and not inputs.is_stdin)
            or (is_frame(inputs) and hasattr(inputs, "__len__"))
            or isinstance(inputs, Sequence)
            or (hasattr(inputs, "_fingerprint") and hasattr(inputs, "__len__"))
        ):
            return False
        rows = _rows(inputs)
        self._check(list(itertools.islice(rows, LOOK)))
        return True

    def _check(self, rows: Sequence[InputRow]) -> None:
        try:
            self._fields.check(rows, self._path or "the inputs", self._columns or {})
        except InputError as error:
            raise InputError(f"{error}{about_index(self._inputs)}") from None

    async def rows(self) -> AsyncGenerator[InputRow, None]:
        """Read the rows lazily, one by one."""
        last = self._limit if self._chosen is None else len(self._chosen)
        count = 0
        if last == 0:
            return
        async with aclosing(_read(self._inputs)) as rows:
            async for row in rows:
                if not self._is_checked:
                    self._is_checked = True
                    if not isinstance(row.value, Mapping):  # later rows may have other columns
                        self._check([row])
                if self._chosen is not None and row.row_id not in self._chosen:
                    continue
                yield self._fields.fitted(select(row, self._columns))
                count += 1
                if count == last:
                    return
        if count == 0 and isinstance(self._inputs, Iterator | AsyncIterator):
            _logger.warning(
                "the inputs had no rows; an iterator can be read only once: give a list, or make "
                "it again"
            )

    def order(self) -> Iterator[int]:
        """The row ids in the order of the inputs."""
        return itertools.count() if self._chosen is None else iter(sorted(self._chosen))

    def total(self) -> int | None:
        """The number of rows, or `None` where it is unknown."""
        if self._chosen is not None:
            return len(self._chosen)
        total = self._count()
        if self._limit is not None:
            return self._limit if total is None else min(total, self._limit)
        return total

    def identity(self) -> dict[str, str | None]:
        """The path and the digest of the inputs, as far as they have them."""
        inputs = self._inputs
        known = inputs.digest() if isinstance(inputs, Files) else None
        return {"path": self._path, "sha256": known or getattr(inputs, "_fingerprint", None)}

    def _count(self) -> int | None:
        if isinstance(self._inputs, Files):
            return self._inputs.count()
        return len(self._inputs) if hasattr(self._inputs, "__len__") else None


def _check_kind(inputs: Any) -> None:
    """Refuse what is not rows, and say how to give them.

    Raises:
        InputError: It is something else.
    """
    name = type(inputs).__name__
    if isinstance(inputs, Mapping):
        raise InputError(_about_mapping(inputs))
    if isinstance(inputs, BaseModel):
        raise InputError(f"expected rows, not one ({name}): give [row], or run_one(row)")
    if isinstance(inputs, bytes | bytearray | memoryview):
        raise InputError(f"expected rows or the path of a file, not {name}")
    if isinstance(inputs, io.IOBase):
        raise InputError("expected rows or the path of a file, not an open file: give its path")
    if isinstance(inputs, Coroutine):
        inputs.close()
        raise InputError("expected rows, not a coroutine: await it first")
    if isinstance(inputs, type) or not isinstance(inputs, Iterable | AsyncIterable):
        if is_frame(inputs):
            return
        raise InputError(f"inputs is neither an iterable nor a path: {name}{_next_step(inputs)}")


def _next_step(inputs: Any) -> str:
    """What makes rows of something that is not rows yet; empty if that is not known."""
    if isinstance(inputs, type):
        return ""
    if hasattr(inputs, "collect"):  # a lazy frame of Polars
        return ": give its collect()"
    return ": call it" if callable(inputs) else ""


def _about_mapping(inputs: Mapping[Any, Any]) -> str:
    """The message about a dict in place of rows."""
    values = list(inputs.values())
    if values and all(
        hasattr(each, "_fingerprint") or hasattr(each, "n_shards") for each in values
    ):
        return f"expected rows, not splits: give one of them: {', '.join(map(str, inputs))}"
    if values and all(isinstance(value, Mapping | BaseModel) for value in values):
        return (
            f"expected rows, not a dict of them ({type(inputs).__name__}): give "
            "list(rows.values()); of a data frame, give the frame itself"
        )
    is_columns = all(hasattr(value, "__len__") and not isinstance(value, str) for value in values)
    if values and is_columns:
        return (
            "expected rows, not a dict of columns: give [row], or run_one(row), for one row; for "
            "columns, [dict(zip(columns, cells)) for cells in zip(*columns.values())]"
        )
    return f"expected rows, not one ({type(inputs).__name__}): give [row], or run_one(row)"


async def _read(inputs: Any) -> AsyncGenerator[InputRow, None]:
    """Read rows lazily, one by one."""
    if isinstance(inputs, AsyncIterable) and not isinstance(inputs, Iterable):
        index = 0
        async for value in inputs:
            yield InputRow(index, value, f"input row {index}")
            index += 1
    else:
        for row in _rows(inputs):
            yield row


def _rows(inputs: Any) -> Iterator[InputRow]:
    if isinstance(inputs, Files):
        yield from inputs.rows()
    elif is_frame(inputs):
        for index, read in enumerate(read_frame(inputs)):
            yield InputRow(index, *read, True)
    else:
        for index, value in enumerate(inputs):
            yield InputRow(index, value, f"input row {index}")

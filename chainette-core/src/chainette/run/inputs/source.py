"""The input rows that a run takes."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from chainette.errors import InputError
from chainette.remote.address import shown
from chainette.reports.digest import values_digest
from chainette.reports.frames.from_arrow import Origin
from chainette.run.inputs.columns import LOOK, Fields
from chainette.run.inputs.files import FileFormat, Files, InputRow
from chainette.run.inputs.formats.arrow_values import Wanted
from chainette.run.inputs.formats.hugging_face import is_dataset, open_dataset, with_plain_rows
from chainette.run.inputs.formats.pandas_rows import about_index, named_index
from chainette.run.inputs.formats.tables import (
    as_frame,
    blaming_inputs,
    is_frame,
    is_query,
    origin_of,
    read_frame,
)
from chainette.run.inputs.generated import Rows
from chainette.run.inputs.kept import COLUMN, Kept
from chainette.run.inputs.not_rows import check_kind
from chainette.run.inputs.paths import as_path
from chainette.run.inputs.reading_ahead import read_in_thread
from chainette.run.inputs.selection import choose, select, wanted

_logger = logging.getLogger(__name__)

PATIENCE = 0.5
"""Seconds that rows which lack a field are held while no other comes."""


class InputSource:
    """Inputs, with the selection of rows and columns.

    Args:
        inputs: The inputs; see `Chain.run`.
        limit: Maximum number of input rows.
        sample: Number of rows to take at random.
        columns: Columns of the input by the field that each becomes.
        keep: Takes the columns to keep of every row, or `None`.
        encoding: Encoding of files.
        delimiter: Delimiter of CSV files.
        model: Type of the rows.
        adapter: The validation of rows; that of `model` by default.

    Attributes:
        origin: What is known of the types of the columns.

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
        keep: Kept | None = None,
        encoding: str | None = None,
        delimiter: str | None = None,
        model: Any = Any,
        adapter: TypeAdapter[Any] | None = None,
    ) -> None:
        if isinstance(inputs, str | Path):
            inputs = as_path(inputs)
        self._path = shown(inputs) if isinstance(inputs, str | Path) else None
        self._wanted = wanted(columns, keep)
        self._fields = Fields(adapter or TypeAdapter(model), model)
        self._fields.check_fields(columns or {})
        if is_dataset(inputs):
            inputs = open_dataset(inputs)
        elif isinstance(inputs, str | Path):
            inputs = Files(inputs, FileFormat(encoding, delimiter), self._wanted)
        else:
            inputs = self._in_memory(inputs, model)
        if (encoding or delimiter) and not isinstance(inputs, Files):
            raise InputError("encoding and delimiter are for files; the inputs are rows already")
        self._inputs = inputs
        self._limit = limit
        self._columns = columns
        self._keep = keep
        self._index = named_index(inputs) if keep is not None else None
        self._look = LOOK if limit is None else min(LOOK, limit)
        self._chosen: frozenset[int] | None = None
        origin = inputs.origin() if isinstance(inputs, Files) else origin_of(inputs)
        self.origin: Origin = replace(origin, kept=self._wanted.kept)
        self._count: int | None = self._counted(sample)
        self._begun = self._check_first()
        self._chosen = choose(self._count, sample, limit)

    def _in_memory(self, inputs: Any, model: Any) -> Any:
        """The inputs as they are read, where they are neither files nor the name of a dataset."""
        name = COLUMN if self._fields.is_value else None
        with blaming_inputs():
            inputs = with_plain_rows(as_frame(inputs, name))
            check_kind(inputs, model)
        return inputs

    def _check_first(self) -> Iterator[InputRow] | None:
        """Look at the first rows.

        Returns:
            The rows, where looking at the first of them uses them up.
        """
        inputs = self._inputs
        if isinstance(inputs, AsyncIterable) and not isinstance(inputs, Iterable):
            return None
        rows = self._rows()
        if (
            (isinstance(inputs, Files) and not (inputs.is_stdin or inputs.is_remote))
            or isinstance(inputs, Rows)
            or _is_in_memory(inputs)
            or (hasattr(inputs, "_fingerprint") and hasattr(inputs, "__len__"))
        ):
            first = list(itertools.islice(rows, LOOK))
            self._check_kept(first)
            self._check(first)
            return None
        first = []
        if isinstance(inputs, Files) and inputs.is_remote:
            first += itertools.islice(rows, LOOK)
            self._check_kept(first)
            self._check(first)
            return itertools.chain(first, rows)
        # The program that writes the rows may wait for an answer: none is read after one that fits.
        for row in itertools.islice(rows, self._look):
            first.append(row)
            self._check_kept(first)
            if self._may_fit(row):
                return itertools.chain(first, rows)
        self._check(first)
        return itertools.chain(first, rows)

    def _check_kept(self, rows: Sequence[InputRow]) -> None:
        """Refuse to keep a column that a table does not have."""
        if self._keep is None or not self._keep.names:
            return
        known = getattr(self._inputs, "column_names", None)  # of a Hugging Face dataset
        if isinstance(self._inputs, Rows):
            known = self._inputs.columns
        tables = (row.value for row in rows if row.is_record and isinstance(row.value, Mapping))
        if (columns := known or next(tables, None)) is not None:
            columns = [*columns, *(self._index.names if self._index else ())]
            self._keep.check(columns, self._path or "the inputs")

    def _check(self, rows: Sequence[InputRow]) -> None:
        try:
            self._fields.check(rows, self._path or "the inputs", self._columns or {})
            if isinstance(self._inputs, Rows) and self._columns is None:
                self._fields.check_names(self._inputs.drawn, self._inputs.columns)
        except InputError as error:
            raise InputError(f"{error}{about_index(self._inputs)}") from None

    def _may_fit(self, row: InputRow) -> bool:
        return self._fields.may_fit(row, self._columns or {})

    async def rows(self) -> AsyncGenerator[InputRow, None]:
        """Read the rows lazily, one by one."""
        last = self._limit if self._chosen is None else len(self._chosen)
        count, keep, index = 0, self._keep, self._index
        if last == 0:
            return
        async with aclosing(self._read()) as rows:
            async for row in rows:
                if self._chosen is not None and row.row_id not in self._chosen:
                    continue
                if keep is not None:
                    value = row.value if index is None else index.columns(row.row_id) | row.value
                    keep.rows[row.row_id] = keep.of(value)
                yield self._fields.fitted(select(row, self._columns))
                count += 1
                if count == last:
                    break
        if keep is not None and count:
            keep.close()
        if count == 0 and isinstance(self._inputs, Iterator | AsyncIterator):
            _logger.warning(
                "the inputs had no rows; an iterator can be read only once: give a list, or make "
                "it again"
            )

    async def _read(self) -> AsyncGenerator[InputRow, None]:
        """All rows, not yet selected."""
        inputs = self._inputs
        if isinstance(inputs, AsyncIterable) and not isinstance(inputs, Iterable):
            first = FirstRows(inputs, self._look, self._may_fit, self._check)
            async with aclosing(first.rows()) as rows:
                async for row in rows:
                    yield row
            return
        begun, self._begun = self._begun, None
        found = begun or self._rows()
        if isinstance(inputs, Files) and inputs.is_remote:
            async for row in read_in_thread(found):
                yield row
            return
        for row in found:
            yield row

    def _rows(self, columns: Wanted | None = None) -> Iterator[InputRow]:
        inputs = self._inputs
        if isinstance(inputs, Files):
            yield from inputs.rows()
        elif isinstance(inputs, Rows):
            yield from inputs.read(self._chosen)
        elif is_frame(inputs):
            for index, read in enumerate(read_frame(inputs, columns or self._wanted)):
                yield InputRow(index, *read, True)
        else:
            for index, value in enumerate(inputs):
                yield InputRow(index, value, f"input row {index}")

    def order(self) -> Iterator[int]:
        """The row ids in the order of the inputs."""
        return itertools.count() if self._chosen is None else iter(sorted(self._chosen))

    def total(self) -> int | None:
        """The number of rows, or `None` where it is unknown."""
        if self._chosen is not None:
            return len(self._chosen)
        total = self._count
        if self._limit is not None:
            return self._limit if total is None else min(total, self._limit)
        return total

    @property
    def paths(self) -> list[Path]:
        """The files of this machine that the rows come from."""
        files = self._inputs.paths if isinstance(self._inputs, Files | Rows) else []
        return [path for path in files if isinstance(path, Path)]

    def identity(self) -> dict[str, str | None]:
        """The path and the digest of the inputs, as far as they have them."""
        inputs = self._inputs
        known = getattr(inputs, "_fingerprint", None)
        if isinstance(inputs, Files | Rows):
            known = inputs.digest()
        elif known is None and _is_in_memory(inputs):
            needed = wanted(self._columns, None)  # whatever is kept, the inputs are the same
            rows = (str(it.error) if it.error else it.value for it in self._rows(needed))
            known = values_digest(rows)
        return {"path": self._path, "sha256": known}

    def _counted(self, sample: int | None) -> int | None:
        """The number of rows, or `None` where it is unknown."""
        if sample is None and is_query(self._inputs):  # to count would run the query once more
            return None
        if isinstance(self._inputs, Files):
            return self._inputs.count(is_needed=sample is not None)
        return len(self._inputs) if hasattr(self._inputs, "__len__") else None


def _is_in_memory(inputs: Any) -> bool:
    """Whether rows can be read more than once, without much effort."""
    is_table = is_frame(inputs) and hasattr(inputs, "__len__")
    if is_query(inputs):
        return False
    return is_table or (isinstance(inputs, Sequence) and not hasattr(inputs, "_fingerprint"))


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

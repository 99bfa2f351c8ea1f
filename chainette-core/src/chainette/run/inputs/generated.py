"""Rows from nothing: drawn from samplers, the same ones for the same seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from types import FunctionType
from typing import Any, overload

from chainette.errors import InputError
from chainette.run.inputs.columns import RESEMBLING
from chainette.run.inputs.files import InputRow
from chainette.run.inputs.given import Given
from chainette.run.inputs.paths import InputFile
from chainette.samplers.cell import CellRandom
from chainette.samplers.functions import as_sampler
from chainette.samplers.sampler import Sampler
from chainette.text import described, did_you_mean

SHOWN = 3
"""Rows that are shown of a table."""
_OPTIONS = ("seed", "given")


class Rows(Sequence[dict[str, Any]]):
    """Rows that are drawn when they are read; see `rows`.

    A cell depends on the seed, the name of its column and the index of its row alone.

    Args:
        count: The number of rows.
        samplers: The samplers by column.
        seed: The seed.
        given: The data that each row begins with a row of.
    """

    def __init__(
        self, count: int, samplers: Mapping[str, Sampler[Any]], seed: int, given: Given | None
    ) -> None:
        self._count = count
        self._seed = seed
        self._samplers = dict(samplers)
        self._given = given
        self._draw = CellRandom.column(seed, "\0given")
        self._columns = [
            (name, sampler.draw, CellRandom.column(seed, name))
            for name, sampler in samplers.items()
        ]

    def __len__(self) -> int:
        """The number of rows."""
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Draw the rows one by one."""
        cell = CellRandom()
        return (self._row(index, cell) for index in range(self._count))

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Draw a row, or a list of several."""
        cell = CellRandom()
        if isinstance(index, slice):
            return [self._row(each, cell) for each in range(self._count)[index]]
        try:
            return self._row(range(self._count)[index], cell)
        except IndexError:
            raise IndexError(f"there is no row {index}; there are {self._count}") from None

    def __repr__(self) -> str:
        """The first rows."""
        try:
            first = [_shortened(row) for row in islice(self, SHOWN)]
        except InputError as error:
            first = [str(error)]
        more = ["…"] if self._count > SHOWN else []
        lines = "".join(f"\n  {line}" for line in [*first, *more])
        return f"<{self._count} rows, seed {self._seed}:{lines}>"

    def read(self, chosen: Collection[int] | None = None) -> Iterator[InputRow]:
        """Draw the rows for a run: one that cannot be drawn fails alone.

        Args:
            chosen: Their indexes; by default all.
        """
        cell = CellRandom()
        is_table = self._given is not None and self._given.is_table
        for index in range(self._count) if chosen is None else sorted(chosen):
            place = f"input row {index}"
            try:
                row = self._row(index, cell)
            except InputError as error:
                yield InputRow(index, None, place, error)
                continue
            # An empty cell of the data may be left out, but a value that was drawn is one.
            is_record = is_table and all(row[name] is not None for name in self._samplers)
            yield InputRow(index, row, place, None, is_record)

    @property
    def drawn(self) -> list[str]:
        """The columns that are drawn, without those that only other columns need."""
        reads = frozenset[str]().union(*(it.reads for it in self._samplers.values()))
        return [name for name in self._samplers if name not in reads]

    @property
    def columns(self) -> set[str]:
        """The names of all columns that a row can have."""
        return {*self._samplers, *(self._given.columns if self._given else ())}

    @property
    def paths(self) -> list[InputFile]:
        """The files that rows are drawn from."""
        return self._given.paths if self._given else []

    def digest(self) -> str | None:
        """A digest of all that decides on the rows; `None` if the data has no digest."""
        data = self._given.digest() if self._given else ""
        if data is None:
            return None
        texts = [[name, _identity(sampler)] for name, sampler in self._samplers.items()]
        text = json.dumps(["rows 1", self._count, self._seed, data, texts], sort_keys=True)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    def _row(self, index: int, cell: CellRandom) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if self._given is not None:
            cell.start(self._draw, index)
            row = self._given.row(cell.below(len(self._given)))
        for name, draw, column in self._columns:
            cell.start(column, index)
            try:
                row[name] = draw(cell, row, index)
            except Exception as error:  # of a function of the user's
                raise _failed(index, name, row, error) from error
        return row


def rows(
    count: int,
    columns: Mapping[str, Any] | None = None,
    /,
    *,
    seed: int = 0,
    given: Any = None,
    **more: Any,
) -> Rows:
    """Rows from nothing, as the inputs of a chain.

    A row is the same for the same seed and index, whatever comes before it: in every process, and
    with another `count`. Another column does not change the others. A run can be resumed; other
    samplers, or another seed, count or function, are refused as other inputs.

    Args:
        count: The number of rows.
        columns: Columns whose names cannot be keywords; see `more`.
        seed: Another seed gives other rows.
        given: Data to draw from: dicts or models, a data frame, a dataset, or the path of a file.
            Each row begins with a row of it, which is drawn with replacement.
        **more: By column, in order: a sampler of `chainette.samplers`; a function of the row so
            far, which may also take `rng`, a `random.Random`, and `row_id`; or the same value for
            all rows.

    Raises:
        InputError: An argument is wrong, or the data cannot be read.
        ConfigError: An extra is needed to read the data.
    """
    _check_numbers(count, seed)
    if columns is not None and not isinstance(columns, Mapping):
        raise InputError(f"rows: columns is {columns!r}; give a dict of samplers by column")
    _check_names(columns or {}, more)
    data = None if given is None else Given(given)
    samplers: dict[str, Sampler[Any]] = {}
    named = {**(columns or {}), **more}
    for name, value in named.items():
        samplers[name] = sampler = column_sampler(name, value)
        check_reads(name, sampler, samplers, data.columns if data else (), named)
    return Rows(count, samplers, seed, data)


def _check_names(columns: Mapping[Any, Any], more: Mapping[str, Any]) -> None:
    """Check the names of columns.

    Raises:
        InputError: One is not a text, or is given twice.
    """
    for name in columns:
        if not isinstance(name, str) or not name:
            raise InputError(f"rows: a column has the name {name!r}; give a text")
        if name in more:
            raise InputError(f"rows: the column {name!r} is given twice")


def column_sampler(name: str, value: Any) -> Sampler[Any]:
    """The sampler of a column.

    Args:
        name: The column.
        value: A sampler, a function or a value.

    Raises:
        InputError: It is none of these, or an option in another spelling.
    """
    sampler = as_sampler(value, f"column {name!r}")
    is_plain = sampler.name == "constant" and sampler is not value
    close = get_close_matches(name, _OPTIONS, 1, RESEMBLING) if is_plain else []
    if close and (close[0] == "given" or isinstance(value, int)):
        raise InputError(
            f"rows: {name!r} is not an option (did you mean {close[0]!r}?); for a column of that "
            f"name, give constant({value!r})"
        )
    return sampler


def _check_numbers(count: Any, seed: Any) -> None:
    """Check the number of rows and the seed.

    Raises:
        InputError: One is not a whole number, or there are less than no rows.
    """
    for name, value in {"count": count, "seed": seed}.items():
        if isinstance(value, bool) or not isinstance(value, int):
            is_whole = isinstance(value, float) and value.is_integer()
            hint = f", such as {int(value)}" if is_whole else ""
            why = "; a resumed run draws the same rows again" if value is None else ""
            raise InputError(f"rows: {name} is {value!r}; give a whole number{hint}{why}")
    if count < 0:
        raise InputError(f"rows: count is {count}; give a number that is not negative")


def check_reads(
    name: str,
    sampler: Sampler[Any],
    samplers: Mapping[str, Sampler[Any]],
    given: Collection[str],
    later: Collection[str],
) -> None:
    """Check that a template or switch knows the columns and the values that it needs.

    Args:
        name: Its column.
        sampler: The sampler.
        samplers: The columns before it, and itself.
        given: The columns of the data.
        later: Names of all columns that are drawn.

    Raises:
        InputError: A column comes later, or not at all, or a value has no case.
    """
    known = [*sorted(given), *(it for it in samplers if it != name and it not in given)]
    what = f"column {name!r}: {sampler.name} needs the column"
    for column in sorted(sampler.reads.difference(known)):
        if column in later:
            raise InputError(f"{what} {column!r}, which must come before it")
        raise InputError(
            f"{what} {column!r}, which does not exist{did_you_mean(column, known)}; the columns "
            f"before it are: {', '.join(known) or 'none'}"
        )
    if sampler.name == "switch" and sampler.options["default"] is None:
        column, cases = sampler.arguments
        _check_cases(name, cases, column, samplers.get(column) if column != name else None)


def _check_cases(
    name: str, cases: Mapping[Any, Any], column: str, source: Sampler[Any] | None
) -> None:
    """Check that each value of a choice has a case.

    Raises:
        InputError: One has none.
    """
    values = source.arguments if source and source.name in ("choice", "constant") else ()
    missing = [repr(it) for it in values if _is_missing(it, cases)]
    if missing:
        raise InputError(
            f"column {name!r}: switch has no case for {', '.join(missing)} of {column!r}; add "
            "one, or a default"
        )


def _is_missing(value: Any, cases: Mapping[Any, Any]) -> bool:
    try:
        return value not in cases
    except TypeError:  # it has no hash
        return True


def _failed(index: int, name: str, row: Mapping[str, Any], error: Exception) -> InputError:
    """The exception for a cell that could not be drawn."""
    is_ours = isinstance(error, InputError)
    text = str(error) if is_ours else described(error)
    if isinstance(error, KeyError):
        text += f"; the columns before it are: {', '.join(row) or 'none'}"
    return InputError(f"input row {index}: column {name!r}: {text}")


def _identity(value: Any) -> Any:
    """All of a sampler that decides on its values, as JSON."""
    from chainette.pipeline.identity import origins
    from chainette.pipeline.identity.uses import Uses

    if isinstance(value, Sampler):
        options = {key: _identity(it) for key, it in value.options.items() if it is not None}
        is_own = origins.is_own(getattr(value.draw, "__module__", None))
        draw = _identity(value.draw) if is_own else None
        return [value.name, [*map(_identity, value.arguments)], options, value.version, draw]
    if isinstance(value, Mapping):
        return {repr(key): _identity(it) for key, it in value.items()}
    uses = Uses()
    if isinstance(value, FunctionType) and origins.is_own_file(value.__code__.co_filename):
        text = uses.source(value)
        uses.function(value)
    else:
        text = uses.text(value)
    return [text, uses.parts]


def _shortened(row: Mapping[str, Any]) -> str:
    text = repr(row)
    return text if len(text) <= 100 else f"{text[:99]}…"

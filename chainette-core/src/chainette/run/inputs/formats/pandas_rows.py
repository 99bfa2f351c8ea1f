"""Rows of data frames of pandas, without Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chainette.run.inputs.formats.arrow_values import Wanted
from chainette.run.inputs.formats.csv_rows import check_columns
from chainette.run.inputs.formats.json_rows import Read

ROWS = 1024
"""Rows that are converted at a time."""
_READY = frozenset((str, int, bool, type(None)))
"""Types of cells that are values of Python."""
_NUMBERS = _READY | {float}


def is_pandas(inputs: Any) -> bool:
    """Whether inputs are a data frame of pandas."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(inputs).__mro__}
    return "pandas" in kinds and hasattr(inputs, "columns") and hasattr(inputs, "iloc")


def read_pandas(frame: Any, wanted: Wanted) -> Iterator[Read]:
    """Read the rows of a data frame, column by column in chunks.

    Args:
        frame: The data frame.
        wanted: The columns that are wanted.

    Raises:
        InputError: Two columns have one name.
    """
    names = [str(name) for name in frame.columns]
    check_columns(names, "the data frame")
    taken = [(name, place) for place, name in enumerate(names) if wanted.takes(name)]
    names = [name for name, _ in taken]
    for start in range(0, len(frame), ROWS):
        chunk = frame.iloc[start : start + ROWS]
        columns = [_cells(chunk.iloc[:, place]) for _, place in taken]
        rows = zip(*columns, strict=True) if columns else [()] * len(chunk)
        for index, cells in enumerate(rows, start):
            yield dict(zip(names, cells, strict=True)), f"input row {index}", None


def about_index(inputs: Any) -> str:
    """The advice about a data frame of pandas whose index or columns hide a column, or nothing."""
    if not is_pandas(inputs):
        return ""
    if inputs.columns.nlevels > 1:
        return "; its columns have several levels: join them, as in df.columns.map('_'.join)"
    is_counted = type(inputs.index).__name__ == "RangeIndex"
    return "" if is_counted else "; its index is not a column: give df.reset_index()"


class NamedIndex:
    """The levels of an index that have names, as columns to keep.

    Args:
        frame: The data frame.
    """

    def __init__(self, frame: Any) -> None:
        self._levels = _named_levels(frame)
        self.names: list[str] = [name for _, name in self._levels]
        self._index = frame.index
        self._start = 0
        self._rows: list[dict[str, Any]] = []

    def columns(self, row_id: int) -> dict[str, Any]:
        """The names and values of a row."""
        if not 0 <= row_id - self._start < len(self._rows):
            self._start = row_id
            part = self._index[row_id : row_id + ROWS]
            cells = [_cells(part.get_level_values(it)) for it, _ in self._levels]
            self._rows = [
                dict(zip(self.names, row, strict=True)) for row in zip(*cells, strict=True)
            ]
        return self._rows[row_id - self._start]


def _named_levels(frame: Any) -> list[tuple[int, str]]:
    """The places and names of an index's levels that have names, which no column has."""
    columns = {str(name) for name in frame.columns}
    names = [(it, str(name)) for it, name in enumerate(frame.index.names) if name is not None]
    return [(it, name) for it, name in names if name not in columns]


def empty_levels(frame: Any) -> list[Any]:
    """The levels of an index that are kept, each as a frame with one column and no rows."""
    index = frame.index[:0]
    levels = _named_levels(frame)
    return [index.get_level_values(it).to_frame(index=False, name=name) for it, name in levels]


def named_index(inputs: Any) -> NamedIndex | None:
    """The index of a data frame of pandas, if it has a name that no column has."""
    index = NamedIndex(inputs) if is_pandas(inputs) else None
    return index if index is not None and index.names else None


def _cells(column: Any) -> list[Any]:
    """The values of a column as Python has them; `None` where there is none."""
    cells: list[Any] = column.tolist()
    kinds = {*map(type, cells)}
    if kinds <= _READY:
        return cells
    if kinds <= _NUMBERS:
        return [None if cell != cell else cell for cell in cells]
    return list(map(_plain, cells))


def _plain(cell: Any) -> Any:
    """A cell as a value of Python; `None` for NaN, NaT and NA."""
    kind = type(cell)
    if kind in _READY:
        return cell
    if kind.__name__ in ("NaTType", "NAType") or (isinstance(cell, float) and cell != cell):
        return None
    if hasattr(cell, "to_pydatetime"):
        return cell.to_pydatetime(warn=False)
    if hasattr(cell, "to_pytimedelta"):
        return cell.to_pytimedelta()
    if kind.__name__ in ("Period", "Interval"):
        return str(cell)
    return cell.tolist() if hasattr(cell, "tolist") else cell

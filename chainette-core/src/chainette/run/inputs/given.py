"""Data that rows are drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from chainette.errors import InputError
from chainette.reports.digest import values_digest
from chainette.run.inputs.files import Files
from chainette.run.inputs.formats.hugging_face import is_dataset, open_dataset
from chainette.run.inputs.formats.tables import is_frame, read_frame
from chainette.run.inputs.paths import TABLES, InputFile, as_path, format_of


class Given:
    """Rows of data, any of which can be drawn. All but datasets are held in memory.

    Args:
        data: Dicts or models, a data frame, a dataset, or the path of a file.

    Attributes:
        paths: The files that it comes from.
        is_table: Whether it is a table, where `None` is an empty cell.

    Raises:
        InputError: It is something else, cannot be read, or has no rows.
        ConfigError: An extra is needed to read it.
    """

    def __init__(self, data: Any) -> None:
        self.paths: list[InputFile] = []
        self.is_table: bool = is_frame(data)
        self._digest: str | None = None
        self._rows: Sequence[Any]
        if isinstance(data, str | Path):
            data = as_path(data)
        if is_dataset(data):
            self._rows = open_dataset(data)
        elif isinstance(data, str | Path):
            self._rows = self._read(Files(data))
        elif self.is_table:
            self._rows = [_checked(value, error) for value, _, error in read_frame(data)]
        else:
            self._rows = _held(data)
        if not len(self._rows):
            raise InputError("given: the data has no rows to draw from")

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._rows)

    def row(self, index: int) -> dict[str, Any]:
        """A row, as a dict of its own."""
        return _as_dict(self._rows[index], index)

    @cached_property
    def columns(self) -> set[str]:
        """The names of columns that a row can have."""
        if hasattr(self._rows, "column_names"):
            return {*self._rows.column_names}
        if isinstance(self._rows, list):
            return {name for index in range(len(self)) for name in self.row(index)}
        return {*self.row(0)}

    def digest(self) -> str | None:
        """The digest of the data; `None` where it holds objects that are not data."""
        if self._digest is None:
            known: Any = getattr(self._rows, "_fingerprint", None)
            if hasattr(self._rows, "digest"):  # rows from nothing
                known = self._rows.digest()
            self._digest = known or values_digest(self.row(index) for index in range(len(self)))
        return self._digest

    def _read(self, files: Files) -> list[Any]:
        if files.is_stdin:
            raise InputError("given: standard input can be read only once; give a file")
        self.paths, self._digest = files.paths, files.digest()
        self.is_table = any(format_of(path) in TABLES for path in files.paths)
        return [_checked(row.value, row.error) for row in files.rows()]


def _held(data: Any) -> Sequence[Any]:
    """Rows that are in memory, or a sequence that makes them when it is asked.

    Raises:
        InputError: They are something else.
    """
    if isinstance(data, set | frozenset):
        raise InputError("given: a set has no order; give a list, such as sorted(rows)")
    is_one = isinstance(data, Mapping | BaseModel) or dataclasses.is_dataclass(data)
    if is_one or isinstance(data, type | bytes) or not isinstance(data, Iterable):
        kind = data.__name__ if isinstance(data, type) else type(data).__name__
        raise InputError(
            f"given: expected rows, not {kind}: give a list of dicts or models, a data frame, or "
            "the path of a file"
        )
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, tuple):
        rows: Any = [*data] if type(data) is list else data
    elif hasattr(data, "_fingerprint") or hasattr(data, "n_shards"):
        raise InputError("given: a dataset that is streamed cannot be drawn from; load it")
    else:
        rows = [*data]
    if len(rows):
        _as_dict(rows[0], 0)
    return rows  # type: ignore[no-any-return]


def _checked(value: Any, error: InputError | None) -> Any:
    if error is not None:
        raise error
    return value


def _as_dict(value: Any, index: int) -> dict[str, Any]:
    """A row as a dict of its own.

    Raises:
        InputError: It is not a row.
    """
    row: dict[str, Any] | None = None
    if isinstance(value, Mapping):
        row = dict(value) if all(isinstance(key, str) for key in value) else None
    elif isinstance(value, BaseModel):
        row = dict(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        row = {it.name: getattr(value, it.name) for it in dataclasses.fields(value)}
    if row is None:
        raise InputError(
            f"given: row {index} is {type(value).__name__} {str(value)[:60]!r}; give dicts or "
            "models, whose keys are the names of columns"
        )
    return row

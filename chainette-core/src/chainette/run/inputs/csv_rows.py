"""Rows of CSV files, as spreadsheets and databases write them."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from chainette.errors import InputError
from chainette.run.inputs import json_rows
from chainette.run.inputs.json_rows import Read
from chainette.text import printable

DELIMITERS = (",", ";", "\t")
"""The delimiters, the first of which wins where a header has as many of two."""


def read_csv(file: TextIO, name: str, delimiter: str | None = None) -> Iterator[Read]:
    """Read the rows of a CSV file lazily; an empty cell is `None`.

    Args:
        file: The file.
        name: Its name.
        delimiter: The delimiter; by default, the one that its header has most of.

    Raises:
        InputError: It is not CSV.
    """
    lines = _Lines(file, name)
    first = next((line for line in lines if line.strip()), "").lstrip("\ufeff")
    if declared := re.fullmatch(r"sep=(.)\s*", first):  # a line that spreadsheets write and read
        delimiter, first = declared[1], next(lines, "")
    outside = re.sub(r'"[^"]*"?', "", first)
    if delimiter is None:
        delimiter = max(DELIMITERS, key=outside.count)
    lines.put_back(first)
    reader = csv.reader(
        lines, delimiter=delimiter, skipinitialspace=f"{delimiter} " in outside + first
    )
    records = _records(reader, lines, name)
    _, header = next(records, (0, []))
    names = [column.strip() for column in header]
    check_columns([column for column in names if column], name)
    for line, record in records:
        place, error = f"{name}:{line}", None
        if len(record) > len(names) and any(record[len(names) :]):
            error = InputError(f"{place}: more values than the {len(names)} columns")
        value = {key: cell or None for key, cell in zip(names, record, strict=False)}
        if len(record) < len(names):
            value |= dict.fromkeys(names[len(record) :])
        value.pop("", None)  # a column without a name is the index that data frames write
        yield value, place, error


def check_columns(names: Sequence[str], source: str) -> None:
    """Refuse two columns of the same name, of which only the last would be read.

    Raises:
        InputError: There are two.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{source}: two columns have the name {printable(repeated[0])[:80]!r}")


class _Lines:
    """The lines of a file.

    Attributes:
        number: Number of the lines so far.
        has_ended: Whether there are no more.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._next: str | None = None
        self.number: int = 0
        self.has_ended: bool = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, self._next = self._next or self._file.readline(json_rows.MAX_CHARACTERS + 1), None
        if not line:
            self.has_ended = True
            raise StopIteration
        self.number += 1
        if len(line) > json_rows.MAX_CHARACTERS:
            millions = json_rows.MAX_CHARACTERS // 1_000_000
            place = f"{self._name}:{self.number}"
            raise InputError(f"{place}: longer than {millions} million characters")
        return line

    def put_back(self, line: str) -> None:
        """Let a line come again."""
        self._next = line
        self.number -= bool(line)


def _records(reader: Any, lines: _Lines, name: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, each with the number of its last line.

    Raises:
        InputError: The file is not CSV.
    """
    while True:
        start = lines.number + 1
        # The limit belongs to the process, so it is only lifted while a record is read.
        limit = csv.field_size_limit(json_rows.MAX_CHARACTERS)
        try:
            record = next(reader, None)
        except csv.Error as problem:
            raise InputError(f"{name}:{start}: not CSV: {problem}") from None
        finally:
            csv.field_size_limit(limit)
        if record is None:
            return
        if lines.has_ended:
            raise InputError(f"{name}:{start}: a quote of this row is never closed")
        if record:
            yield lines.number, record

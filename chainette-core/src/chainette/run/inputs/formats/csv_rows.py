"""Rows of CSV files, as spreadsheets and databases write them."""

from __future__ import annotations

import csv
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, TextIO, TypeAlias

from chainette.errors import InputError
from chainette.run.inputs.formats import json_rows
from chainette.run.inputs.formats.json_rows import Read
from chainette.text import printable

DELIMITERS = (",", ";", "\t", "|", "\x01", "\x1e", "\x1f")
"""The delimiters, the first of which wins where a header has as many of two. The last are Hive's
(Apache Hive docs, "LanguageManual DDL", Storage Formats) and ASCII's own."""
LOOK = 10
"""Rows that tell whether the header is one."""
_INVISIBLE = "\ufeff\u200b\u200e\u2060"
_SPACES = " \t\xa0\x1a"
"""What a line that is not a row may hold; the last ends files of old programs."""
Record: TypeAlias = tuple[int, list[str], str | None]
"""The number of a record's last line, its cells, and the reason why it cannot be read."""
_logger = logging.getLogger(__name__)


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
    # A line that spreadsheets write and read.
    if declared := re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE):
        delimiter, first = declared[1], next(lines, "")
    outside = re.sub(r'"[^"]*"?', "", first)
    if delimiter is None:
        delimiter = max(DELIMITERS, key=outside.count)
    lines.put_back(first)
    spaced = f"{delimiter} " in outside + first
    records = _records(lines, name, delimiter=delimiter, skipinitialspace=spaced)
    _, header, error = next(records, (0, [], None))
    if error is not None:
        raise InputError(error)
    names = [column.strip().strip(_INVISIBLE).strip() for column in header]
    check_columns([column for column in names if column], name)
    for line, record, error in _with_header(records, len(names), name):
        if len(names) > 1 and len(record) == 1 and not record[0].strip(_SPACES):
            continue
        place = f"{name}:{line}"
        if error is None and len(record) > len(names) and any(record[len(names) :]):
            error = f"{place}: more values than the {len(names)} columns"
        yield _row(names, record, name), place, None if error is None else InputError(error)


def _row(names: list[str], record: list[str], file: str) -> dict[str, str | None]:
    value = {key: cell or None for key, cell in zip(names, record, strict=False)}
    if len(record) < len(names):
        value |= dict.fromkeys(names[len(record) :])
    if "" in value:
        del value[""]  # a first column without a name is the index that data frames write
        for index, (key, cell) in enumerate(zip(names, record, strict=False), start=1):
            if index > 1 and not key and cell.strip():
                _warn_of_unnamed(file, index)
    return value


@cache
def _warn_of_unnamed(file: str, column: int) -> None:
    """Warn once of values that no name leads to."""
    _logger.warning("%s: column %d has no name in the header and is left out", file, column)


def _with_header(records: Iterator[Record], columns: int, name: str) -> Iterator[Record]:
    """The records, if those that come first are no wider than the header.

    Raises:
        InputError: All of them are, so it is not their header, or the delimiter is another.
    """
    first = list(islice(records, LOOK))
    if first and all(any(record[columns:]) for _, record, _ in first):
        raise InputError(
            f"{name}: the rows have more values than the {columns} columns of the header: is its "
            "first line the header, and are texts that hold the delimiter in quotes?"
        )
    yield from first
    yield from records


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
        taken: Those of the record that is being read.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._next: str | None = None
        self.number: int = 0
        self.has_ended: bool = False
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, self._next = self._next or self._file.readline(json_rows.MAX_CHARACTERS + 1), None
        if not line:
            self.has_ended = True
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        if len(line) > json_rows.MAX_CHARACTERS:
            millions = json_rows.MAX_CHARACTERS // 1_000_000
            place = f"{self._name}:{self.number}"
            raise InputError(f"{place}: longer than {millions} million characters")
        return line

    def put_back(self, line: str) -> None:
        """Let a line come again."""
        self._next = line
        self.number -= bool(line)


def _records(lines: _Lines, name: str, **dialect: Any) -> Iterator[Record]:
    """The records that are not blank, each with the number of its last line.

    Raises:
        InputError: The file is not CSV, and where its records end is not certain.
    """
    reader = csv.reader(lines, strict=True, **dialect)
    while True:
        lines.taken.clear()
        start = lines.number + 1
        error = None
        # The limit belongs to the process, so it is only lifted while a record is read.
        limit = csv.field_size_limit(json_rows.MAX_CHARACTERS)
        try:
            record = next(reader, None)
        except csv.Error as problem:
            record = _without_spaces(lines.taken, dialect)
            if not record:
                error = _explained(problem, lines, f"{name}:{start}")
        finally:
            csv.field_size_limit(limit)
        if record is None:
            return
        if record or error:
            yield lines.number, record, error


def _without_spaces(taken: list[str], dialect: dict[str, Any]) -> list[str]:
    """The record of a line that has spaces between quotes and delimiters; empty if it has not."""
    end = re.escape(dialect["delimiter"])
    closer = re.sub(rf'(?<!")"[ \t]+(?={end}|\s*$)', '"', "".join(taken))
    try:
        return next(csv.reader([closer], strict=True, **dialect), [])
    except csv.Error:
        return []


def _explained(problem: csv.Error, lines: _Lines, place: str) -> str:
    """The message about a row that is not CSV.

    Raises:
        InputError: Further rows are not certain either.
    """
    text = "".join(lines.taken)
    if '\\"' in text:
        raise InputError(
            f'{place}: a quote in a value is written as \\", which CSV writes as two quotes; '
            'sed \'s/\\\\"/""/g\' FILE writes them so'
        )
    if lines.has_ended:
        raise InputError(f"{place}: a quote of this row is never closed")
    if "after" not in str(problem):
        raise InputError(f"{place}: not CSV: {problem}")
    message = f"{place}: text follows the end of a quoted value; quotes in a value are doubled"
    if len(lines.taken) > 1 or text.count('"') % 2:
        raise InputError(message)
    return message

"""The first rows of a run and the reasons of its failures, of which no more is read than is shown.

A run of a million rows is shown as fast as one of ten.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from chainette.errors import OutputDirError
from chainette.folder.files import ERRORS
from chainette.folder.lines import read_file
from chainette.messages.brief import kind_of_error
from chainette.reports.stored.names import OWN, ColumnNames, has_failed
from chainette.text import printable, without_numbers

ROWS = 5
"""Rows that are shown."""
LOOK = 200
"""Lines that are read at most."""
MAX_COLUMNS = 8
"""Columns that are shown."""


class FirstRows(NamedTuple):
    """The first rows of a run that did not fail, or the first of all where all did.

    Attributes:
        inputs: The columns that come from the inputs.
        answers: The columns that the chain made.
        lines: The rows' lines in the flattened table.
        hidden: Number of columns that are left out.
    """

    inputs: Sequence[str]
    answers: Sequence[str]
    lines: Sequence[Mapping[str, Any]]
    hidden: int

    @property
    def columns(self) -> list[str]:
        """The columns that are shown, those of the inputs first."""
        return [*self.inputs, *self.answers]


def first_rows(run: Any, most: int = ROWS, columns: int = MAX_COLUMNS) -> FirstRows:
    """The first rows of a run.

    Args:
        run: The run.
        most: Number of rows.
        columns: Number of columns; the answers' come first where not all have room.
    """
    try:
        looked = [*islice(run.lines(), LOOK)]
    except (OSError, OutputDirError):  # its folder is gone
        looked = []
    good = [line for line in looked if not has_failed(line) and not line.get("dropped")]
    lines = (good or looked)[:most]
    names = ColumnNames(run.node_ids)
    found = [it for it in dict.fromkeys(key for line in lines for key in line) if _is_shown(it)]
    inputs = [it for it in found if names.input_column(it) is not None]
    answers = [it for it in found if names.input_column(it) is None]
    room = max(columns - len(inputs), columns // 2)
    shown = answers[:room]
    beside = inputs[: columns - len(shown)]
    return FirstRows(beside, shown, lines, len(found) - len(shown) - len(beside))


def _is_shown(column: str) -> bool:
    head = column.partition(".")[0]
    return head not in OWN


def row_name(line: Mapping[str, Any]) -> str:
    """The number of a row, and the item of one that was split."""
    item = line.get("item")
    return f"{line['row_id']}" if item in (None, "") else f"{line['row_id']} / {item}"


def cell(value: Any) -> str:
    """A value of a line as people read it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


class Reasons(NamedTuple):
    """Why rows have failed.

    Attributes:
        counts: The reasons with the number of failures, the most frequent first; messages that
            differ in numbers and ids are one.
        looked: Number of failures that were looked at.
        has_more: Whether there are more.
    """

    counts: Sequence[tuple[str, int]]
    looked: int
    has_more: bool


def reasons(run: Any, most: int = ROWS) -> Reasons:
    """Why rows of a run have failed."""
    found = [*islice(_failures(run), LOOK + 1)] if run.counts.unfinished else []
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for node, message in found[:LOOK]:
        text = f"{node}: {message}" if node else message
        counts[first.setdefault(without_numbers(text), text)] += 1
    return Reasons(counts.most_common(most), len(found[:LOOK]), len(found) > LOOK)


def _failures(run: Any) -> Iterator[tuple[str, str]]:
    """The nodes and the messages of failures."""
    if run.path is not None:
        with suppress(OSError):  # nothing has failed, or its folder is gone
            for line in _safely(read_file(run.path / ERRORS, lambda place: None)):
                yield str(line.get("node_id") or ""), _message(line["type"], line["message"])
        return
    for result in run.errors:
        assert result.error is not None
        yield "", _message(kind_of_error(result.error), str(result.error))


def _safely(lines: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (line for line in lines if "type" in line and "message" in line)


def _message(kind: str, message: str) -> str:
    return f"{kind}: {printable(message[:400])}"

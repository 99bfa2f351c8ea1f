"""An index of the engine calls that the functions of an interrupted run have made."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from chainette.folder.files import CALLS, RETRIED, STEPS
from chainette.folder.lines import owner, read_lines
from chainette.folder.resume_index import OnLine

_logger = logging.getLogger(__name__)


class CallIndex:
    """The calls of a run's journals, by function, item, request and its ordinal.

    What a function called before it failed does not count once it is tried again: a call belongs to
    the attempt that its line names, the number of the item's failures that were set aside before.
    A temporary database holds the calls, so that memory stays flat.

    Args:
        path: The run's folder.
        node_ids: Functions of the chain that call engines.
        on_line: Receives the function and the content of every line.
    """

    def __init__(self, path: Path, node_ids: Collection[str], *, on_line: OnLine) -> None:
        self._db = sqlite3.connect("", check_same_thread=False)  # a temporary file
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute(
            "CREATE TABLE calls (node, place, attempt, call, ordinal, line, "
            "PRIMARY KEY (node, place, attempt, call, ordinal)) WITHOUT ROWID"
        )
        self._db.execute(
            "CREATE TABLE attempts (node, place, failures, PRIMARY KEY (node, place)) WITHOUT ROWID"
        )
        self._db.executemany(
            "INSERT INTO attempts VALUES (?, ?, 1) "
            "ON CONFLICT (node, place) DO UPDATE SET failures = failures + 1",
            _failures(path, node_ids),
        )
        broken: list[str] = []
        for id in node_ids:
            lines = read_lines(path / STEPS / f"{id}{CALLS}", broken.append)
            self._db.executemany(
                "INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?, ?)", _calls(id, lines, on_line)
            )
        if broken:
            others = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            _logger.warning("%s: broken line%s: the call is made again", broken[0], others)

    def attempt(self, node_id: str, item: Mapping[str, Any]) -> int:
        """The number of failures of a function for an item that were set aside to try it again."""
        query = "SELECT failures FROM attempts WHERE node = ? AND place = ?"
        record = self._db.execute(query, (node_id, _place(item))).fetchone()
        return record[0] if record else 0

    def find(
        self, node_id: str, item: Mapping[str, Any], attempt: int, call: str, ordinal: int
    ) -> dict[str, Any] | None:
        """The line of a call.

        Args:
            node_id: The function.
            item: The fields by which lines name the item.
            attempt: See `attempt`.
            call: The digest of the request.
            ordinal: The number of equal requests before it, for this item.
        """
        record = self._db.execute(
            "SELECT line FROM calls WHERE node = ? AND place = ? AND attempt = ? AND call = ? "
            "AND ordinal = ?",
            (node_id, _place(item), attempt, call, ordinal),
        ).fetchone()
        return json.loads(record[0]) if record else None

    def close(self) -> None:
        """Forget everything."""
        self._db.close()


def _place(item: Mapping[str, Any]) -> str:
    """The row, item and round of a line, as a text."""
    part = f" {item['part']}" if "part" in item else ""
    return f"{owner(item)} {item.get('item', '')} {item.get('round', '')}{part}"


def _failures(path: Path, node_ids: Collection[str]) -> Iterator[tuple[str, str]]:
    for line in read_lines(path / RETRIED, lambda place: None):
        if line.get("node_id") in node_ids:
            yield line["node_id"], _place(line)


def _calls(id: str, lines: Iterator[dict[str, Any]], on_line: OnLine) -> Iterator[tuple[Any, ...]]:
    for line in lines:
        on_line(id, line)
        if "call" in line:
            attempt, nth = line.get("attempt", 0), line.get("nth", 0)
            yield id, _place(line), attempt, line["call"], nth, json.dumps(line)

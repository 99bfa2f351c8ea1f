"""An index of the lines that an interrupted run has finished."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain as chained
from pathlib import Path
from typing import Any

from chainette.errors import FailedRowError
from chainette.folder.files import ERRORS
from chainette.folder.lines import group_name, read_file, read_lines

OnLine = Callable[[str, dict[str, Any]], object]
_logger = logging.getLogger(__name__)
_OF_ITEMS = "SELECT line FROM lines WHERE node = ? AND row = ? AND item >= ? AND item < ?"
_FORGET_ITEMS = "DELETE FROM lines WHERE node = ? AND row = ? AND item >= ? AND item < ?"


class ResumeIndex:
    """The finished lines of a run's journals, by node, row or group, and item.

    A temporary database holds them, so that memory stays flat.

    Args:
        path: The run's folder.
        node_ids: Nodes of the chain.
        retry_errors: Forget failures, so that they are tried again.
        reports: Warn about lines that cannot be read; what they were about is not in the index.
        on_line: Receives the node and the content of every line.
    """

    def __init__(
        self,
        path: Path,
        node_ids: Iterable[str],
        *,
        retry_errors: bool,
        reports: bool = False,
        on_line: OnLine = lambda node_id, line: None,
    ) -> None:
        self._db = sqlite3.connect("", check_same_thread=False)  # a temporary file
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute(
            "CREATE TABLE lines (node TEXT, row, item TEXT, round TEXT, line TEXT, "
            "PRIMARY KEY (node, row, item, round)) WITHOUT ROWID"
        )
        broken: list[str] = []
        errors = () if retry_errors else _errors(path, broken.append)
        lines = chained(_finished(path, node_ids, broken.append), errors)
        records = (_record(id, line, on_line) for id, line in lines)
        self._db.executemany("INSERT OR REPLACE INTO lines VALUES (?, ?, ?, ?, ?)", records)
        if broken and reports:
            others = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            _logger.warning("%s: broken line%s: its row runs again", broken[0], others)

    def find(self, node_id: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The line of a node's output, or of its error.

        Args:
            node_id: The node.
            key: The fields by which the line names the item.
        """
        record = self._db.execute(
            "SELECT line FROM lines WHERE node = ? AND row = ? AND item = ? AND round = ?",
            (node_id, *_place(key)),
        ).fetchone()
        return json.loads(record[0]) if record else None

    def lines(self, node_id: str) -> Iterator[dict[str, Any]]:
        """The lines of a node: its outputs and its errors."""
        for record in self._db.execute("SELECT line FROM lines WHERE node = ?", (node_id,)):
            yield json.loads(record[0])

    def forget(self, node_id: str, row_id: int | str, item: str = "") -> list[dict[str, Any]]:
        """Forget the lines of a node for an item, and for what it was split into.

        Args:
            node_id: The node.
            row_id: The row or the group.
            item: The item's path; by default all items of the row.

        Returns:
            The lines.
        """
        # After the digits comes ":", and after "." comes "/".
        ranges = [(item, f"{item}\0"), (f"{item}.", f"{item}/")] if item else [("", ":")]
        found: list[str] = []
        for first, end in ranges:
            values = (node_id, row_id, first, end)
            found += [record[0] for record in self._db.execute(_OF_ITEMS, values)]
            if found:
                self._db.execute(_FORGET_ITEMS, values)
        return [json.loads(line) for line in found]

    def forget_node(self, node_id: str) -> None:
        """Forget all lines of a node."""
        self._db.execute("DELETE FROM lines WHERE node = ?", (node_id,))

    def close(self) -> None:
        """Forget everything."""
        self._db.close()


def failure(line: dict[str, Any]) -> FailedRowError | None:
    """The error of a line, or `None` for a line with an output."""
    if "message" not in line:
        return None
    return FailedRowError(
        line["message"],
        type=line["type"],
        engine=line["engine"],
        raw_text=line["raw_text"],
        is_tolerated=line.get("tolerated", False),
    )


def sample_name(node_id: str, sample: int) -> str:
    """The name in the index of what failed of a step that takes several answers."""
    return f"{node_id}#{sample}"


def _record(
    node_id: str, line: dict[str, Any], on_line: OnLine
) -> tuple[str, int | str, str, str, str]:
    on_line(node_id, line)
    return node_id, *_place(line), json.dumps(line)


def _place(key: Mapping[str, Any]) -> tuple[int | str, str, str]:
    """The row or the group, the item and the round that a line is about."""
    item, round = key.get("item", ""), str(key.get("round", ""))
    if "row_id" in key:
        return key["row_id"], item, round
    return group_name(key["group"]), item, f"{round}/{key.get('part', 0)}"


def _finished(
    path: Path, node_ids: Iterable[str], on_broken: Callable[[str], object]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for id in node_ids:
        for line in read_lines(path / "steps" / id, on_broken):
            yield id, line


def _errors(path: Path, on_broken: Callable[[str], object]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not (path / ERRORS).exists():
        return
    for line in read_file(path / ERRORS, on_broken):
        # A row that could not be read does not have a node.
        id = line.get("node_id") or ""
        yield (sample_name(id, line["sample"]) if "sample" in line else id), line

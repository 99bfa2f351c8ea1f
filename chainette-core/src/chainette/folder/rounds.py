"""The last rounds of repeats that were exhausted, set aside so that they run again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chainette.errors import RepeatError
from chainette.folder.files import ERRORS, REDONE, STEPS
from chainette.folder.lines import owner, read_file, unwritable
from chainette.folder.redo import move_lines, rounds_of
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_nodes

_FOLDER = "rounds"
"""Folder of these lines, among those of redone nodes; it does not matter which retry moved them."""


def set_rounds_aside(path: Path, chain: Pipeline) -> None:
    """Set the lines of every last round aside after which a repeat failed, before it is retried.

    It can be done twice: what was moved is not moved again.

    Args:
        path: The run's folder.
        chain: The chain.

    Raises:
        OutputDirError: The folder cannot be written.
    """
    repeats = [node for node in chain.nodes.values() if isinstance(node, Repeat)]
    if not repeats or not (path / ERRORS).exists():
        return
    failed = [
        line
        for line in read_file(path / ERRORS, lambda place: None)
        if line.get("type") == RepeatError.__name__
    ]
    try:
        for repeat in repeats:
            ends = [_place(line) for line in failed if line.get("node_id") == repeat.id]
            if ends:
                _move(path, repeat, {*ends})
    except OSError as error:
        raise unwritable(path, error) from None


Place = tuple[str, str, tuple[int, ...]]


def _place(line: Mapping[str, Any]) -> Place:
    return f"{owner(line)!r} {line.get('part', 0)}", line.get("item", ""), rounds_of(line)


def _move(path: Path, repeat: Repeat, ends: set[Place]) -> None:
    depth = len(next(iter(ends))[2])

    def keep(line: dict[str, Any]) -> dict[str, Any] | None:
        row, item, rounds = _place(line)
        if len(rounds) <= depth or rounds[depth] < repeat.max_rounds:
            return line
        is_last = any((row, it, rounds[:depth]) in ends for it in _around(item))
        return None if is_last else line

    for node in (repeat, *all_nodes(repeat.members())):
        for file in sorted((path / STEPS / node.id).glob("*.jsonl")):
            move_lines(file, path / REDONE / _FOLDER / node.id / file.name, keep)


def _around(item: str) -> Iterable[str]:
    """The path of an item, and those of the items that it was split from."""
    parts = item.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) + 1)]

"""Lines of a run that do not count anymore, set aside so that what they cost is not forgotten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chainette.atomic_file import replacing
from chainette.folder.files import CALLS, ERRORS, MANIFEST, REDONE, STEPS
from chainette.folder.lines import encoded, read_lines, unwritable, value_or_none
from chainette.pipeline.graph import dependents, places
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.pipeline import Pipeline

Keep = Callable[[dict[str, Any]], dict[str, Any] | None]
"""What is left of a line; `None` moves it."""
Revalidate = Callable[[str, dict[str, Any]], dict[str, Any] | None]
"""The line of a step's answer as the step's type has it now; `None` if it does not fit."""
_INVALID = ("StructuredOutputError", "ValidatorError")
"""Errors of answers that another validator may accept."""


@dataclass(frozen=True, slots=True)
class Redo:
    """The nodes of a run whose lines have to go before it is resumed.

    Attributes:
        named: Nodes that were asked for; they read no cache.
        nodes: Nodes that run again for all rows.
        revalidated: Steps whose answers are validated again; what follows runs again where they
            changed.
    """

    named: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    revalidated: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.nodes or self.revalidated)


def set_aside(path: Path, chain: Pipeline, redo: Redo, revalidate: Revalidate) -> bool:
    """Set the lines aside that a redo replaces; what was killed in doing so is done to its end.

    `run.json` says what is being set aside, until the resumed run writes its own. All that is here
    can be done twice: nothing is lost, and nothing counts twice.

    Args:
        path: The run's folder.
        chain: The chain.
        redo: What to redo.
        revalidate: Validates an answer again.

    Returns:
        Whether anything was to be set aside.

    Raises:
        OutputDirError: The folder cannot be written.
    """
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    pending = manifest.get("redo")
    if not redo and pending is None:
        return False
    number = len([*(path / REDONE).glob("*")]) if pending is None else pending["number"]
    before = pending or {}
    nodes = [*dict.fromkeys([*before.get("nodes", []), *redo.nodes])]
    steps = [*dict.fromkeys([*before.get("revalidated", []), *redo.revalidated])]
    manifest["redo"] = {"number": number, "nodes": nodes, "revalidated": steps}
    steps = [id for id in steps if id in chain.nodes and id not in nodes]
    try:
        with replacing(path / MANIFEST) as draft:
            text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
            draft.write_text(text, encoding="utf-8")
        _Aside(path, path / REDONE / f"{number:06}", chain).run(nodes, steps, revalidate)
    except OSError as error:
        raise unwritable(path, error) from None
    return True


class _Aside:
    """Moves lines of a run's folder.

    Args:
        path: The run's folder.
        target: The folder that they are moved to.
        chain: The chain.
    """

    def __init__(self, path: Path, target: Path, chain: Pipeline) -> None:
        self._path = path
        self._target = target
        self._chain = chain

    def run(self, nodes: list[str], steps: list[str], revalidate: Revalidate) -> None:
        """Move all lines of some nodes, and those that depend on answers that changed."""
        self._target.mkdir(parents=True, exist_ok=True)
        remove_tables(self._path)
        rows = {id: self._changed(id, revalidate) for id in steps}
        whole, partly = self._reach({*nodes}, rows)
        for id in sorted(whole):
            self._move_node(id)
            self._move_node(id + CALLS)
        for id, moved in partly.items():
            self._filter_node(id, _of_rows(moved))
            self._filter_node(id + CALLS, _of_rows(moved))
        self._filter_errors(whole, partly, {*steps})
        for id in steps:  # last: it is what tells which rows have changed
            if id not in whole:
                self._filter_node(id, partial(revalidate, id))

    def _reach(
        self, whole: set[str], rows: Mapping[str, set[int]]
    ) -> tuple[set[str], dict[str, set[int]]]:
        """The nodes that run again for all rows, and those that do so for some."""
        partly: dict[str, set[int]] = {}
        for id, changed in rows.items():
            for other in dependents(self._chain, [id] if changed else [])[1:]:
                node = self._chain.nodes[other]
                if isinstance(node, ApplyNode) and isinstance(node.batch, int):
                    whole = {*whole, *dependents(self._chain, [other])}
                partly.setdefault(other, set()).update(changed)
        return whole, {id: them for id, them in partly.items() if id not in whole}

    def _changed(self, id: str, revalidate: Revalidate) -> set[int]:
        """The rows in which an answer is not valid anymore, or gives another value."""
        lines = read_lines(self._path / STEPS / id, lambda place: None)
        return {line["row_id"] for line in lines if revalidate(id, line) != line}

    def _move_node(self, id: str) -> None:
        source, target = self._path / STEPS / id, self._target / id
        if source.exists() and not target.exists():
            source.rename(target)
        else:  # some of its lines were moved before
            self._filter_node(id, lambda line: None)

    def _filter_node(self, id: str, keep: Keep) -> None:
        for file in sorted((self._path / STEPS / id).glob("*.jsonl")):
            move_lines(file, self._target / id / file.name, keep)

    def _filter_errors(
        self, whole: set[str], partly: Mapping[str, set[int]], steps: set[str]
    ) -> None:
        found = places(self._chain)
        reads_inputs = any(found[id][""] == "chain_input" for id in whole if id in found)

        def keep(line: dict[str, Any]) -> dict[str, Any] | None:
            id = line.get("node_id")
            goes = (
                id in whole
                or line["row_id"] in partly.get(id or "", ())
                or (id in steps and line.get("type") in _INVALID)
                or (id is None and reads_inputs)
            )
            return None if goes else line

        if (self._path / ERRORS).exists():
            move_lines(self._path / ERRORS, self._target / ERRORS, keep)


def _of_rows(rows: set[int]) -> Keep:
    return lambda line: None if line["row_id"] in rows else line


def remove_tables(path: Path) -> None:
    """Remove the Parquet tables of a run, which are out of date."""
    for table in (*path.glob(f"{STEPS}/*.parquet"), path / "flattened.parquet"):
        table.unlink(missing_ok=True)


def move_lines(file: Path, target: Path, keep: Keep) -> None:
    """Move the lines of a file that are not kept; a broken one stays, and a torn one is dropped.

    Both files are replaced as a whole, the target first. If the process is killed in between, the
    lines are moved again, and those that the target has already are not added to it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as kept_draft, replacing(target) as moved_draft:
        known = _copied(target, moved_draft)
        with (
            file.open("rb") as lines,
            moved_draft.open("ab") as moved,
            kept_draft.open("wb") as kept,
        ):
            for line in (it for it in lines if it.endswith(b"\n")):
                value = value_or_none(line)
                is_line = isinstance(value, dict) and ("row_id" in value or "group" in value)
                new = keep(value) if is_line else value
                if new is not None or value is None:
                    kept.write(line if new == value else encoded(new) + b"\n")
                elif line not in known:
                    moved.write(line)
    if not target.stat().st_size:
        target.unlink()


def _copied(source: Path, draft: Path) -> set[bytes]:
    """Copy the lines that are there already, and return them."""
    if not source.exists():
        return set()
    shutil.copyfile(source, draft)
    with source.open("rb") as lines:
        return {*lines}

"""Lines of a run that do not count anymore, set aside so that what they cost is not forgotten."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chainette.atomic_file import replacing
from chainette.folder.files import CALLS, ERRORS, MANIFEST, REDONE, STEPS
from chainette.folder.lines import (
    encoded,
    names_item,
    owner,
    read_lines,
    unwritable,
    value_or_none,
)
from chainette.pipeline.graph import dependents, later_rounds, places
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


@dataclass(slots=True)
class Stale:
    """The lines of a node that go.

    Attributes:
        rows: Rows and groups of which all of them go.
        rounds: The depths of repeats of which those of later rounds go, with their rows; `None` for
            all rows.
    """

    rows: set[int | str] = field(default_factory=set)
    rounds: list[tuple[int, set[int | str] | None]] = field(default_factory=list)

    def has(self, line: dict[str, Any]) -> bool:
        """Whether a line goes."""
        row, rounds = owner(line), rounds_of(line)
        return row in self.rows or any(
            rounds[depth : depth + 1] > (1,) and (rows is None or row in rows)
            for depth, rows in self.rounds
        )

    def rest(self, line: dict[str, Any]) -> dict[str, Any] | None:
        """A line that stays; see `Keep`."""
        return None if self.has(line) else line

    def then(self, keep: Keep) -> Keep:
        """What is left of the lines that stay."""
        return lambda line: None if self.has(line) else keep(line)


def rounds_of(line: Mapping[str, Any]) -> tuple[int, ...]:
    """The rounds of the repeats that a line is in, from the outermost on."""
    return tuple(int(part) for part in str(line.get("round", "")).split(".") if part)


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
        for id, stale in partly.items():
            self._filter_node(id, stale.rest)
            self._filter_node(id + CALLS, stale.rest)
        self._filter_errors(whole, partly, {*steps})
        for id in steps:  # samples that were not valid are asked for again, as answers are
            self._filter_node(id + CALLS, _valid)
        for id in steps:  # last: it is what tells which rows have changed
            if id not in whole:
                own = Stale(rounds=[(it, rows[id]) for it in self._depths(id)])
                self._filter_node(id, own.then(partial(revalidate, id)))

    def _reach(
        self, whole: set[str], rows: Mapping[str, set[int | str]]
    ) -> tuple[set[str], Mapping[str, Stale]]:
        """The nodes that run again for all rows, and the lines of others that go."""
        partly: dict[str, Stale] = defaultdict(Stale)
        for id, changed in rows.items():
            others = [it for it in dependents(self._chain, [id] if changed else []) if it != id]
            for other in others:
                node = self._chain.nodes[other]
                if isinstance(node, ApplyNode) and isinstance(node.batch, int):
                    whole = {*whole, *dependents(self._chain, [other])}
                partly[other].rows.update(changed)
            for other, depths in later_rounds(self._chain, others).items():
                if other != id:
                    partly[other].rounds += [(depth, changed) for depth in depths]
        for other, depths in later_rounds(self._chain, whole).items():
            partly[other].rounds += [(depth, None) for depth in depths]
        for id in whole:
            partly.pop(id, None)
        return whole, partly

    def _depths(self, id: str) -> list[int]:
        """The depths of the repeats that a step is in: their later rounds depend on it."""
        others = [it for it in dependents(self._chain, [id]) if it != id]
        return later_rounds(self._chain, others).get(id, [])

    def _changed(self, id: str, revalidate: Revalidate) -> set[int | str]:
        """The rows and groups in which an answer is not valid anymore, or gives another value."""
        lines = read_lines(self._path / STEPS / id, lambda place: None)
        return {owner(line) for line in lines if revalidate(id, line) != line}

    def _move_node(self, id: str) -> None:
        source, target = self._path / STEPS / id, self._target / id
        if source.exists() and not target.exists():
            source.rename(target)
        else:  # some of its lines were moved before
            self._filter_node(id, lambda line: None)

    def _filter_node(self, id: str, keep: Keep) -> None:
        # The last file first: a line is moved before the line of the round that it depends on.
        for file in sorted((self._path / STEPS / id).glob("*.jsonl"), reverse=True):
            move_lines(file, self._target / id / file.name, keep)

    def _filter_errors(self, whole: set[str], partly: Mapping[str, Stale], steps: set[str]) -> None:
        found = places(self._chain)
        reads_inputs = any(found[id][""] == "chain_input" for id in whole if id in found)

        def keep(line: dict[str, Any]) -> dict[str, Any] | None:
            id = line.get("node_id")
            goes = (
                id in whole
                or (id in partly and partly[str(id)].has(line))
                or (id in steps and line.get("type") in _INVALID)
                or (id is None and reads_inputs)
            )
            return None if goes else line

        if (self._path / ERRORS).exists():
            move_lines(self._path / ERRORS, self._target / ERRORS, keep)


def _valid(line: dict[str, Any]) -> dict[str, Any] | None:
    """A line that is not about an answer which another validator may accept; see `Keep`."""
    return None if line.get("type") in _INVALID else line


def remove_tables(path: Path) -> None:
    """Remove the Parquet tables of a run, which are out of date."""
    for table in (*path.glob("*/*.parquet"), path / "flattened.parquet"):
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
                is_line = isinstance(value, dict) and names_item(value)
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

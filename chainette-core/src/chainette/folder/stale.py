"""Lines that a run in progress finds to be out of date: they are set aside, as those of a redo.

What they cost stays in the books, since the folder `redone/` keeps them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chainette.atomic_file import replacing
from chainette.folder.files import ERRORS, REDONE, STEPS, RunFolder
from chainette.folder.lines import owner, read_file, unwritable
from chainette.folder.redo import move_lines, remove_tables, rounds_of
from chainette.pipeline.graph import judges_itself, later_rounds, reach
from chainette.pipeline.pipeline import Pipeline

Goes = Callable[[dict[str, Any]], bool]
"""Whether a line is set aside; it is called once for each line, in their order."""
Items = dict[int | str, set[str]]
"""Paths of items by row or group; an empty one is the whole row."""
_UNFINISHED = "unfinished"
"""A file in a folder of lines that are being moved: some may still be at their old place, too."""


def set_lines_aside(folder: RunFolder, goes: Mapping[str, Goes]) -> None:
    """Set lines of a run aside that is going on; its files are closed for that, and opened again.

    Args:
        folder: The run's folder.
        goes: The lines that go, by the node whose output or error they are.

    Raises:
        OutputDirError: The folder cannot be written.
    """
    if goes:
        with folder.closed(goes):
            _set_aside(folder.path, goes)


def set_fallbacks_aside(path: Path, chain: Pipeline) -> None:
    """Set the lines aside that saw the fallback of a failure, since that is to be tried again.

    Args:
        path: The run's folder; none of its files is open.
        chain: The chain.

    Raises:
        OutputDirError: The folder cannot be written.
    """
    if not (path / ERRORS).exists():
        return
    stale: dict[str, Items] = {}
    reached: dict[str, dict[str, bool]] = {}
    later: dict[str, dict[int | str, set[tuple[int, ...]]]] = {}
    own: dict[str, Items] = {}
    for line in read_file(path / ERRORS, lambda place: None):
        id, is_part = line.get("node_id"), "sample" in line
        if not (line.get("tolerated") or is_part) or id not in chain.nodes:
            continue
        if is_part:
            own.setdefault(id, {}).setdefault(owner(line), set()).add(line.get("item", ""))
        if id not in reached:
            reached[id] = reach(chain, id)
        for other, of_whole_rows in reached[id].items():
            if not judges_itself(chain, other):
                items = stale.setdefault(other, {}).setdefault(owner(line), set())
                items.add("" if of_whole_rows else line.get("item", ""))
        for other in later_rounds(chain, reached[id].keys()):
            later.setdefault(other, {}).setdefault(owner(line), set()).add(rounds_of(line))
    goes = {id: of_items(items) for id, items in stale.items()}
    goes |= {id: _of_later_rounds(rounds) for id, rounds in later.items() if id not in goes}
    goes |= {id: _output_or(items, goes.get(id)) for id, items in own.items()}
    if goes:
        _set_aside(path, goes)


def _output_or(items: Items, goes: Goes | None) -> Goes:
    """Whether a line is an output for one of some items, or goes for another reason."""
    is_about = of_items(items)
    return lambda line: ("message" not in line and is_about(line)) or bool(goes and goes(line))


def _of_later_rounds(rounds: Mapping[int | str, set[tuple[int, ...]]]) -> Goes:
    """Whether a line is of a later round than one of some rounds of its row."""

    def goes(line: dict[str, Any]) -> bool:
        own = rounds_of(line)
        return any(own[: len(it)] > it[: len(own)] for it in rounds.get(owner(line), ()))

    return goes


def of_items(items: Items) -> Goes:
    """Whether a line is about one of some items, or about a part of one."""

    def goes(line: dict[str, Any]) -> bool:
        found = items.get(owner(line))
        if found is None or "" in found:
            return found is not None
        path = line.get("item", "").split(".")
        return any(".".join(path[:length]) in found for length in range(1, len(path) + 1))

    return goes


def settle(path: Path) -> None:
    """Remove lines that were being set aside when the process was killed, from their old place.

    Args:
        path: The run's folder.

    Raises:
        OutputDirError: The folder cannot be written.
    """
    try:
        for marker in sorted(path.glob(f"{REDONE}/*/{_UNFINISHED}")):
            for moved in marker.parent.glob("*/*.jsonl"):
                _remove(path / STEPS / moved.parent.name / moved.name, moved)
            _remove(path / ERRORS, marker.parent / ERRORS)
            marker.unlink()
    except OSError as error:
        raise unwritable(path, error) from None


def _set_aside(path: Path, goes: Mapping[str, Goes]) -> None:
    try:
        target = path / REDONE / f"{len([*(path / REDONE).glob('*')]):06}"
        target.mkdir(parents=True)
        (target / _UNFINISHED).touch()
        remove_tables(path)
        for id, is_gone in goes.items():
            for file in sorted((path / STEPS / id).glob("*.jsonl")):
                move_lines(file, target / id / file.name, _kept(is_gone))
        move_lines(path / ERRORS, target / ERRORS, _kept(lambda line: _error_goes(line, goes)))
        (target / _UNFINISHED).unlink()
        if not any(target.iterdir()):
            target.rmdir()
    except OSError as error:
        raise unwritable(path, error) from None


def _kept(is_gone: Goes) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    return lambda line: None if is_gone(line) else line


def _error_goes(line: dict[str, Any], goes: Mapping[str, Goes]) -> bool:
    is_gone = goes.get(line.get("node_id") or "")
    return is_gone is not None and is_gone(line)


def _remove(file: Path, moved: Path) -> None:
    """Remove the lines from a file that are in another one."""
    if not (file.exists() and moved.exists()):
        return
    with moved.open("rb") as lines:
        left = Counter(lines)
    with replacing(file) as draft, file.open("rb") as lines, draft.open("wb") as kept:
        for line in lines:
            if left[line]:
                left[line] -= 1
            else:
                kept.write(line)

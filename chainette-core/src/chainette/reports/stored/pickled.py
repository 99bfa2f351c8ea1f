"""A run as `pickle` takes it: with its rows, and without the chain, which has code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any

from chainette.folder.files import FLATTENED
from chainette.folder.lines import read_lines
from chainette.reports.results import Results


class HeldLines:
    """The lines of a table in memory.

    Args:
        lines: The lines.
    """

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self._lines = lines

    def __call__(self) -> Iterator[dict[str, Any]]:
        """Read the lines."""
        return map(dict, self._lines)


def reduced(run: Any) -> tuple[Any, ...]:
    """What `pickle` makes a run again of.

    The rows and groups are in it, since to read them from a folder takes the chain; the lines of
    the table are read from the folder, where there is one.

    Args:
        run: The run.
    """
    state = {it.name: getattr(run, it.name) for it in fields(run)}
    state["results"] = Results(run.results)
    state["group_results"] = {id: [*groups] for id, groups in run.group_results.items()}
    if run.path is None:
        state["lines"] = HeldLines([*run.lines()])
    else:
        state["lines"] = partial(read_lines, run.path / FLATTENED)
    if run.frames is not None:
        state["frames"] = run.frames.detached(state["lines"])
    return restored, (type(run), state)


def restored(kind: Any, state: Mapping[str, Any]) -> Any:
    """The run that was pickled.

    Args:
        kind: The class of runs.
        state: Its fields.
    """
    return kind(**state)

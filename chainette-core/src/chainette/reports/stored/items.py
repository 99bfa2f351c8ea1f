"""The items of split rows: an output in front of a split is in the table for each of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from chainette.reports.stored.run_folder import StoredRun


def depths(run: StoredRun) -> dict[str, int]:
    """How often the outputs of each node, and its list column, were split; of those with lines."""
    found: dict[str, int] = {}
    for id in run.node_ids:
        for line in islice(run.step_lines(id), 1):
            path = line["item"].split(".") if "item" in line else []
            found[id] = len(path) + (line.get("kind") == "split")
    return {**found, **{f"{id}[]": max(depth - 1, 0) for id, depth in found.items()}}


class Outputs:
    """Pairs of values that are counted once for each output, however many items have them.

    Args:
        runs: The runs of the lines.
    """

    def __init__(self, runs: Sequence[StoredRun]) -> None:
        self._depths = [depths(run) for run in runs]
        self._counted: dict[Any, Any] = {}
        self._halves: dict[Any, tuple[Any, Any, Any]] = {}

    def place(self, side: int, line: Mapping[str, Any], name: str) -> Any:
        """What identifies the output that a column of a line has."""
        if "item" not in line:
            return line["row_id"]
        depth = self._depths[side].get(name.partition(".")[0], sys.maxsize)
        return line["row_id"], line["item"].split(".")[:depth]

    def take(self, name: Any, place: Any, pair: tuple[Any, Any], *, is_whole: bool) -> Any:
        """Pairs to count: none that was counted, and one half alone only if no item has both.

        Args:
            name: The column.
            place: What identifies the output.
            pair: The values.
            is_whole: Whether there are both.
        """
        half = self._halves.pop(name, None)
        found = [half[1:]] if half is not None and half[0] != place else []
        if self._counted.get(name) == place:
            return found
        if is_whole:
            self._counted[name] = place
            return [*found, pair]
        self._halves[name] = (place, *pair)
        return found

    def rest(self) -> Iterator[tuple[Any, tuple[Any, Any]]]:
        """Halves that are left, with their columns."""
        for name, (_, a, b) in self._halves.items():
            yield name, (a, b)
        self._halves.clear()

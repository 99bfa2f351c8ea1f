"""The numbers of items that functions have taken, given and dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainette.errors import Drop
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.run import ItemCounts


class ItemTotals:
    """The items of a run by function, those that an earlier run has led through it included."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._given: dict[str, int] = {}
        self._dropped: dict[str, int] = {}

    def add(self, node_id: str, output: Any) -> None:
        """Count an item that a function has finished.

        Args:
            node_id: The function.
            output: Its output: a list if it split its item, `None` or a `Drop` if it dropped it.
        """
        self._taken[node_id] = self._taken.get(node_id, 0) + 1
        count = len(output) if isinstance(output, list) else 1
        if not count or output is None or isinstance(output, Drop):
            self._dropped[node_id] = self._dropped.get(node_id, 0) + 1
            count = 0
        self._given[node_id] = self._given.get(node_id, 0) + count

    def counts(self, pipeline: Pipeline) -> Mapping[str, ItemCounts]:
        """The numbers by function, of those that have split or dropped an item, or are to do so."""
        return {
            id: ItemCounts(taken, self._given[id], self._dropped.get(id, 0))
            for id, node in pipeline.nodes.items()
            if (taken := self._taken.get(id, 0))
            if id in self._dropped or self._given[id] != taken or _is_about_items(node)
        }


def _is_about_items(node: Any) -> bool:
    is_word = node.kind in ("split", "filter", "distinct")
    return isinstance(node, ApplyNode) and (is_word or node.types.splits is True)

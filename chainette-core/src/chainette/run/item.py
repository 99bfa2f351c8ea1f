"""One item in a run: an input row, or a part that a row was split into."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chainette.folder.lines import ItemPath, item_name


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """An input row, or one of the items that a function split it into.

    Attributes:
        row_id: 0-based index of the input row.
        path: Index among its siblings for every split that it went through; empty for a row.
        round: 1-based round of every repeat that it is in, from the outermost on.
        requests: In a repeat, the number of requests of each step for this item so far, in all
            rounds; `None` elsewhere.
    """

    row_id: int
    path: ItemPath = ()
    round: ItemPath = ()
    requests: dict[str, int] | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The path as files show it, such as `3.1`; empty for a row."""
        return item_name(self.path)

    @property
    def key(self) -> dict[str, Any]:
        """The fields by which a line in a file names the item."""
        key: dict[str, Any] = {"row_id": self.row_id}
        if self.path:
            key["item"] = self.name
        if self.round:
            key["round"] = self.round[0] if len(self.round) == 1 else item_name(self.round)
        return key

    def child(self, index: int) -> Item:
        """The item at an index of the list that this item was split into."""
        requests = {**self.requests} if self.requests is not None else None
        return Item(self.row_id, (*self.path, index), self.round, requests)

    def in_round(self, number: int, of: Item | None = None) -> Item:
        """The item in a round of a repeat.

        Args:
            number: The round.
            of: The item in the round before, whose requests are counted on.
        """
        requests = self.requests if of is None else of.requests
        requests = {} if requests is None else requests
        return Item(self.row_id, self.path, (*self.round, number), requests)

    def sent(self, step_id: str) -> int:
        """The number of requests that a step has sent for this item so far, in all rounds."""
        return self.requests.get(step_id, 0) if self.requests is not None else 0

    def count(self, step_id: str, requests: int = 1) -> None:
        """Count requests of a step; outside of repeats each step runs once, and nothing is kept."""
        if self.requests is not None:
            self.requests[step_id] = self.requests.get(step_id, 0) + requests

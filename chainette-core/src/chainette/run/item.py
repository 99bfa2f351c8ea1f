"""One item in a run: an input row, or a part that a row was split into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainette.folder.lines import ItemPath, item_name


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """An input row, or one of the items that a function split it into.

    Attributes:
        row_id: 0-based index of the input row.
        path: Index among its siblings for every split that it went through; empty for a row.
        round: 1-based round of every repeat that it is in, from the outermost on.
    """

    row_id: int
    path: ItemPath = ()
    round: ItemPath = ()

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
        return Item(self.row_id, (*self.path, index), self.round)

    def in_round(self, number: int) -> Item:
        """The item in a round of a repeat."""
        return Item(self.row_id, self.path, (*self.round, number))

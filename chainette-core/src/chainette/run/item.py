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
    """

    row_id: int
    path: ItemPath = ()

    @property
    def name(self) -> str:
        """The path as files show it, such as `3.1`; empty for a row."""
        return item_name(self.path)

    @property
    def key(self) -> dict[str, Any]:
        """The fields by which a line in a file names the item."""
        return {"row_id": self.row_id, "item": self.name} if self.path else {"row_id": self.row_id}

    def child(self, index: int) -> Item:
        """The item at an index of the list that this item was split into."""
        return Item(self.row_id, (*self.path, index))

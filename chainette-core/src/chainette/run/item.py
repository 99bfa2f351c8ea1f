"""One item in a run: an input row, a part that a row was split into, or a group of rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chainette.folder.lines import ItemPath, group_name, item_name


@dataclass(frozen=True, slots=True)
class GroupId:
    """The identity of a group.

    Attributes:
        key: Its key as a JSON value that no other key has.
        title: Its key for people.
        members: Digest of its members; `None` where they cannot be compared.
        row_ids: The row ids of its items; of a group that is made of other groups, each once.
    """

    key: Any
    title: str
    members: str | None
    row_ids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """An input row, one of the items that a function split it into, or a group of rows.

    Attributes:
        row_id: 0-based index of the input row; of a group, its place among the groups.
        path: Index among its siblings for every split that it went through; empty for a row.
        round: 1-based round of every repeat that it is in, from the outermost on.
        group: The group that it is, or `None`.
        part: 1-based number of the part of a group that is handed over in parts, or 0.
    """

    row_id: int
    path: ItemPath = ()
    round: ItemPath = ()
    group: GroupId | None = field(default=None, compare=False)
    part: int = 0

    @property
    def name(self) -> str:
        """The path as files show it, such as `3.1`; empty for a row."""
        return item_name(self.path)

    @property
    def key(self) -> dict[str, Any]:
        """The fields by which a line in a file names the item."""
        key: dict[str, Any] = {"row_id": self.row_id}
        if self.group is not None:
            key = {"group": self.group.key, "members": self.group.members}
            if self.part:
                key["part"] = self.part
        if self.path:
            key["item"] = self.name
        if self.round:
            key["round"] = self.round[0] if len(self.round) == 1 else item_name(self.round)
        return key

    @property
    def event_row(self) -> int:
        """The row id in events; -1 for a group."""
        return self.row_id if self.group is None else -1

    @property
    def owner(self) -> int | str:
        """What the item belongs to: the row, or the group by its name."""
        return self.row_id if self.group is None else group_name(self.group.key)

    @property
    def group_title(self) -> str | None:
        """The group's key for people, or `None` for a row."""
        return None if self.group is None else self.group.title

    @property
    def title(self) -> str:
        """Its name in messages, such as `row 3, item 1`."""
        name = f"row {self.row_id}" if self.group is None else f"group {self.group.title}"
        return f"{name}, item {self.name}" if self.path else name

    def child(self, index: int) -> Item:
        """The item at an index of the list that this item was split into."""
        return Item(self.row_id, (*self.path, index), self.round, self.group, self.part)

    def in_round(self, number: int) -> Item:
        """The item in a round of a repeat."""
        return Item(self.row_id, self.path, (*self.round, number), self.group, self.part)

    def in_part(self, number: int) -> Item:
        """The item in a part of its group."""
        return Item(self.row_id, self.path, self.round, self.group, number)

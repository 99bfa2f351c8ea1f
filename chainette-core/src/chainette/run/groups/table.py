"""The ends of groups, in the order of the groups: their table, or their results in memory."""

from __future__ import annotations

from typing import Any

from chainette.errors import OutputDirError
from chainette.folder.files import RunFolder
from chainette.folder.lines import LineFile
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.groups import GroupLines, Head
from chainette.reports.result import Leaf, state_of
from chainette.run.control import RunControl

End = tuple[Head, list[Leaf]]
"""What a group is made of, and its ends."""


class GroupTable:
    """The ends of the groups of a `reduce`; those that are ahead of a slower one are held.

    Args:
        pipeline: The chain.
        reduce: The `reduce`.
        folder: The run's folder, or `None` to keep the ends in memory.
        control: Told when the table cannot be written.

    Attributes:
        ends: The ends in memory, by group.
        groups: The number of groups that have ended.
        failed: The number of those of which something failed.
        dropped: The number of those that functions dropped.
        waiting: The number of ends of groups behind the next one.
        is_full: Whether nothing can be taken; it always can.
    """

    is_full = False

    def __init__(
        self,
        pipeline: Pipeline[Any, Any],
        reduce: Reduce[Any, Any],
        folder: RunFolder | None,
        control: RunControl,
    ) -> None:
        self._lines = GroupLines(pipeline, reduce)
        self._file: LineFile | None = folder.group_table(reduce.id) if folder is not None else None
        self._control = control
        self._known: dict[int, Head] = {}
        self._ends: dict[int, list[Leaf]] = {}
        self._done: set[int] = set()
        self._next = 0
        self.ends: list[End] = []
        self.groups: int = 0
        self.failed: int = 0
        self.dropped: int = 0
        self.waiting: int = 0

    @property
    def held(self) -> int:
        """The number of groups that have ended behind a slower one."""
        return len(self._done)

    def begin(self, index: int, head: Head) -> None:
        """Note the key of a group, and what it is made of."""
        self._known[index] = head

    def add(self, row_id: int, leaf: Leaf) -> None:
        """Record the next end of a group, which is named by its place among the groups."""
        self._ends.setdefault(row_id, []).append(leaf)
        self.waiting += row_id != self._next

    def row_done(self, row_id: int) -> None:
        """Record that a group has no more ends."""
        self._done.add(row_id)
        while self._next in self._done:
            self._deliver(self._next)
            self._next += 1
            self.waiting -= len(self._ends.get(self._next, ()))

    def close(self) -> None:
        """Write what is held behind a group that was given up."""
        for index in sorted(self._done):
            self._deliver(index)
        if self._file is not None:
            self._file.flush()

    def _deliver(self, index: int) -> None:
        self._done.remove(index)
        head, leaves = self._known.pop(index), self._ends.pop(index, [])
        self.groups += 1
        state = state_of(leaves)
        self.failed += state in ("failed", "partial")
        self.dropped += state == "dropped"
        if self._file is None:
            self.ends.append((head, leaves))
            return
        try:
            self._file.write(*self._lines.lines(head, leaves))
        except OutputDirError as error:
            self._control.fail(error)

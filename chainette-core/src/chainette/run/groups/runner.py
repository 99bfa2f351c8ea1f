"""One group on its way through the nodes that work on groups."""

from __future__ import annotations

from collections import deque
from typing import Any

import anyio

from chainette.engine.telemetry import hooks as telemetry
from chainette.errors import ApplyError
from chainette.events import GroupFinished, RowStarted
from chainette.json_bytes import decode
from chainette.pipeline.composites.group import Group, GroupName, is_group
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.node import Node
from chainette.reports.groups import Head, Keys, title_of
from chainette.reports.result import Leaf
from chainette.run.groups.members import GroupRow, Members
from chainette.run.groups.table import GroupTable
from chainette.run.item import GroupId, Item
from chainette.run.schedule.flow.ends import RowEnds, Take
from chainette.run.schedule.flow.row import RowRunner
from chainette.run.schedule.flow.state import FlowState
from chainette.run.schedule.leases import Lease
from chainette.run.schedule.parking import RowActivity

MOST_MEMBERS = 10_000
"""Members of groups in progress that are in memory together, where a group has fewer."""


class MemberRoom:
    """The number of members that may be in memory.

    Args:
        is_bounded: Whether there is a limit. Groups that wait for each other, as in a batch, can
            only all be there.
    """

    def __init__(self, *, is_bounded: bool) -> None:
        self._is_bounded = is_bounded
        self._count = 0
        self._waiting: deque[tuple[anyio.Event, int]] = deque()

    async def enter(self, count: int) -> bool:
        """Wait for room, and say whether there was none; a group that is alone always has it."""
        if self._waiting or not self._has_room(count):
            turn = anyio.Event()
            self._waiting.append((turn, count))
            await turn.wait()  # whatever sets it counts the members
            return True
        self._count += count
        return False

    def leave(self, count: int) -> None:
        """Give room back, and let the next groups in."""
        self._count -= count
        while self._waiting and self._has_room(self._waiting[0][1]):
            turn, more = self._waiting.popleft()
            self._count += more
            turn.set()

    def _has_room(self, count: int) -> bool:
        return not (self._is_bounded and self._count) or self._count + count <= MOST_MEMBERS


class GroupRunner(RowRunner):
    """Leads groups through the nodes of a `reduce`, and through those behind it.

    Args:
        reduce: The `reduce`.
        source: The members of its groups.
        table: Records the groups' ends.
        room: The room for members.
        **options: As for `RowRunner`.
    """

    def __init__(
        self,
        reduce: Reduce[Any, Any],
        source: Members,
        table: GroupTable,
        room: MemberRoom,
        **options: Any,
    ) -> None:
        super().__init__(recorder=table, **options)
        self._reduce = reduce
        self._source = source
        self._table = table
        self._member_room = room
        self._keys = Keys(reduce.input_model)
        self._steps = self._pipeline.group_steps[reduce]
        first = next((it for it in reduce.steps if not isinstance(it, Branch)), reduce.last)
        self._kind: Any = first.input_model if is_group(first.input_model) else Group

    async def run_group(self, row: GroupRow, lease: Lease) -> None:
        """Run one group.

        Args:
            row: The group.
            lease: The engines that it may need.
        """
        count = min(row.count, self._reduce.fold or row.count)
        try:
            if await self._member_room.enter(count) and self._control.is_draining:
                return lease.end()  # it has not begun, and the run takes no more
            item, key = self._identified(row)
            assert item.group is not None
            self._table.begin(row.index, Head(key, item.group.row_ids, row.count))
            with telemetry.row(RowStarted(self._pipeline.name, -1, item.group.title)):
                ends = RowEnds(row.index, self._table, self._control)
                await self._lead(row, item, key, lease, ends.add)
            if not self._control.is_over:
                self._table.row_done(row.index)
                self._room.fill()
                title = item.group.title
                self._emit(GroupFinished(self._reduce.id, title, ends.state, ends.reason))
        except Exception as error:  # the disk, or a defect: no group can continue
            self._control.fail(error)
        finally:
            self._member_room.leave(count)

    def _identified(self, row: GroupRow) -> tuple[Item, Any]:
        """The group as an item, and its key."""
        written = decode(row.name)
        key = self._keys.read(written)
        row_ids = self._source.row_ids(row)
        title = title_of(key) if self._reduce.key.parts else "all rows"
        return Item(row.index, group=GroupId(written, title, row.digest, row_ids)), key

    async def _lead(self, row: GroupRow, item: Item, key: Any, lease: Lease, take: Take) -> None:
        """Lead a group to the one or more ends it has."""
        assert item.group is not None
        names = {"group": GroupName(key=key, row_ids=item.group.row_ids)}
        activity = RowActivity(self._parking)
        state = FlowState(item, lease, activity, names, None, is_row=True)
        if self._reduce.fold is None:
            state.value = self._group(row, key, 0, row.count, None)
            await self._flow(self._steps, state, take)
        elif (end := await self._folded(row, key, state)) is not None:
            await self._end(state, end, take)
        else:
            await self._flow(self._steps[len(self._reduce.steps) :], state, take)

    async def _folded(self, row: GroupRow, key: Any, state: FlowState) -> Leaf | None:
        """Hand a group over in parts; returns its end where it does not go on.

        Where a part fails and that is tolerated, so does the group: no part follows.
        """
        size, so_far = self._reduce.fold or 1, None
        names, steps = state.names, self._reduce.steps
        for number, first in enumerate(range(0, row.count, size), 1):
            value = self._group(row, key, first, size, so_far)
            lease = self._leases.lease(steps)
            own = FlowState(state.item.in_part(number), lease, state.activity, {**names}, value)
            ends: list[Leaf] = []
            await self._flow(steps, own, ends.append)
            if len(ends) != 1 or ends[0].path:
                error = ApplyError(
                    f"reduce {self._reduce.id!r}: with fold, its nodes must give one output for "
                    "all parts of a group, and a function returned several items"
                )
                return self._failed(self._reduce, state, error)
            (leaf,) = ends
            state.outputs, state.names, state.value = leaf.outputs, own.names, leaf.value
            if not leaf.has_value:
                return leaf
            if leaf.error is not None:  # of a branch, or of a sample
                assert isinstance(leaf.node, Node)
                state.losses[0].append((leaf.error, leaf.node))
            if own.is_fallback:  # as it would take the place of the parts before
                return None
            so_far = leaf.value
        return None

    def _group(self, row: GroupRow, key: Any, first: int, count: int, so_far: Any) -> Any:
        """A group as its first node takes it; its members have their types already."""
        items = self._source.read(row, first, count)
        row_ids = self._source.row_ids(row, first, count)
        return self._kind.model_construct(key=key, items=items, row_ids=row_ids, so_far=so_far)

"""The last phase of a run: the groups, once every row has ended."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from chainette.events import GroupsStarted, Listener
from chainette.folder.files import ERRORS, STEPS, RunFolder
from chainette.folder.lines import group_name, read_file, read_lines
from chainette.folder.stale import Goes, set_lines_aside
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.groups import (
    GroupResult,
    Keys,
    group_nodes,
    group_result,
    source_of,
    stored_groups,
)
from chainette.run.control import RunControl
from chainette.run.groups.members import GroupRow, Members, MemoryMembers, StoredMembers
from chainette.run.groups.runner import GroupRunner, MemberRoom
from chainette.run.groups.table import End, GroupTable
from chainette.run.output.journal import Journal
from chainette.run.schedule.batches import Batches
from chainette.run.schedule.flow.nodes import NodeRunner, StepRunner
from chainette.run.schedule.leases import Lease, Leases
from chainette.run.schedule.parking import Parking
from chainette.run.schedule.single import batched_nodes
from chainette.run.schedule.workers import Room, Workers


@dataclass(frozen=True, slots=True)
class Tools:
    """What rows and groups run with.

    Attributes:
        steps: The way to run steps.
        journal: The outputs so far.
        leases: The engines that are in use.
        control: The state of the run.
        emit: Receives events.
    """

    steps: StepRunner
    journal: Journal
    leases: Leases
    control: RunControl
    emit: Listener


class GroupPhase:
    """The groups of a run.

    Args:
        pipeline: The chain.
        folder: The run's folder, or `None` to keep everything in memory.
        is_resumed: Whether an earlier run may have left outputs of groups.

    Attributes:
        tables: The ends of the groups so far, by the id of their `reduce`.
    """

    def __init__(
        self, pipeline: Pipeline[Any, Any], folder: RunFolder | None, *, is_resumed: bool
    ) -> None:
        self._pipeline = pipeline
        self._folder = folder
        self._is_resumed = is_resumed
        self._reduces = list(pipeline.group_steps)
        self._members = [_members(reduce, folder) for reduce in self._reduces]
        self._lease: Lease | None = None
        self.tables: dict[str, GroupTable] = {}

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of groups so far, and of those that failed or were dropped."""
        tables = self.tables.values()
        return {
            "groups": sum(it.groups for it in tables),
            "failed_groups": sum(it.failed for it in tables),
            "dropped_groups": sum(it.dropped for it in tables),
        }

    def results(self) -> Mapping[str, Sequence[GroupResult[Any]]]:
        """The groups so far, by the nodes that they pass through."""
        if self._folder is not None:
            return stored_groups(self._folder.path, self._pipeline)
        found: dict[str, Sequence[GroupResult[Any]]] = {}
        for name, reduce, node_id in group_nodes(self._pipeline):
            source = source_of(self._pipeline, reduce, node_id)
            found[name] = [group_result(node_id, *end, source) for end in self._ends(reduce)]
        return found

    def _ends(self, reduce: Reduce[Any, Any]) -> list[End]:
        return self.tables[reduce.id].ends if reduce.id in self.tables else []

    def close(self) -> None:
        """Write what is held, and forget the members.

        Raises:
            OutputDirError: A table cannot be written.
        """
        for members in self._members:
            members.forget()
        for table in self.tables.values():
            table.close()

    @property
    def members(self) -> Members | None:
        """The place for the members of the first groups; `None` if there are none."""
        return self._members[0] if self._members else None

    def reserve(self, leases: Leases) -> None:
        """Keep the engines that groups need, while rows run that do not."""
        if self._reduces:
            self._lease = leases.lease(self._reduces)

    async def run(self, tools: Tools) -> None:
        """Run the groups, one `reduce` after another."""
        following = [*self._members, None][1:]
        for reduce, members, after in zip(self._reduces, self._members, following, strict=True):
            if tools.control.is_draining or tools.control.is_over:
                return
            total = members.close()
            self._set_aside(reduce, members, tools.journal)
            table = GroupTable(self._pipeline, reduce, self._folder, tools.control)
            self.tables[reduce.id] = table
            nodes = tuple(node.id for node in self._pipeline.stage_nodes(reduce))
            tools.emit(GroupsStarted(reduce.id, nodes, total))
            await self._run_groups(reduce, members, after, table, tools)

    async def _run_groups(
        self,
        reduce: Reduce[Any, Any],
        members: Members,
        after: Members | None,
        table: GroupTable,
        tools: Tools,
    ) -> None:
        """Connect the rooms that a group passes through, and let groups in."""
        pipeline, control, leases = self._pipeline, tools.control, tools.leases
        steps = pipeline.group_steps[reduce]
        batched = [node for node in batched_nodes(pipeline) if node in pipeline.stage_nodes(reduce)]
        async with anyio.create_task_group() as tasks:
            parking, batches = Parking(control), Batches(batched, tasks, tools.journal, control)
            groups = GroupRunner(
                reduce,
                members,
                table,
                MemberRoom(is_bounded=not batched),
                pipeline=pipeline,
                nodes=NodeRunner(tools.steps, batches, tools.journal, control, tools.emit),
                leases=leases,
                parking=parking,
                tasks=tasks,
                control=control,
                emit=tools.emit,
                members=after,
            )
            workers: Workers[GroupRow] = Workers(
                groups.run_group,
                nodes=steps,
                room=Room(pipeline, leases, table),
                leases=leases,
                batches=batches,
                parking=parking,
                tasks=tasks,
                control=control,
            )
            await workers.run(_in_turn(members.groups()))
            self._give_back(reduce)

    def _give_back(self, reduce: Reduce[Any, Any]) -> None:
        """Let go of the engines that only the groups in flight may still need."""
        assert self._lease is not None
        rest = self._reduces[self._reduces.index(reduce) + 1 :]
        if rest:
            self._lease.advance(rest[0])
        else:
            self._lease.end()

    def _set_aside(self, reduce: Reduce[Any, Any], members: Members, journal: Journal) -> None:
        """Set the lines of groups aside whose members have changed."""
        folder = self._folder
        if folder is None or not self._is_resumed or not isinstance(members, StoredMembers):
            return
        stale = StaleLines(folder.path, self._pipeline, reduce, members)
        set_lines_aside(folder, stale.goes(journal.on_stale))


class StaleLines:
    """The lines of groups that an earlier run has left, and whose members are others now.

    A function that sees all groups finds out itself whether they have changed.

    Args:
        path: The run's folder.
        pipeline: The chain.
        reduce: The `reduce` that makes the groups.
        members: The members that the groups have now.
    """

    def __init__(
        self,
        path: Path,
        pipeline: Pipeline[Any, Any],
        reduce: Reduce[Any, Any],
        members: StoredMembers,
    ) -> None:
        last = pipeline.group_steps[reduce][-1]
        self._path = path
        self._members = members
        self._ids = [it.id for it in pipeline.stage_nodes(reduce) if not it.waits_for_all]
        self._next = last.id if isinstance(last, Reduce) else None

    def goes(self, on_stale: Callable[[dict[str, Any]], object]) -> dict[str, Goes]:
        """The lines, by the node that they are of; only nodes that have any.

        Args:
            on_stale: Receives every line.
        """
        found: dict[str, Goes] = {}
        for id in [*self._ids, *([self._next] if self._next else [])]:
            for line in self._lines(id):
                if self._is_stale(id, line):
                    on_stale(line)
                    found[id] = partial(self._is_stale, id)
        return found

    def _is_stale(self, id: str, line: dict[str, Any]) -> bool:
        is_key = line.get("kind") == "key"  # of a group of groups, or of a group that is in none
        if "group" not in line or (id != self._next if is_key else id not in self._ids):
            return False
        digest = self._members.digest(group_name(line["group"]))
        return digest is None or line.get("members") != digest

    def _lines(self, id: str) -> Iterator[dict[str, Any]]:
        yield from read_lines(self._path / STEPS / id, lambda place: None)
        errors = self._path / ERRORS
        found = read_file(errors, lambda place: None) if errors.exists() else ()
        yield from (line for line in found if line.get("node_id") == id)


def _members(reduce: Reduce[Any, Any], folder: RunFolder | None) -> Members:
    keys = Keys(reduce.input_model)
    return MemoryMembers(keys) if folder is None else StoredMembers(reduce.input_model, keys)


async def _in_turn(groups: Iterator[GroupRow]) -> AsyncGenerator[GroupRow, None]:
    for group in groups:
        yield group

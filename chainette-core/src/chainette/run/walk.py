"""One row on its way through a chain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio.abc

from chainette.engine import telemetry
from chainette.errors import ChainetteError
from chainette.pipeline.apply import ApplyNode
from chainette.pipeline.branch import Branch
from chainette.pipeline.node import Node
from chainette.pipeline.step import Step
from chainette.run.activity import Activity, Gate
from chainette.run.reach import Hold, Reach

ItemPath = tuple[int, ...]
"""Place of an item among its siblings, for every split that it went through."""


def item_name(path: ItemPath) -> str:
    """The item as files name it, such as `3.1`; empty for a row that was not split."""
    return ".".join(map(str, path)) if path else ""


class Many(list[Any]):
    """Outputs of a node in a branch that split its item."""


@dataclass(slots=True)
class Leaf:
    """A row, or an item that it was split into, at its end.

    Attributes:
        path: Place among its siblings; empty for a row that was not split.
        outputs: Outputs of the nodes it has passed and that yield, by id.
        value: What came out of the last node.
        dropped: A function returned `None` for it.
        error: Why it failed, or `None`.
        node: The node it failed in.
    """

    path: ItemPath
    outputs: dict[str, Any] = field(default_factory=dict)
    value: Any = None
    dropped: bool = False
    error: Exception | None = None
    node: Node | None = None


class Nodes(Protocol):
    """What runs the nodes: the executor."""

    reach: Reach

    async def run_step(
        self, step: Step, row_id: int, path: ItemPath, seen: dict[str, Any], value: Any
    ) -> Any:
        """Prompt the step's engine; raises what went wrong."""

    async def run_function(
        self,
        node: ApplyNode,
        row_id: int,
        path: ItemPath,
        seen: dict[str, Any],
        value: Any,
        activity: Activity,
    ) -> Any:
        """Call the node's function; returns an item, a list of items, or `None`."""

    def failed(self, node: Node, row_id: int, path: ItemPath, error: Exception) -> None:
        """Record that a node failed."""

    def give_up(self, error: Exception) -> None:
        """End the run, since no row can go on."""


@dataclass(slots=True)
class FlowRun:
    """A flow that runs beside another one: a branch, or an item of a split.

    Attributes:
        path: The item that it started with.
        gate: Opens at its end.
        leaves: Its ends.
    """

    path: ItemPath
    gate: Gate
    leaves: list[Leaf] = field(default_factory=list)

    @property
    def failed(self) -> Leaf | None:
        """What failed in it first."""
        return next((leaf for leaf in self.leaves if leaf.error is not None), None)

    @property
    def is_whole(self) -> bool:
        """Whether its item was not split."""
        return all(leaf.path == self.path for leaf in self.leaves)

    def output(self) -> Any:
        """The last output, or those of all items that it was split into."""
        values = [leaf.value for leaf in self.leaves if not leaf.dropped]
        if not self.is_whole:
            return values
        return values[0] if values else None

    def outputs(self) -> dict[str, Any]:
        """Outputs of its nodes by id."""
        if self.is_whole:
            return self.leaves[0].outputs if self.leaves else {}
        merged: dict[str, Any] = {}
        for leaf in self.leaves:
            for id, value in leaf.outputs.items():
                # A branch in a branch that split as well is no list of lists.
                merged.setdefault(id, Many()).extend(value if isinstance(value, Many) else [value])
        return merged


@dataclass(slots=True)
class Scope:
    """What one flow of a row knows.

    Attributes:
        path: The item.
        hold: The engines that the flow may still need.
        seen: Values by the names that templates and functions see.
        joined: Branches by their alias, those of enclosing flows included.
        beside: Branches that its end waits for.
        outputs: Outputs so far, of nodes that yield.
        value: What came out of the last node.
    """

    path: ItemPath
    hold: Hold
    seen: dict[str, Any]
    joined: dict[str, FlowRun] = field(default_factory=dict)
    beside: list[FlowRun] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    value: Any = None

    @property
    def name(self) -> str:
        """The item as files name it."""
        return item_name(self.path)

    def passed(self, node: Node, value: Any) -> Any:
        """Note what a node made."""
        self.seen[node.id] = self.value = value
        if node.yield_output:
            self.outputs[node.id] = value
        return value


class _Split(list[Any]):
    """Items that one item became."""


class _BranchError(Exception):
    """A joined branch that is needed has failed."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self.leaf = leaf


_DROPPED = object()


class Walk:
    """Leads one row through the nodes.

    Args:
        nodes: What runs the nodes.
        row_id: 0-based index of the row.
        tasks: Where branches and items run.
        activity: Counts the row's flows.
    """

    def __init__(
        self, nodes: Nodes, row_id: int, tasks: anyio.abc.TaskGroup, activity: Activity
    ) -> None:
        self._nodes = nodes
        self._row_id = row_id
        self._tasks = tasks
        self._activity = activity

    async def flow(self, nodes: list[Any], value: Any, scope: Scope) -> list[Leaf]:
        """Lead a value through nodes, to the one or more ends it has."""
        for index, node in enumerate(nodes):
            scope.hold.at(node)
            if isinstance(node, Branch):
                self._branch(node, value, scope)
                continue
            try:
                await self._join(node, scope)
                with telemetry.node(node.id, self._row_id, scope.name):
                    made = await self._run(node, value, scope)
            except ChainetteError as error:
                self._nodes.failed(node, self._row_id, scope.path, error)
                return [await self._end(scope, error=error, node=node)]
            except _BranchError as failed:
                return [await self._end(scope, blame=failed.leaf)]
            if made is _DROPPED:
                return [await self._end(scope, dropped=True)]
            if isinstance(made, _Split):
                return await self._split(node, nodes[index + 1 :], made, scope)
            value = scope.passed(node, made)
        return [await self._end(scope)]

    async def _run(self, node: Node, value: Any, scope: Scope) -> Any:
        row_id, path, seen = self._row_id, scope.path, scope.seen
        if isinstance(node, Step):
            return await self._nodes.run_step(node, row_id, path, seen, value)
        assert isinstance(node, ApplyNode)
        made = await self._nodes.run_function(node, row_id, path, seen, value, self._activity)
        if made is None or made == []:
            return _DROPPED
        return _Split(made) if isinstance(made, list) else made

    async def _split(
        self, node: Node, rest: list[Any], items: list[Any], scope: Scope
    ) -> list[Leaf]:
        """Lead each item through the rest of the flow, all at once."""
        runs = []
        for index, item in enumerate(items):
            hold = self._nodes.reach.hold(rest)
            seen, beside, outputs = {**scope.seen}, scope.beside[:], {**scope.outputs}
            path = (*scope.path, index)
            own = Scope(path, hold, seen, scope.joined, beside, outputs, scope.value)
            runs.append(self._start(rest, own.passed(node, item), own))
        scope.hold.end()
        for run in runs:
            await run.gate.wait()
        return [leaf for run in runs for leaf in run.leaves]

    def _branch(self, branch: Branch, value: Any, scope: Scope) -> None:
        hold = self._nodes.reach.hold(branch.steps)
        own = Scope(scope.path, hold, {**scope.seen}, {**scope.joined}, value=value)
        run = self._start(branch.steps, value, own)
        scope.beside.append(run)
        if branch.alias is not None:
            scope.joined = {**scope.joined, branch.alias: run}

    def _start(self, nodes: list[Any], value: Any, scope: Scope) -> FlowRun:
        """Start a flow beside this one."""
        run = FlowRun(scope.path, Gate(self._activity))

        async def work() -> None:
            try:
                run.leaves = await self.flow(nodes, value, scope)
            except Exception as error:  # the disk, or a defect: no row can go on
                self._nodes.give_up(error)
            run.gate.open()
            self._activity.rest()

        self._activity.wake()
        self._tasks.start_soon(work)
        return run

    async def _join(self, node: Node, scope: Scope) -> None:
        """Wait for the joined branches that a node needs."""
        for alias in node.needs(scope.joined.keys() - scope.seen.keys()):
            run = scope.joined[alias]
            await run.gate.wait()
            if run.failed is not None:
                raise _BranchError(run.failed)
            scope.seen[alias] = run.output()

    async def _end(
        self,
        scope: Scope,
        *,
        error: Exception | None = None,
        node: Node | None = None,
        dropped: bool = False,
        blame: Leaf | None = None,
    ) -> Leaf:
        """The end of a flow, once the branches beside it have ended."""
        scope.hold.end()
        leaf = Leaf(scope.path, scope.outputs, scope.value, dropped, error, node)
        for run in scope.beside:
            await run.gate.wait()
            leaf.outputs = {**run.outputs(), **leaf.outputs}
            blame = blame or run.failed
        if leaf.error is None and blame is not None:
            leaf.error, leaf.node = blame.error, blame.node
        return leaf

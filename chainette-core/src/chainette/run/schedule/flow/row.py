"""One row on its way through a chain."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from anyio.abc import TaskGroup

from chainette.engine.telemetry import hooks as telemetry
from chainette.errors import ChainetteError, InputError, ValidatorError
from chainette.events import Listener, RowFinished, RowStarted
from chainette.pipeline.composites.composite import Composite, End
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.nodes.apply import ApplyNode, SplitNode
from chainette.pipeline.nodes.conditions import Condition, Fallback
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_nodes
from chainette.pipeline.words.word import Recorded
from chainette.reports.result import Leaf
from chainette.run.control import RunControl
from chainette.run.groups.members import Members
from chainette.run.inputs.columns import validated
from chainette.run.inputs.files import InputRow
from chainette.run.item import Item
from chainette.run.output.lines import Sampled
from chainette.run.schedule.composites.turns import Composites, check_split, skip
from chainette.run.schedule.flow.conditions import SKIPPED, is_tolerable
from chainette.run.schedule.flow.ends import ItemEnds, RowEnds, RowRecorder, Take
from chainette.run.schedule.flow.functions import STOPPED, Dropped, Split
from chainette.run.schedule.flow.items import ItemActivity, ItemRoom, Items
from chainette.run.schedule.flow.nodes import NodeRunner
from chainette.run.schedule.flow.state import EndError, FlowState, Reasoned, Subflow
from chainette.run.schedule.leases import Lease, Leases
from chainette.run.schedule.parking import Gate, Parking, RowActivity

_ENDS = frozenset({object, Dropped, Split, Fallback, Recorded, Sampled})
"""Types of what a node can give in place of an output; `STOPPED` and `SKIPPED` are objects."""


_TURNS = (End, Composite, Reduce)
"""Places where other nodes follow than the next one in the list."""


class RowRunner:
    """Leads rows through the nodes, from the input to the record of their end.

    Args:
        pipeline: The chain.
        nodes: Runs the nodes.
        recorder: Records the rows' ends.
        leases: The engines that are in use.
        parking: Counts the rows that wait in batches.
        tasks: The task group that branches and items run in, if there can be any.
        control: Told when no row can continue.
        emit: Receives events.
        members: Receives the values that belong to groups, if there can be any.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        nodes: NodeRunner,
        recorder: RowRecorder,
        *,
        leases: Leases,
        parking: Parking,
        tasks: TaskGroup | None,
        control: RunControl,
        emit: Listener,
        members: Members | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._input_model = pipeline.input_model
        self._validate = pipeline.input_adapter.validate_python
        self._nodes = nodes
        self._composites = Composites(nodes.decisions)
        self._recorder = recorder
        self._leases = leases
        self._parking = parking
        self._tasks = tasks
        self._control = control
        self._emit = emit
        self._members = members
        # The same bounds as for rows that several engines work on.
        self._room = ItemRoom(2 * leases.requests, 8 * leases.requests, recorder)
        self._counts: dict[str, int] = {}

    async def run(self, source: InputRow, lease: Lease) -> None:
        """Run one row.

        Args:
            source: The row as it was read.
            lease: The engines that it may need.
        """
        try:
            event = RowStarted(self._pipeline.name, source.row_id)
            self._emit(event)
            with telemetry.row(event):
                ends = RowEnds(source.row_id, self._recorder, self._control)
                await self._start_flow(source, lease, ends.add)
            if not self._control.is_over:
                self._recorder.row_done(source.row_id)
                self._room.fill()  # the ends of other rows may have waited for this one
                self._emit(RowFinished(source.row_id, ends.state, ends.reason))
        except Exception as error:  # the disk, or a defect: no row can continue
            self._control.fail(error)

    async def _start_flow(self, source: InputRow, lease: Lease, take: Take) -> None:
        """Lead a row to the one or more ends it has."""
        item = Item(source.row_id)
        try:
            value = validated(source, self._input_model, self._validate)
        except (InputError, ValidatorError) as error:
            self._nodes.failed(None, item, error)
            lease.end()
            take(Leaf((), error=error))
            return
        activity = RowActivity(self._parking)
        state = FlowState(item, lease, activity, {"chain_input": value}, value, is_row=True)
        await self._flow(self._pipeline.row_steps, state, take)

    async def _flow(self, nodes: list[Any], state: FlowState, take: Take) -> None:
        """Lead a value through nodes, to the one or more ends it has."""
        index = 0
        while index < len(nodes):
            node = nodes[index]
            state.lease.advance(node)
            try:
                if isinstance(node, Branch):
                    await self._branch(node, state)
                    index += 1
                    continue
                await self._join(node, state)
                if isinstance(node, _TURNS):
                    nodes, index = await self._turned(node, nodes[index + 1 :], state), 0
                    continue
                output = await self._output(node, state)
            except ChainetteError as error:
                end = self._failed(node, state, error)
            except EndError as error:
                end = error.end
            else:
                index += 1
                if isinstance(output, Split) and output:
                    return await self._split(node, nodes[index:], output, state, take)
                leaf = self._passed(node, output, state)
                if leaf is None:
                    continue
                end = leaf
                end.missed = [it.id for it in all_nodes(nodes[index - 1 :]) if it.yield_output]
            rest = self._composites.caught(end, nodes[index:], state)
            if rest is None:
                return await self._end(state, end, take)
            nodes, index = rest, 0
        return await self._end(state, Leaf(()), take)

    async def _turned(
        self, node: Composite | End | Reduce[Any, Any], rest: list[Any], state: FlowState
    ) -> list[Any]:
        """The nodes that follow where a flow comes to a composite, to its end, or to a `reduce`.

        Raises:
            EndError: The flow ends here.
        """
        if isinstance(node, Reduce):
            await self._grouped(node, state)
            return rest
        if isinstance(node, End):
            judged = await self._judged(node, state)
            turned = await self._composites.leave(node.composite, rest, state, judged)
        elif node.condition is None or (skipped := await self._skipped(node, state)) is None:
            turned = await self._composites.enter(node, rest, state)
        elif skipped is STOPPED:
            turned = None
        else:
            skip(node, skipped, state)
            return rest
        if turned is None:
            raise EndError(Leaf((), stopped=True))
        return turned

    async def _judged(self, end: End, state: FlowState) -> Any:
        """What the judge of a repeat says; the value of the flow stays that of the round.

        Raises:
            EndError: It says nothing.
        """
        judge = getattr(end.composite, "judge", None)
        if judge is None:
            return None
        value = state.value
        try:
            output = await self._output(judge, state)
        except ChainetteError as error:
            raise EndError(self._failed(judge, state, error)) from None
        if (leaf := self._passed(judge, output, state)) is not None:
            raise EndError(leaf)
        judged, state.value = state.value, value
        return judged

    def _passed(self, node: Node, output: Any, state: FlowState) -> Leaf | None:
        """Let a flow go on with the output of a node, or else return how it ends."""
        if output.__class__ not in _ENDS:
            state.passed(node, output)
            return None
        if output is STOPPED:
            return Leaf((), stopped=True)
        if isinstance(output, Dropped | Split):
            reason = output.reason if isinstance(output, Dropped) else "it returned no items"
            self._nodes.dropped(node, state.item, reason)
            is_empty = isinstance(output, Split)
            return Leaf((), dropped=True, is_empty=is_empty, node=node, reason=reason)
        if isinstance(output, Fallback):
            state.fell_back(node, output)
        elif output is SKIPPED:
            state.nothing(node)
        elif isinstance(output, Recorded | Sampled):
            self._nodes.keep(node, output, state)
        else:
            state.passed(node, output)
        return None

    async def _grouped(self, reduce: Reduce[Any, Any], state: FlowState) -> None:
        """Put the value of a flow into its group, which is the last that the flow does.

        Raises:
            EndError: No function may be called that says which group it is.
        """
        key = await self._nodes.key_of(reduce, state.item, state.names, state.value)
        if key is STOPPED:
            raise EndError(Leaf((), stopped=True))
        if self._members is not None and not self._control.is_over:
            self._members.add(state.item, key, state.value)

    def _failed(
        self,
        part: Node | Branch | End | Reduce[Any, Any],
        state: FlowState,
        error: ChainetteError,
    ) -> Leaf:
        """Record a failure, and return how its flow ends."""
        is_tolerated = state.is_tolerant and is_tolerable(error)
        node = part.first_node if isinstance(part, Branch) else part
        node = node.composite if isinstance(node, End) else node
        self._nodes.failed(node, state.item, error, is_tolerated=is_tolerated)
        if is_tolerated:
            return Leaf((), is_tolerated=True, node=node)
        return Leaf((), error=error, node=node)

    async def _output(self, node: Node, state: FlowState) -> Any:
        """The output of a node; what may split a whole row waits for room for its items."""
        if node.condition is not None and (skipped := await self._skipped(node, state)) is not None:
            return skipped
        output = await self._run(node, state)
        if state.frames and isinstance(output, Split):
            check_split(node, state)
        return output

    async def _run(self, node: Node, state: FlowState) -> Any:
        run = partial(self._nodes.run, node, state.item, state.names, state.value, state.activity)
        if (count := self._expected(node)) is None or not state.is_row:
            output = await run()
            if output.__class__ is Reasoned or node.id in state.reasoning:
                output = state.without_reasoning(node, output)
            return output
        output = None
        await self._room.enter_row(count)
        try:
            output = await run()
        finally:
            self._room.leave_row(count, is_split=isinstance(output, Split))
        return output

    async def _skipped(self, node: Node, state: FlowState) -> Any:
        """What a node gives whose condition does not hold; `None` if it runs."""
        if node.condition is None:
            return None
        is_met = await self._is_met(node.condition, node, state)
        if is_met:
            return None
        return STOPPED if is_met is None else node.skipped or SKIPPED

    def _expected(self, node: Node) -> int | None:
        """The number of items to expect of a function that splits, or `None` for other nodes.

        Functions that wait for something run beside each other, however many items they give.
        """
        count = self._counts.get(node.id, 1 if isinstance(node, SplitNode) else None)
        if count is None or not isinstance(node, ApplyNode) or node.batch is not None:
            return None
        return 1 if node.is_async or node.is_async_generator or node.threaded else count

    async def _split(
        self, node: Node, rest: list[Any], outputs: list[Any], state: FlowState, take: Take
    ) -> None:
        """Lead each item through the rest of the flow, as many at once as there is room for."""
        self._counts[node.id] = len(outputs)
        ends = ItemEnds(take, self._room.backlog)

        def start(index: int, activity: ItemActivity) -> None:
            own = state.for_item(index, self._leases.lease(rest), activity)
            own.passed(node, outputs[index])
            outputs[index] = None  # it lasts as long as its item
            if index == len(outputs) - 1:
                state.lease.end()  # from now on every item has its own
            assert self._tasks is not None
            self._tasks.start_soon(work, index, own)

        async def work(index: int, own: FlowState) -> None:
            try:
                await self._flow(rest, own, partial(ends.add, index))
                ends.end(index)
            except Exception as error:  # the disk, or a defect: no row can continue
                self._control.fail(error)
            items.end()

        if rest:
            state.lease.advance(rest[0])
        items = Items(len(outputs), start, self._room, state.activity)
        await items.done.wait(state.activity)

    async def _is_met(
        self, condition: Condition, node: Node, state: FlowState, branch: str | None = None
    ) -> bool | None:
        item, names, value = state.item, state.names, state.value
        return await self._nodes.is_met(condition, node, item, names, value, branch)

    async def _branch(self, branch: Branch, state: FlowState) -> None:
        """Start a branch, if its condition holds."""
        is_met: bool | None = True
        if branch.condition is not None:
            await self._join_names(branch.condition.needs(state.unjoined), state)
            is_met = await self._is_met(branch.condition, branch.first_node, state, branch.name)
        if is_met:
            own = state.for_branch(branch, self._leases.lease(branch.steps))
            subflow = self._start(branch, own)
        else:
            subflow = Subflow(state.item, Gate(), branch, is_skipped=is_met is False)
            subflow.gate.open()
            if is_met is None:
                subflow.leaves.append(Leaf(state.item.path, stopped=True))
        state.beside.append(subflow)
        if branch.alias is not None:
            state.joined = {**state.joined, branch.alias: subflow}

    def _start(self, branch: Branch, state: FlowState) -> Subflow:
        """Start a flow beside another one."""
        subflow = Subflow(state.item, Gate(), branch)

        async def work() -> None:
            try:
                await self._flow(branch.steps, state, subflow.leaves.append)
            except Exception as error:  # the disk, or a defect: no row can continue
                self._control.fail(error)
            subflow.gate.open()
            state.activity.rest()

        state.activity.resume()
        assert self._tasks is not None
        self._tasks.start_soon(work)
        return subflow

    async def _join(self, node: Node | End | Reduce[Any, Any], state: FlowState) -> None:
        """Wait for the joined branches that a node needs."""
        if state.joined:
            await self._join_names(node.needs(state.unjoined), state)

    async def _join_names(self, aliases: Iterable[str], state: FlowState) -> None:
        for alias in aliases:
            subflow = state.joined[alias]
            await subflow.gate.wait(state.activity)
            if (end := subflow.unfinished) is not None:
                raise EndError(end)
            state.names[alias] = subflow.output()

    async def _end(self, state: FlowState, leaf: Leaf, take: Take) -> None:
        """End a flow, once the branches beside it have ended.

        Args:
            state: The state of the flow.
            leaf: How it ended; its path, value and outputs are set here.
            take: Receives its end.
        """
        state.lease.end()
        state.fill(leaf)
        for subflow in state.beside:
            await subflow.gate.wait(state.activity)
            leaf.outputs = {**subflow.outputs(), **leaf.outputs}
            leaf.reasoning = {**subflow.reasoning(), **leaf.reasoning}
            blame = subflow.unfinished
            if leaf.error is None and blame is not None:
                leaf.is_partial = blame.error is not None and leaf.has_value
                leaf.error, leaf.node = blame.error, blame.node
                leaf.is_tolerated = leaf.is_tolerated or blame.is_tolerated
        state.blame(leaf)
        take(leaf)

"""One row on its way through a chain."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from anyio.abc import TaskGroup
from pydantic import ValidationError

from chainette.engine.telemetry import hooks as telemetry
from chainette.errors import ChainetteError, InputError, ValidatorError
from chainette.events import Listener, RowFinished, RowStarted
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.nodes.apply import ApplyNode, SplitNode
from chainette.pipeline.nodes.conditions import Condition, Fallback
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_nodes
from chainette.reports.result import Leaf
from chainette.run.control import RunControl
from chainette.run.groups.members import Members
from chainette.run.inputs.columns import explained
from chainette.run.inputs.files import InputRow
from chainette.run.item import Item
from chainette.run.schedule.flow.conditions import SKIPPED, is_tolerable
from chainette.run.schedule.flow.ends import ItemEnds, RowEnds, RowRecorder, Take
from chainette.run.schedule.flow.functions import STOPPED, Dropped, Split
from chainette.run.schedule.flow.items import ItemActivity, ItemRoom, Items
from chainette.run.schedule.flow.nodes import NodeRunner
from chainette.run.schedule.flow.state import BranchError, FlowState, Reasoned, Subflow
from chainette.run.schedule.leases import Lease, Leases
from chainette.run.schedule.parking import Gate, Parking, RowActivity
from chainette.validation import is_valid_already, validator_error


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
            value = self._validated(source)
        except (InputError, ValidatorError) as error:
            self._nodes.failed(None, item, error)
            lease.end()
            take(Leaf((), error=error))
            return
        activity = RowActivity(self._parking)
        state = FlowState(item, lease, activity, {"chain_input": value}, value, is_row=True)
        await self._flow(self._pipeline.row_steps, state, take)

    def _validated(self, source: InputRow) -> Any:
        if source.error is not None:
            raise source.error
        if is_valid_already(source.value, self._input_model):
            return source.value
        try:
            return self._validate(source.value)
        except ValidationError as error:
            raise InputError(f"{source.place}: {explained(error)}") from None
        except Exception as error:
            bug = validator_error(type_name(self._pipeline.input_model), error)
            raise ValidatorError(f"{source.place}: {bug}") from error

    async def _flow(self, nodes: list[Any], state: FlowState, take: Take) -> None:
        """Lead a value through nodes, to the one or more ends it has."""
        for index, node in enumerate(nodes):
            state.lease.advance(node)
            try:
                if isinstance(node, Branch):
                    await self._branch(node, state)
                    continue
                if isinstance(node, Reduce):
                    end = await self._grouped(node, state)
                    return await self._end(state, end, take)
                await self._join(node, state)
                output = await self._output(node, state)
            except ChainetteError as error:
                end = self._failed(node, state, error)
                return await self._end(state, end, take)
            except BranchError as error:
                return await self._end(state, error.end, take)
            if isinstance(output, Split) and output:
                return await self._split(node, nodes[index + 1 :], output, state, take)
            if (leaf := self._passed(node, output, state)) is not None:
                leaf.missed = [it.id for it in all_nodes(nodes[index:]) if it.yield_output]
                return await self._end(state, leaf, take)
        return await self._end(state, Leaf(()), take)

    def _passed(self, node: Node, output: Any, state: FlowState) -> Leaf | None:
        """Let a flow go on with the output of a node, or else return how it ends."""
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
        else:
            state.passed(node, output)
        return None

    async def _grouped(self, reduce: Reduce[Any, Any], state: FlowState) -> Leaf:
        """Put the value of a flow into its group, which is the end of the flow."""
        if unjoined := state.unjoined:
            await self._join_names(reduce.key.needs(unjoined), state)
        key = await self._nodes.key_of(reduce, state.item, state.names, state.value)
        if key is STOPPED:
            return Leaf((), stopped=True)
        if self._members is not None and not self._control.is_over:
            self._members.add(state.item, key, state.value)
        return Leaf(())

    def _failed(
        self, part: Node | Branch | Reduce[Any, Any], state: FlowState, error: ChainetteError
    ) -> Leaf:
        """Record a failure, and return how its flow ends."""
        is_tolerated = state.is_tolerant and is_tolerable(error)
        node = part.first_node if isinstance(part, Branch) else part
        self._nodes.failed(node, state.item, error, is_tolerated=is_tolerated)
        if is_tolerated:
            return Leaf((), is_tolerated=True, node=node)
        return Leaf((), error=error, node=node)

    async def _output(self, node: Node, state: FlowState) -> Any:
        """The output of a node; what may split a whole row waits for room for its items."""
        if node.condition is not None:
            is_met = await self._is_met(node.condition, node, state)
            if not is_met:
                return STOPPED if is_met is None else node.skipped or SKIPPED
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

    async def _join(self, node: Node, state: FlowState) -> None:
        """Wait for the joined branches that a node needs."""
        await self._join_names(node.needs(state.unjoined), state)

    async def _join_names(self, aliases: Iterable[str], state: FlowState) -> None:
        for alias in aliases:
            subflow = state.joined[alias]
            await subflow.gate.wait(state.activity)
            if (end := subflow.unfinished) is not None:
                raise BranchError(end)
            state.names[alias] = subflow.output()

    async def _end(self, state: FlowState, leaf: Leaf, take: Take) -> None:
        """End a flow, once the branches beside it have ended.

        Args:
            state: The state of the flow.
            leaf: How it ended; its path, value and outputs are set here.
            take: Receives its end.
        """
        state.lease.end()
        leaf.path, leaf.outputs, leaf.value = state.item.path, state.outputs, state.value
        leaf.reasoning = state.reasoning
        for subflow in state.beside:
            await subflow.gate.wait(state.activity)
            leaf.outputs = {**subflow.outputs(), **leaf.outputs}
            leaf.reasoning = {**subflow.reasoning(), **leaf.reasoning}
            blame = subflow.unfinished
            if leaf.error is None and blame is not None:
                leaf.is_partial = blame.error is not None and leaf.has_value
                leaf.error, leaf.node = blame.error, blame.node
                leaf.is_tolerated = leaf.is_tolerated or blame.is_tolerated
        take(leaf)

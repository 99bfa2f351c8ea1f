"""Running one node on one item: prompting its engine, or calling its function."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Protocol

from chainette.engine.client.base import BaseClient
from chainette.engine.client.cache import RunCache
from chainette.engine.telemetry import hooks as telemetry
from chainette.errors import ChainError, ChainetteError, EngineError
from chainette.events import (
    Listener,
    NodeFailed,
    NodeFinished,
    NodeRetried,
    NodeStarted,
)
from chainette.pipeline.composites.group_key import NO_KEY
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.conditions import Condition
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.run.control import RunControl
from chainette.run.item import Item
from chainette.run.output.journal import Journal, Part
from chainette.run.schedule.batches import Batches
from chainette.run.schedule.flow.conditions import Conditions, is_tolerable
from chainette.run.schedule.flow.functions import Functions, OwnNames
from chainette.run.schedule.leases import Leases
from chainette.run.schedule.parking import Activity
from chainette.types import Message

STOPPED = object()
"""The output of a node that was not run, as in a dry run; its item goes no further."""


class StepRunner(Protocol):
    """A way to run steps."""

    async def run(self, step: Step, item: Item, names: Mapping[str, Any], value: Any) -> Any:
        """Run a step on an item.

        Args:
            step: The step.
            item: The item.
            names: The values that templates see, by name.
            value: The step's direct input.

        Returns:
            The output, or `STOPPED`.

        Raises:
            ChainetteError: The prompt cannot be rendered, or there is no usable answer.
        """

    def may_call(self, node: Node) -> bool:
        """Whether a function of a node may be called; if not, its item goes no further."""


class PromptedSteps:
    """Steps run by prompting their engines, unless an earlier run has done so already.

    Args:
        clients: The engines' clients by name.
        journal: The outputs so far.
        leases: The engines that are in use.
        control: Told when no engine can answer, and when there may be room for another row.
        emit: Receives events.
        cache: Earlier answers.
        max_chars: Maximum characters of a prompt.
        uncached: Steps that are done again, and take no earlier answers.
    """

    def __init__(
        self,
        clients: Mapping[str, BaseClient],
        journal: Journal,
        leases: Leases,
        control: RunControl,
        emit: Listener,
        cache: RunCache | None,
        max_chars: int,
        uncached: Collection[str] = (),
    ) -> None:
        self._clients = clients
        self._journal = journal
        self._leases = leases
        self._control = control
        self._emit = emit
        self._cache = cache
        self._max_chars = max_chars
        self._uncached = uncached
        self._answered: set[str] = set()

    async def run(self, step: Step, item: Item, names: Mapping[str, Any], value: Any) -> Any:
        """Prompt the step's engine; see `StepRunner.run`."""
        context = OwnNames(names)
        earlier = self._journal.find(step, item, context)
        if earlier is not None:
            self._emit(
                NodeFinished(step.id, item.event_row, item.name, None, 0.0, group=item.group_title)
            )
            return earlier.output
        messages = prompt(step, item, names, value, self._max_chars)
        await self._leases.settled()
        reads = step.id not in self._uncached
        turn = self._cache.turn(reads=reads) if self._cache is not None else None
        output = await self._clients[step.engine_name].complete(
            messages,
            step.sampling,
            output_model=step.answer_type,
            context=context,
            cache=turn,
            on_retry=partial(self._retried, step, item),
        )
        self._check_engine(step, output.error)
        self._journal.step_done(step, item, output, turn.fields if turn is not None else {})
        if output.error is not None:
            output.error.usage, output.error.cost = output.usage, output.cost
            raise output.error
        self._emit(
            NodeFinished(
                step.id,
                item.event_row,
                item.name,
                output.usage,
                output.latency,
                output.cost,
                item.group_title,
            )
        )
        return output.outputs[0].parsed

    def may_call(self, node: Node) -> bool:
        """Every function may be called; see `StepRunner.may_call`."""
        return True

    def _check_engine(self, step: Step, error: EngineError | None) -> None:
        """End the run if the engine cannot be expected to answer any row."""
        if error is not None and error.unusable and step.engine_name not in self._answered:
            self._control.fail(error)
        elif error is not None and error.final:
            self._control.stop(error)
        else:
            self._answered.add(step.engine_name)

    def _retried(self, step: Step, item: Item, error: EngineError, seconds: float) -> None:
        self._journal.retries[step.id] += 1
        self._emit(
            NodeRetried(step.id, item.event_row, item.name, error, seconds, item.group_title)
        )
        self._control.wake()


def prompt(
    step: Step, item: Item, names: Mapping[str, Any], value: Any, max_chars: int
) -> list[Message]:
    """The prompt of a step for an item, of at most `max_chars` characters.

    Raises:
        ChainError: It cannot be rendered.
    """
    try:
        return step.messages(names, value, max_chars)
    except ChainError as error:
        raise ChainError(f"{item.title}: {error}") from None


class NodeRunner:
    """Runs steps and functions.

    Args:
        steps: The way to run steps.
        batches: The batches of functions that take several items.
        journal: The outputs so far.
        control: Says whether the run is over.
        emit: Receives events.
    """

    def __init__(
        self,
        steps: StepRunner,
        batches: Batches,
        journal: Journal,
        control: RunControl,
        emit: Listener,
    ) -> None:
        self._steps = steps
        self._functions = Functions(batches, journal, emit)
        self._conditions = Conditions(journal)
        self._journal = journal
        self._control = control
        self._emit = emit

    async def run(
        self, node: Node, item: Item, names: dict[str, Any], value: Any, activity: Activity
    ) -> Any:
        """Run a node on an item.

        Args:
            node: The node.
            item: The item.
            names: The values that templates and functions see, by name.
            value: The node's direct input.
            activity: The activity of the row.

        Returns:
            The output, a `Split` (which can be empty), `Dropped`, `STOPPED`, or a `Fallback` where
            it failed and that is tolerated.

        Raises:
            ChainetteError: The node failed.
        """
        event = NodeStarted(node.id, item.event_row, item.name, item.group_title)
        self._emit(event)
        with telemetry.node(event):
            try:
                if isinstance(node, Step):
                    return await self._steps.run(node, item, names, value)
                assert isinstance(node, ApplyNode)
                if not self._steps.may_call(node):
                    return STOPPED
                return await self._functions.run(node, item, names, value, activity)
            except ChainetteError as error:
                if node.tolerance is None or not is_tolerable(error):
                    raise
                self.failed(node, item, error, is_tolerated=True)
                return node.tolerance

    async def is_met(
        self, condition: Condition, node: Node, item: Item, names: Mapping[str, Any], value: Any
    ) -> bool | None:
        """Whether a condition holds for an item; `None` where no function may be called."""
        if condition.function is not None and not self._steps.may_call(node):
            return None
        return await self._conditions.hold(condition, node, item, names, value)

    async def key_of(
        self, reduce: Reduce[Any, Any], item: Item, names: Mapping[str, Any], value: Any
    ) -> Any:
        """The key of the group that an item belongs to; `STOPPED` where no function may be called.

        Raises:
            ChainetteError: There is none, or there was none in an earlier run.
        """
        if reduce.key.functions and not self._steps.may_call(reduce.last):
            return STOPPED
        try:
            self._journal.find(reduce, item, names)
            key = reduce.key.plain(value)
            if key is not NO_KEY:
                return key
            return await reduce.key.of(value, names, lambda: OwnNames(names))
        except ChainetteError:
            self._emit(NodeStarted(reduce.id, item.event_row, item.name, item.group_title))
            raise

    def failed(
        self, node: Part | None, item: Item, error: Exception, *, is_tolerated: bool = False
    ) -> None:
        """Record that an item failed in a node, or could not be read, unless the run is over."""
        if not self._control.is_over:
            id = node.id if node else ""
            self._journal.failed(node, item, error, is_tolerated=is_tolerated)
            self._emit(
                NodeFailed(id, item.event_row, item.name, error, is_tolerated, item.group_title)
            )

    def dropped(self, node: Node, item: Item, reason: str | None) -> None:
        """Record that a function dropped an item, unless the run is over."""
        if not self._control.is_over:
            self._journal.dropped(node, item, reason)

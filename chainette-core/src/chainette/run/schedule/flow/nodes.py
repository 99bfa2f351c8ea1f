"""Running one node on one item: prompting its engine, or calling its function."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from chainette.engine.client.asking import Asks
from chainette.engine.telemetry import hooks as telemetry
from chainette.errors import ApplyError, ChainError, ChainetteError, EngineError, ValidatorError
from chainette.events import (
    Listener,
    NodeFailed,
    NodeFinished,
    NodeStarted,
)
from chainette.pipeline.composites.group import is_group
from chainette.pipeline.composites.group_key import NO_KEY
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.conditions import Condition
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.words.word import Recorded
from chainette.run.control import RunControl
from chainette.run.item import Item
from chainette.run.output.journal import Earlier, Journal, Part
from chainette.run.output.lines import Sampled, sampled, sampled_fields
from chainette.run.schedule.batches import Batches
from chainette.run.schedule.composites.decisions import Decisions
from chainette.run.schedule.flow.asking import EngineCalls, Engines
from chainette.run.schedule.flow.calls import FunctionCalls
from chainette.run.schedule.flow.conditions import Conditions, asked, is_tolerable
from chainette.run.schedule.flow.functions import STOPPED, Functions, OwnNames
from chainette.run.schedule.flow.state import FlowState, Reasoned
from chainette.run.schedule.parking import Activity, Gate
from chainette.run.schedule.samples import Samples
from chainette.types import LLMOutput, Message

LIMIT = "max_prompt_chars"
"""The option that errors about prompts that are too long name."""
_logger = logging.getLogger(__name__)


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

    def calls(self, node: ApplyNode, item: Item, names: Mapping[str, Any]) -> FunctionCalls:
        """The calls that a function makes for an item; validators of answers see the names."""


class PromptedSteps:
    """Steps run by prompting their engines, unless an earlier run has done so already.

    Args:
        engines: The engines.
    """

    with_groups: bool = True
    """Whether the groups of the rows are run, too."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._calls = EngineCalls(engines)
        self._samples = Samples(engines)

    async def run(self, step: Step, item: Item, names: Mapping[str, Any], value: Any) -> Any:
        """Prompt the step's engine; see `StepRunner.run`."""
        engines, context = self._engines, OwnNames(names)
        earlier = engines.journal.find(step, item, context)
        if earlier is not None:
            return self._earlier(step, item, earlier)
        messages = prompt(step, item, names, value, engines.max_chars)
        await engines.leases.settled()
        if step.samples is not None:
            return await self._sampled(step, item, messages, context)
        turn = engines.turn(step)
        asks, sampling = step.asks, step.sampling
        if engines.accounts.is_limited or asks.sampling:
            asks = self._in_bounds(asks, step, item)
            sampling = asks.at(0) or sampling
        output = await engines.clients[step.engine_name].complete(
            messages,
            sampling,
            output_model=step.answer_type,
            context=context,
            cache=turn,
            asks=asks,
            on_retry=partial(engines.retried, step, item),
        )
        engines.watch.check(step.engine_name, output.error)
        engines.journal.step_done(step, item, output, turn.fields if turn is not None else {})
        if asks.sampling:
            self._count(step, item, output.requests)
        if output.error is not None:
            raise _failure(output, output.error)
        place, took = (step.id, item.event_row, item.name), (output.usage, output.latency)
        engines.emit(NodeFinished(*place, *took, output.cost, item.group_title))
        completion = output.outputs[0]
        thoughts = completion.reasoning_content
        return Reasoned(completion.parsed, thoughts) if thoughts else completion.parsed

    async def _sampled(
        self, step: Step, item: Item, messages: list[Message], names: Mapping[str, Any]
    ) -> Any:
        """The answers of a step that takes several."""
        start = perf_counter()
        found, paid, spent = await self._samples.take(step, item, messages, names)
        output = sampled(found)
        place, seconds = (step.id, item.event_row, item.name), perf_counter() - start
        self._engines.journal.sampled(step, item, output, sampled_fields(found, paid, seconds))
        took = (spent.usage, seconds, spent.cost)
        self._engines.emit(NodeFinished(*place, *took, item.group_title))
        return output

    def _earlier(self, step: Step, item: Item, earlier: Earlier) -> Any:
        """The output that an earlier run left."""
        self._engines.emit(
            NodeFinished(step.id, item.event_row, item.name, None, 0.0, group=item.group_title)
        )
        if step.asks.sampling:
            self._count(step, item, earlier.requests)
        thoughts = earlier.reasoning
        return Reasoned(earlier.output, thoughts) if thoughts else earlier.output

    def _in_bounds(self, asks: Asks, step: Step, item: Item) -> Asks:
        """The requests that an answer may take, in the bounds of its row."""
        account = self._engines.accounts.of(item.owner)
        return replace(asks, first=account.attempts[step.id, item.path, item.part], bound=account)

    def _count(self, step: Step, item: Item, requests: int) -> None:
        """Count the requests of an answer, on which the sampling of the item's next one depends."""
        account = self._engines.accounts.of(item.owner)
        account.attempts[step.id, item.path, item.part] += requests

    def may_call(self, node: Node) -> bool:
        """Every function may be called; see `StepRunner.may_call`."""
        return True

    def calls(self, node: ApplyNode, item: Item, names: Mapping[str, Any]) -> FunctionCalls:
        """The calls of a function; see `StepRunner.calls`."""
        return self._calls.of(node, item, OwnNames(names))


def _failure(output: LLMOutput, error: EngineError) -> EngineError:
    """The error of a request, with what it took."""
    error.usage, error.cost, error.requests = output.usage, output.cost, output.requests
    return error


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
        hint = _about_fold(item) if is_group(step.input_model) and LIMIT in str(error) else ""
        raise ChainError(f"{item.title}: {error}{hint}") from None


def _about_fold(item: Item) -> str:
    """What makes the prompt of a group shorter."""
    if item.part:
        return "; a smaller fold makes the parts of the group smaller"
    return "; or hand the group over in parts, with fold=50 and {{ so_far }} in the prompt"


class NodeRunner:
    """Runs steps and functions.

    Args:
        steps: The way to run steps.
        batches: The batches of functions that take several items.
        journal: The outputs so far.
        control: Says whether the run is over.
        emit: Receives events.

    Attributes:
        decisions: Decides which way an item takes, and whether a round was good.
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
        self.decisions: Decisions = Decisions(journal, steps.may_call)
        self._journal = journal
        self._control = control
        self._emit = emit
        self._raised: Exception | None = None  # by a node; nothing runs until it is recorded
        self._shown: set[str] = set()

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
                return await self._run(node, item, names, value, activity)
            except ChainetteError as error:
                self._raised = error
                if node.tolerance is None or not is_tolerable(error):
                    raise
                self.failed(node, item, error, is_tolerated=True)
                return node.tolerance

    async def _run(
        self, node: Node, item: Item, names: dict[str, Any], value: Any, activity: Activity
    ) -> Any:
        if isinstance(node, Step):
            return await self._steps.run(node, item, names, value)
        assert isinstance(node, ApplyNode)
        if not self._steps.may_call(node):
            return STOPPED
        calls = self._steps.calls(node, item, names) if node.engines else None
        output = await self._functions.run(node, item, names, value, activity, calls)
        if output is STOPPED and self._control.is_spent:
            await Gate(is_batch=True).wait(activity)  # its row ends with the run
        return output

    async def is_met(
        self,
        condition: Condition,
        node: Node,
        item: Item,
        names: Mapping[str, Any],
        value: Any,
        branch: str | None = None,
    ) -> bool | None:
        """Whether a condition holds for an item; `None` where no function may be called.

        The arguments are those of `Conditions.hold`.
        """
        if condition.function is not None and not self._steps.may_call(node):
            return None
        return await self._conditions.hold(condition, node, item, names, value, branch)

    async def key_of(
        self, reduce: Reduce[Any, Any], item: Item, names: Mapping[str, Any], value: Any
    ) -> Any:
        """The key of the group that an item belongs to; `STOPPED` where no function may be called.

        Raises:
            ChainetteError: There is none, or there was none in an earlier run.
        """
        if reduce.key.functions and not self._steps.may_call(reduce.last):
            return STOPPED
        self._journal.find(reduce, item, names)
        key = reduce.key.plain(value, names)
        if key is not NO_KEY:
            return key
        return await reduce.key.of(value, lambda part: asked(part, value, names))

    def failed(
        self, node: Part | None, item: Item, error: Exception, *, is_tolerated: bool = False
    ) -> None:
        """Record that an item failed in a node, or could not be read, unless the run is over."""
        has_begun, self._raised = error is self._raised, None
        if self._control.is_over:
            return
        id, row, title = node.id if node else "", item.event_row, item.group_title
        self._show(id, error)
        self._journal.failed(node, item, error, is_tolerated=is_tolerated)
        if node is not None and not has_begun:  # its condition failed, or what it gave was refused
            self._emit(NodeStarted(id, row, item.name, title))
        self._emit(NodeFailed(id, row, item.name, error, is_tolerated, title))

    def keep(self, node: Node, output: Recorded | Sampled, state: FlowState) -> None:
        """Keep an output of several parts; what of it cannot be used is recorded as failed."""
        if isinstance(output, Recorded):
            state.recorded(node, output)
            return
        state.passed(node, output.values)
        for sample, error in output.failed.items():
            is_tolerated = state.is_tolerant or node.tolerance is not None
            is_tolerated = is_tolerated and is_tolerable(error)
            if not self._control.is_over:
                self._journal.failed(
                    node, state.item, error, is_tolerated=is_tolerated, sample=sample
                )
            if not is_tolerated:
                state.losses[-1].append((error, node))

    def _show(self, id: str, error: Exception) -> None:
        """Log where the first failure of a node comes from, for `chainette --debug`."""
        cause = error.__cause__ if isinstance(error, ApplyError | ValidatorError) else None
        if cause is not None and id not in self._shown and _logger.isEnabledFor(logging.DEBUG):
            self._shown.add(id)
            _logger.debug("the first failure of %r", id, exc_info=cause)

    def dropped(self, node: Node, item: Item, reason: str | None) -> None:
        """Record that a function dropped an item, unless the run is over."""
        if not self._control.is_over:
            self._journal.dropped(node, item, reason)

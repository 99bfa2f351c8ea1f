"""Running one node on one item: prompting its engine, or calling its function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from functools import partial
from time import perf_counter
from typing import Any, Protocol

from pydantic import ValidationError

from chainette.engine.client.base import BaseClient
from chainette.engine.client.cache import ResponseCache
from chainette.engine.telemetry import hooks as telemetry
from chainette.errors import ApplyError, ChainError, EngineError
from chainette.events import (
    Listener,
    NodeFailed,
    NodeFinished,
    NodeRetried,
    NodeStarted,
)
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.run.control import RunControl
from chainette.run.item import Item
from chainette.run.output.journal import Journal
from chainette.run.schedule.batches import Batches, call
from chainette.run.schedule.leases import Leases
from chainette.run.schedule.parking import Activity
from chainette.types import Message
from chainette.validation import summary

DROPPED = object()
"""The output of a function that dropped its item."""
STOPPED = object()
"""The output of a step that was not prompted, as in a dry run; its item goes no further."""


class Split(list[Any]):
    """The output of a function that split its item."""


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


class PromptedSteps:
    """Steps run by prompting their engines, unless an earlier run has done so already.

    Args:
        clients: The engines' clients by name.
        journal: The outputs so far.
        leases: The engines that are in use.
        control: Told when no engine can answer, and when there may be room for another row.
        emit: Receives events.
        cache: Earlier answers.
        uncached: Steps that are done again, and take no earlier answers.
    """

    def __init__(
        self,
        clients: Mapping[str, BaseClient],
        journal: Journal,
        leases: Leases,
        control: RunControl,
        emit: Listener,
        cache: ResponseCache | None,
        uncached: Collection[str] = (),
    ) -> None:
        self._clients = clients
        self._journal = journal
        self._leases = leases
        self._control = control
        self._emit = emit
        self._cache = cache
        self._caches = {id: cache.unread() for id in uncached} if cache is not None else {}
        self._answered: set[str] = set()

    async def run(self, step: Step, item: Item, names: Mapping[str, Any], value: Any) -> Any:
        """Prompt the step's engine; see `StepRunner.run`."""
        earlier = self._journal.find(step, item)
        if earlier is not None:
            self._emit(NodeFinished(step.id, item.row_id, item.name, None, 0.0))
            return earlier.output
        messages = prompt(step, item, names, value)
        await self._leases.settled()
        output = await self._clients[step.engine_name].complete(
            messages,
            step.sampling,
            output_model=step.output_model,
            cache=self._caches.get(step.id, self._cache),
            on_retry=partial(self._retried, step, item),
        )
        self._check_engine(step, output.error)
        self._journal.step_done(step, item, output)
        if output.error is not None:
            output.error.usage, output.error.cost = output.usage, output.cost
            raise output.error
        self._emit(
            NodeFinished(step.id, item.row_id, item.name, output.usage, output.latency, output.cost)
        )
        return output.outputs[0].parsed

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
        self._emit(NodeRetried(step.id, item.row_id, item.name, error, seconds))
        self._control.wake()


def prompt(step: Step, item: Item, names: Mapping[str, Any], value: Any) -> list[Message]:
    """The prompt of a step for an item.

    Raises:
        ChainError: It cannot be rendered.
    """
    try:
        return step.messages(names, value)
    except ChainError as error:
        path = f", item {item.name}" if item.name else ""
        raise ChainError(f"row {item.row_id}{path}: {error}") from None


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
        self._batches = batches
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
            The output, a `Split`, `DROPPED` or `STOPPED`.

        Raises:
            ChainetteError: The node failed.
        """
        event = NodeStarted(node.id, item.row_id, item.name)
        self._emit(event)
        with telemetry.node(event):
            if isinstance(node, Step):
                return await self._steps.run(node, item, names, value)
            assert isinstance(node, ApplyNode)
            return await self._run_function(node, item, names, value, activity)

    def failed(self, node: Node | None, item: Item, error: Exception) -> None:
        """Record that an item failed in a node, or could not be read, unless the run is over."""
        if not self._control.is_over:
            self._journal.failed(node, item, error)
            self._emit(NodeFailed(node.id if node else "", item.row_id, item.name, error))

    async def _run_function(
        self, node: ApplyNode, item: Item, names: dict[str, Any], value: Any, activity: Activity
    ) -> Any:
        start = perf_counter()
        earlier = self._journal.find(node, item)
        if earlier is not None:
            output = earlier.output
        else:
            own, context = _own(value), _OwnNames(names)
            if node.batch is None:
                output = await call(node, own, context)
            else:
                output = await self._batches.output(node, item, own, context, activity)
            output = _validated(node, output, self._journal.codec(node).check)
            self._journal.function_done(node, item, output)
        seconds = perf_counter() - start
        self._emit(NodeFinished(node.id, item.row_id, item.name, None, seconds))
        if output is None or output == []:
            return DROPPED
        return Split(output) if isinstance(output, list) else output


def _validated(node: ApplyNode, output: Any, check: Callable[[Any], Any]) -> Any:
    """The output of a function, each of its items checked."""
    try:
        if isinstance(output, list):
            return [check(part) for part in output]
        return output if output is None else check(output)
    except ValidationError as error:
        raise ApplyError(
            f"apply {node.id!r} returned something that is not a {node.output_model}: "
            f"{summary(error)}"
        ) from None


def _own(value: Any) -> Any:
    """A copy that a function can change: others may see the value, too, and files hold it."""
    try:
        return deepcopy(value)
    except Exception:  # of an object that cannot be copied
        return value


class _OwnNames(Mapping[str, Any]):
    """The names that a function may see, with copies of their values.

    Args:
        names: The values by name.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._copies: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The value of a name, the same object each time."""
        if name not in self._copies:
            self._copies[name] = _own(self._names[name])
        return self._copies[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Their number."""
        return len(self._names)

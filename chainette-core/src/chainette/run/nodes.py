"""Runs the nodes of a chain on one item at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from chainette.engine.cache import ResponseCache
from chainette.engine.client import BaseClient
from chainette.errors import ApplyError, EngineError
from chainette.pipeline.apply import ApplyNode
from chainette.pipeline.node import Node
from chainette.pipeline.step import Step
from chainette.run.activity import Activity
from chainette.run.batches import Batches, call
from chainette.run.events import Observer
from chainette.run.reach import Reach
from chainette.run.recorder import Recorder
from chainette.run.walk import ItemPath, item_name
from chainette.validation import summary


class NodeRunner:
    """Prompts engines and calls functions, unless an earlier run has done so already.

    Args:
        clients: The engines' clients by name.
        recorder: Records what comes out.
        observer: Is told what happens.
        give_up: Ends the run with an error.
        stop: Ends the run so that it can be resumed.
        reach: Knows which engines are still needed.
        moved: Is called when there may be room for another row.
        cache: Answers that were given before.
    """

    def __init__(
        self,
        clients: Mapping[str, BaseClient],
        recorder: Recorder,
        observer: Observer,
        give_up: Callable[[Exception], None],
        stop: Callable[[Exception], None],
        reach: Reach,
        moved: Callable[[], None],
        cache: ResponseCache | None = None,
    ) -> None:
        self._clients = clients
        self._recorder = recorder
        self._observer = observer
        self.reach = reach
        self._cache = cache
        self._answered: set[str] = set()
        self._end_run, self._stop_run, self._moved = give_up, stop, moved
        self._given_up = False
        self.batches: Batches | None = None

    def give_up(self, error: Exception) -> None:
        """End the run, since no row can go on."""
        self._given_up = True
        self._end_run(error)

    def stop(self, reason: Exception) -> None:
        """End the run, so that it can be resumed: what cannot go on now is no failed row."""
        self._given_up = True
        self._stop_run(reason)

    def failed(self, node: Node, row_id: int, path: ItemPath, error: Exception) -> None:
        """Record that a node failed, unless that ended the run."""
        if not self._given_up:
            self._recorder.failed(row_id, path, node, error)
            self._observer.node_failed(node.id, row_id, item_name(path), error)

    async def run_step(
        self, step: Step, row_id: int, path: ItemPath, seen: dict[str, Any], value: Any
    ) -> Any:
        """Prompt the step's engine.

        Raises:
            ChainetteError: The prompt cannot be rendered, or there is no usable answer.
        """
        self._observer.node_started(step.id)
        found = self._recorder.found(step, row_id, path)
        if found is None:
            return await self._prompt(step, row_id, path, seen, value)
        self._observer.node_finished(step.id, None, 0.0)
        return self._recorder.codec(step).load(found["output"])

    async def _prompt(
        self, step: Step, row_id: int, path: ItemPath, seen: dict[str, Any], value: Any
    ) -> Any:
        messages = step.messages(seen, value)
        await self.reach.settle()
        client = self._clients[step.engine_name]
        output = await client.complete(
            messages,
            step.sampling,
            output_model=step.output_model,
            cache=self._cache,
            on_retry=partial(self._retried, step, row_id, path),
        )
        if output.error is not None and self._is_unusable(step, output.error):
            self.give_up(output.error)
        elif output.error is not None and output.error.final:
            self.stop(output.error)
        else:
            self._answered.add(step.engine_name)
        self._recorder.step_done(row_id, path, step, output)
        if output.error is not None:
            output.error.usage = output.usage
            raise output.error
        self._observer.node_finished(step.id, output.usage, output.latency)
        return output.outputs[0].parsed

    def _retried(
        self, step: Step, row_id: int, path: ItemPath, error: EngineError, seconds: float
    ) -> None:
        self._recorder.retries[step.id] += 1
        self._observer.node_retried(step.id, row_id, item_name(path), error, seconds)
        self._moved()

    def _is_unusable(self, step: Step, error: EngineError) -> bool:
        """Whether an engine that never answered must be expected not to answer any row."""
        return error.unusable and step.engine_name not in self._answered

    async def run_function(
        self,
        node: ApplyNode,
        row_id: int,
        path: ItemPath,
        seen: dict[str, Any],
        value: Any,
        activity: Activity,
    ) -> Any:
        """Call the node's function.

        Returns:
            An item, a list of items, or `None`.

        Raises:
            ApplyError: It failed, or returned what does not fit.
        """
        begun = perf_counter()
        self._observer.node_started(node.id)
        found = self._recorder.found(node, row_id, path)
        if found is not None:
            made = _read_back(found, self._recorder.codec(node).load)
        else:
            made = await self._call(node, (row_id, path), MappingProxyType(seen), value, activity)
            made = self._checked(node, made)
            self._recorder.function_done(row_id, path, node, made)
        self._observer.node_finished(node.id, None, perf_counter() - begun)
        return made

    async def _call(
        self,
        node: ApplyNode,
        place: tuple[int, ItemPath],
        context: Mapping[str, Any],
        value: Any,
        activity: Activity,
    ) -> Any:
        if node.batch is None:
            return await call(node, value, context)
        assert self.batches is not None
        return await self.batches.take(node, place, value, context, activity)

    def _checked(self, node: ApplyNode, made: Any) -> Any:
        """What a function returned, validated."""
        check = self._recorder.codec(node).check
        try:
            if isinstance(made, list):
                return [check(item) for item in made]
            return made if made is None else check(made)
        except ValidationError as error:
            raise ApplyError(
                f"apply {node.id!r} returned what is no {node.output_model}: {summary(error)}"
            ) from None


def _read_back(line: Mapping[str, Any], load: Callable[[Any], Any]) -> Any:
    """What a function returned, from its line in the journal."""
    if line["kind"] == "split":
        return [load(item) for item in line["output"]]
    return load(line["output"]) if line["kind"] == "one" else None

"""The prompts that a run would begin with, without sending them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.composites.route import Route
from chainette.pipeline.functions.questions import Question
from chainette.pipeline.nodes.apply import ApplyNode, is_pure
from chainette.pipeline.nodes.conditions import Condition
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.run.executor import Executor
from chainette.run.item import Item
from chainette.run.schedule.flow.asking import check_size
from chainette.run.schedule.flow.calls import FunctionCalls
from chainette.run.schedule.flow.functions import STOPPED
from chainette.run.schedule.flow.nodes import prompt
from chainette.run.schedule.leases import ROWS
from chainette.run.schedule.threads import CallThreads
from chainette.types import Message


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt.

    Attributes:
        row_id: The input row.
        step_id: The step, or the function that calls the engine.
        engine: Name of the engine that would receive it.
        messages: The conversation.
    """

    row_id: int
    step_id: str
    engine: str
    messages: list[Message]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A step, or a function that calls engines, whose prompts are not known yet.

    Attributes:
        step_id: The step or function.
        after: The function, step or `reduce` whose output must be there first; the function
            itself, where only calling it tells its prompts.
    """

    step_id: str
    after: Node | Reduce[Any, Any]


class RenderedSteps:
    """Steps run by rendering their prompts and going no further.

    Args:
        max_chars: Maximum characters of a prompt.
        with_functions: Whether functions are called, or stop their item as steps do.

    Attributes:
        prompts: The prompts so far.
    """

    def __init__(self, max_chars: int, *, with_functions: bool) -> None:
        self._with_functions = with_functions
        self.prompts: list[Rendered] = []
        self._max_chars = max_chars
        self._threads = CallThreads(ROWS)

    async def run(self, step: Step, item: Item, names: Mapping[str, Any], value: Any) -> Any:
        """Render the step's prompt; see `StepRunner.run`."""
        messages = prompt(step, item, names, value, self._max_chars)
        self.prompts.append(Rendered(item.row_id, step.id, step.engine_name, messages))
        return STOPPED

    def may_call(self, node: Node) -> bool:
        """Whether functions are called; see `StepRunner.may_call`."""
        return self._with_functions or is_pure(node)

    def calls(self, node: ApplyNode, item: Item, names: Mapping[str, Any]) -> FunctionCalls:
        """The calls of a function, which goes no further than the first; see `StepRunner.calls`."""

        async def show(calls: FunctionCalls, question: Question) -> Any:
            check_size(question, self._max_chars)
            self.prompts.append(Rendered(item.row_id, node.id, question.engine, question.messages))
            await asyncio.sleep(0)  # further calls at the same time are shown, too
            await calls.stop()

        return FunctionCalls(node, show, self._threads)


Stop: TypeAlias = Node | Reduce[Any, Any] | None
"""What a dry run stops at."""


async def dry_run(
    pipeline: Pipeline,
    inputs: Any,
    *,
    with_functions: bool = False,
    limit: int | None = None,
    **options: Any,
) -> list[Rendered | Unknown | Exception]:
    """Render the first prompts of the first rows, and send nothing.

    Functions can send something, so they are only called on request; what follows a function is not
    known without its output.

    Args:
        pipeline: The chain.
        inputs: See `Chain.run`.
        with_functions: Call the functions that are in front of the prompts.
        limit: Maximum number of input rows; 3 by default.
        **options: `sample`, `columns`, `encoding`, `delimiter` and `max_prompt_chars`, as in
            `RunOptions`.

    Returns:
        The prompts in the order of the rows, then the steps whose prompts are not known, then the
        errors of rows that failed.

    Raises:
        ChainetteError: Nothing could start; see `Chain.arun`.
    """
    if limit is None and options.get("sample") is None:
        limit = 3
    max_chars = options.get("max_prompt_chars", MAX_PROMPT)
    steps = RenderedSteps(max_chars, with_functions=with_functions)
    run = await Executor(pipeline, inputs, steps=steps, limit=limit, **options).run()
    errors = [result.error for result in run.results if result.error is not None]
    prompts = sorted(steps.prompts, key=lambda prompt: prompt.row_id)
    return [*prompts, *unknown_steps(pipeline, with_functions=with_functions), *errors]


def unknown_steps(pipeline: Pipeline, *, with_functions: bool) -> list[Unknown]:
    """The nodes whose prompts a dry run cannot know, each with the node that it stops at."""
    walk = _Walk(with_functions)
    walk.flow(pipeline.steps, None, {})
    return walk.unknown


class _Walk:
    """A walk through the nodes that a dry run comes to.

    Args:
        with_functions: Whether functions are called.

    Attributes:
        unknown: The steps whose prompts are not known.
    """

    def __init__(self, with_functions: bool) -> None:
        self._with_functions = with_functions
        self.unknown: list[Unknown] = []

    def flow(self, nodes: list[Any], stop: Stop, joined: dict[str, Stop]) -> Stop:
        """Where a flow stops, when it begins behind a node that stops it, or `None`."""
        for node in nodes:
            if isinstance(node, Branch):
                end = self.flow(node.steps, stop, {**joined})
                if node.alias is not None:
                    joined[node.alias] = end
                continue
            if isinstance(node, Reduce):
                stop, joined = self.flow(node.steps, node, {}), {}
                continue
            needed = (joined[alias] for alias in sorted(node.needs(joined)))
            stop = stop or next((end for end in needed if end is not None), None)
            if isinstance(node, Composite):
                stop = self._inside(node, stop, joined)
                continue
            if node.engines and stop is not None:
                self.unknown.append(Unknown(node.id, stop))
            elif not isinstance(node, Step) and node.engines and not self._with_functions:
                self.unknown.append(Unknown(node.id, node))
            if node.engines or not (self._with_functions or is_pure(node)):
                stop = stop or node
        return stop

    def _inside(self, node: Composite, stop: Stop, joined: dict[str, Stop]) -> Stop:
        """Where a flow stops that goes through a composite; see `flow`."""
        if isinstance(node, Repeat):
            stop = self.flow(list(node.members()), stop, joined)
            return stop or (node if self._stops(node.until) else None)
        assert isinstance(node, Route)
        stop = stop or (node if self._stops(node.by) else None)
        ends = [self.flow(arm.nodes, stop, {**joined}) for arm in node.arms]
        return stop or next((end for end in ends if end is not None), None)

    def _stops(self, condition: Condition | None) -> bool:
        calls = condition is not None and condition.function is not None
        return calls and not self._with_functions

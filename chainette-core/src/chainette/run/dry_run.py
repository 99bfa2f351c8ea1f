"""The prompts that a run would begin with, without sending them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.run.executor import Executor
from chainette.run.item import Item
from chainette.run.schedule.nodes import STOPPED, prompt
from chainette.types import Message


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt.

    Attributes:
        row_id: The input row.
        step_id: The step.
        engine: Name of the engine that would receive it.
        messages: The conversation.
    """

    row_id: int
    step_id: str
    engine: str
    messages: list[Message]


class RenderedSteps:
    """Steps run by rendering their prompts and going no further.

    Args:
        max_chars: Maximum characters of a prompt.

    Attributes:
        prompts: The prompts so far.
    """

    def __init__(self, max_chars: int) -> None:
        self.prompts: list[Rendered] = []
        self._max_chars = max_chars

    async def run(self, step: Step, item: Item, names: Mapping[str, Any], value: Any) -> Any:
        """Render the step's prompt; see `StepRunner.run`."""
        messages = prompt(step, item, names, value, self._max_chars)
        self.prompts.append(Rendered(item.row_id, step.id, step.engine_name, messages))
        return STOPPED


async def dry_run(
    pipeline: Pipeline, inputs: Any, *, limit: int | None = None, **options: Any
) -> list[Rendered | Exception]:
    """Render the first prompts of the first rows; functions before them are called.

    Args:
        pipeline: The chain.
        inputs: See `Chain.run`.
        limit: Maximum number of input rows; 3 by default.
        **options: `sample`, `columns`, `encoding`, `delimiter` and `max_prompt_chars`, as in
            `RunOptions`.

    Returns:
        The prompts in the order of the rows, then the errors of rows that failed.

    Raises:
        ChainetteError: Nothing could start; see `Chain.arun`.
    """
    if limit is None and options.get("sample") is None:
        limit = 3
    steps = RenderedSteps(options.get("max_prompt_chars", MAX_PROMPT))
    run = await Executor(pipeline, inputs, steps=steps, limit=limit, **options).run()
    errors = [result.error for result in run.results if result.error is not None]
    return [*sorted(steps.prompts, key=lambda prompt: prompt.row_id), *errors]

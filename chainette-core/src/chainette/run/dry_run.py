"""The prompts that a run would begin with, without sending them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chainette.errors import ChainetteError
from chainette.pipeline.chain import Chain
from chainette.pipeline.step import Step
from chainette.run.executor import Executor
from chainette.run.nodes import NodeRunner
from chainette.run.walk import ItemPath
from chainette.types import Message


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt.

    Attributes:
        row_id: The input row.
        step_id: The step.
        engine: Name of the engine that would get it.
        messages: The conversation.
    """

    row_id: int
    step_id: str
    engine: str
    messages: list[Message]


class _NotSentError(ChainetteError):
    """The prompt was rendered, and that is all."""


class _Renderer(NodeRunner):
    rendered: list[Rendered]

    async def _prompt(
        self, step: Step, row_id: int, path: ItemPath, seen: dict[str, Any], value: Any
    ) -> Any:
        messages = step.messages(seen, value)
        self.rendered.append(Rendered(row_id, step.id, step.engine_name, messages))
        raise _NotSentError


class _DryRun(Executor):
    runner = _Renderer


async def dry_run(
    chain: Chain, inputs: Any, *, limit: int | None = None, **taken: Any
) -> list[Rendered | Exception]:
    """Render the first prompts of the first rows; functions before them are called.

    Args:
        chain: The chain.
        inputs: See `Chain.run`.
        limit: Most input rows to take; 3 by default.
        **taken: `sample` and `columns`, as in `RunOptions`.

    Returns:
        The prompts in the rows' order, and in the place of a row that has none what failed.

    Raises:
        ChainetteError: Nothing could start; see `Chain.arun`.
    """
    if limit is None and taken.get("sample") is None:
        limit = 3
    executor = _DryRun(chain, inputs, limit=limit, **taken)
    assert isinstance(executor.nodes, _Renderer)
    rendered: list[Rendered] = []
    executor.nodes.rendered = rendered
    run = await executor.run()
    errors = [
        result.error
        for result in run.results
        if result.error is not None and not isinstance(result.error, _NotSentError)
    ]
    return [*sorted(rendered, key=lambda prompt: prompt.row_id), *errors]

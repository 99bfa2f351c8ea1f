"""The options that nodes take beside their types and their prompt or function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from typing_extensions import Required, TypedDict

from chainette.engine.sampling import Sampling
from chainette.pipeline.conversation import Turns
from chainette.pipeline.examples import Examples
from chainette.pipeline.nodes.conditions import OnError


class NodeOptions(TypedDict, total=False):
    """The options of every node; see `Step`."""

    name: str
    yield_output: bool
    emoji: str
    when: Callable[..., Any] | str | None
    default: Any


class BranchOptions(TypedDict, total=False):
    """The options of a branch; see `Branch`."""

    emoji: str
    when: Callable[..., Any] | str | None
    on_error: OnError
    default: Any


class RouteOptions(TypedDict, total=False):
    """The options of a route; see `route`."""

    name: str
    yield_output: bool
    emoji: str
    when: Callable[..., Any] | str | None


class RepeatOptions(NodeOptions, total=False):
    """The options of a repeat; see `repeat`."""

    max_rounds: int
    exhausted: Literal["fail", "last"]


class StepOptions(NodeOptions, total=False):
    """The options of a step; see `Step`."""

    sampling: Sampling | None
    reasks: int
    keep_reasoning: bool
    system_prompt: str
    messages: Turns | None
    examples: Examples
    prefill: str
    output_format_instruction: str | None
    constant_prompt: bool
    accept_truncated: bool


class StepArguments(StepOptions, total=False):
    """The options of a step that all of its forms take; see `Step`."""

    id: Required[str]
    engine_name: Required[str]
    user_prompt: str | None


class ApplyOptions(NodeOptions, total=False):
    """The options that every form of `apply` takes; see `ApplyNode`."""

    id: str
    threaded: bool
    engines: Sequence[str] | None

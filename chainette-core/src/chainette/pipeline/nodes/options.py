"""The options that nodes take beside their types and their prompt or function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict

from chainette.types import SamplingParams


class NodeOptions(TypedDict, total=False):
    """The options of every node; see `Node`."""

    name: str
    yield_output: bool
    emoji: str


class StepOptions(NodeOptions, total=False):
    """The options of a step; see `Step`."""

    sampling: SamplingParams | Mapping[str, Any] | None
    system_prompt: str
    output_format_instruction: str | None
    constant_prompt: bool


class ApplyOptions(NodeOptions, total=False):
    """The options that every form of `apply` takes; see `ApplyNode`."""

    id: str
    threaded: bool
    engines: Sequence[str] | None

"""Chains with other engines in the place of their own."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from chainette.errors import ConfigError
from chainette.pipeline.composites.composite import End
from chainette.pipeline.composites.route import Arm
from chainette.pipeline.nodes.flow import Part
from chainette.pipeline.pipeline import Pipeline
from chainette.registry.engines import get_engine_config
from chainette.text import did_you_mean


@dataclass(frozen=True)
class Plan:
    """A chain as it is estimated.

    Attributes:
        name: The name of its estimate and of the estimate's folder.
        chain: The chain, with its engines replaced.
        replaced: The engines by those whose place they take.
    """

    name: str
    chain: Pipeline
    replaced: Mapping[str, str]

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return re.sub(r"[^\w.+=-]+", "_", self.name).strip(".") or "_"


def plans(chain: Pipeline, engines: Sequence[str]) -> list[Plan]:
    """The chain with each engine in turn; as it is, where there are none.

    Args:
        chain: The chain.
        engines: Names of engines, each of which takes the place of the one that all steps share;
            or `old=new`, where steps have several, with commas between several of these.

    Raises:
        ConfigError: An engine is unknown, or it is not clear which it replaces.
    """
    if not engines:
        return [Plan("+".join(chain.engine_names), chain, {})]
    found: dict[str, Plan] = {}
    for text in engines:
        replaced = _replaced(chain, text)
        if text in found:
            raise ConfigError(f"engine: {text!r} is named twice")
        for name in replaced.values():
            get_engine_config(name)
        is_own = all(old == new for old, new in replaced.items())
        found[text] = Plan(text, chain if is_own else with_engines(chain, replaced), replaced)
    return [*found.values()]


def _replaced(chain: Pipeline, text: str) -> dict[str, str]:
    """The engines that a text names, by those whose place they take."""
    own = [*dict.fromkeys(step.engine_name for step in chain.prompted)]
    if not own:
        raise ConfigError("engine: the chain has no steps, so there is no engine to replace")
    if "=" not in text:
        if len(own) == 1:
            return {own[0]: text}
        example = ",".join(f"{name}={text}" for name in own)
        raise ConfigError(
            f"engine: the steps have several engines ({', '.join(own)}): say which {text!r} "
            f"replaces, such as {own[0]}={text}, or {example}"
        )
    pairs = [part.strip().partition("=") for part in text.split(",")]
    for old, _, new in pairs:
        if old not in own or not new:
            raise ConfigError(
                f"engine: {text!r}: no step has the engine {old!r}{did_you_mean(old, own)}; steps "
                f"have {', '.join(own)}"
                if new
                else f"engine: {text!r}: expected old=new, with commas between several"
            )
    return {old: new for old, _, new in pairs}


def with_engines(chain: Pipeline, replaced: Mapping[str, str]) -> Pipeline:
    """A copy of a chain whose steps have other engines; functions keep theirs.

    Args:
        chain: The chain.
        replaced: The engines by those whose place they take.
    """
    twin: Pipeline = _twin(chain, {})
    for step in twin.prompted:
        step.engine_name = replaced.get(step.engine_name, step.engine_name)
    return twin


def _twin(value: Any, known: dict[int, Any]) -> Any:
    """A copy of a part of a chain and of the parts in it; everything else is shared."""
    if type(value) in (list, tuple):
        return type(value)(_twin(it, known) for it in value)
    if type(value) is dict:
        return {_twin(key, known): _twin(it, known) for key, it in value.items()}
    if isinstance(value, Arm):
        if id(value) not in known:
            known[id(value)] = replace(value, nodes=_twin(value.nodes, known))
        return known[id(value)]
    if not isinstance(value, Part | Pipeline | End):
        return value
    if id(value) not in known:
        twin = known[id(value)] = copy.copy(value)
        for name, it in {**vars(value)}.items():
            if isinstance(getattr(type(value), name, None), cached_property):
                delattr(twin, name)
            else:
                object.__setattr__(twin, name, _twin(it, known))
    return known[id(value)]

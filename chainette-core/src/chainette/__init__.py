"""Typed LLM pipelines over datasets, on any back-end.

Names are imported when they are first used, so that `import chainette` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainette.engine.config import EngineConfig
    from chainette.engine.config_file import load_engines
    from chainette.engine.otel import instrument
    from chainette.engine.registry import get_engine_config, register_engine
    from chainette.pipeline.apply import ApplyNode, apply
    from chainette.pipeline.branch import Branch
    from chainette.pipeline.chain import Chain
    from chainette.pipeline.node import pipe
    from chainette.pipeline.step import Step
    from chainette.pipeline.target import load_chain
    from chainette.plugins.hookspecs import hookimpl
    from chainette.types import GuidedDecodingParams, LLMOutput, Result, SamplingParams

__all__ = [
    "ApplyNode",
    "Branch",
    "Chain",
    "EngineConfig",
    "GuidedDecodingParams",
    "LLMOutput",
    "Result",
    "SamplingParams",
    "Step",
    "apply",
    "get_engine_config",
    "hookimpl",
    "instrument",
    "load_chain",
    "load_engines",
    "pipe",
    "register_engine",
]

_HOMES = {
    "ApplyNode": "pipeline.apply",
    "Branch": "pipeline.branch",
    "Chain": "pipeline.chain",
    "EngineConfig": "engine.config",
    "GuidedDecodingParams": "types",
    "LLMOutput": "types",
    "Result": "types",
    "SamplingParams": "types",
    "Step": "pipeline.step",
    "apply": "pipeline.apply",
    "get_engine_config": "engine.registry",
    "hookimpl": "plugins.hookspecs",
    "instrument": "engine.otel",
    "load_chain": "pipeline.target",
    "load_engines": "engine.config_file",
    "pipe": "pipeline.node",
    "register_engine": "engine.registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"chainette.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'chainette' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Typed LLM pipelines over datasets, on any backend.

Names are imported when they are first used, so that `import chainette` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainette.engine.config import EngineConfig
    from chainette.engine.structured.code import Code
    from chainette.engine.telemetry.otel import instrument
    from chainette.errors import Drop
    from chainette.loading.target import load_chain
    from chainette.pipeline.composites.group import Group
    from chainette.pipeline.composites.reduce import reduce
    from chainette.pipeline.composites.repeat import repeat
    from chainette.pipeline.composites.route import route
    from chainette.pipeline.functions.calls import Calls, SyncCalls
    from chainette.pipeline.nodes.apply import ApplyNode, apply
    from chainette.pipeline.nodes.flow import Branch, pipe
    from chainette.pipeline.nodes.step import Step
    from chainette.pipeline.words.distinct import distinct
    from chainette.pipeline.words.filter import filter
    from chainette.pipeline.words.split import split
    from chainette.pipeline.words.vote import vote
    from chainette.plugins.discovery import register_backend
    from chainette.plugins.hookspecs import hookimpl
    from chainette.registry.config_file import load_engines
    from chainette.registry.engines import (
        get_engine,
        get_engine_config,
        register_engine,
    )
    from chainette.reports.result import Result
    from chainette.reports.run import Run
    from chainette.run.chain import Chain
    from chainette.run.inputs.generated import rows
    from chainette.types import Completion, GuidedDecodingParams, LLMOutput, SamplingParams
    from chainette.usage import Usage

__all__ = [
    "ApplyNode",
    "Branch",
    "Calls",
    "Chain",
    "Code",
    "Completion",
    "Drop",
    "EngineConfig",
    "Group",
    "GuidedDecodingParams",
    "LLMOutput",
    "Result",
    "Run",
    "SamplingParams",
    "Step",
    "SyncCalls",
    "Usage",
    "apply",
    "distinct",
    "filter",
    "get_engine",
    "get_engine_config",
    "hookimpl",
    "instrument",
    "load_chain",
    "load_engines",
    "pipe",
    "reduce",
    "register_backend",
    "register_engine",
    "repeat",
    "route",
    "rows",
    "split",
    "vote",
]

_HOMES = {
    "ApplyNode": "pipeline.nodes.apply",
    "Branch": "pipeline.nodes.flow",
    "Calls": "pipeline.functions.calls",
    "Chain": "run.chain",
    "Code": "engine.structured.code",
    "Completion": "types",
    "Drop": "errors",
    "EngineConfig": "registry.engines",  # which hands down the function that makes clients
    "Group": "pipeline.composites.group",
    "GuidedDecodingParams": "types",
    "LLMOutput": "types",
    "Result": "reports.result",
    "Run": "reports.run",
    "SamplingParams": "types",
    "Step": "pipeline.nodes.step",
    "SyncCalls": "pipeline.functions.calls",
    "Usage": "usage",
    "apply": "pipeline.nodes.apply",
    "distinct": "pipeline.words.distinct",
    "filter": "pipeline.words.filter",
    "get_engine": "registry.engines",
    "get_engine_config": "registry.engines",
    "hookimpl": "plugins.hookspecs",
    "instrument": "engine.telemetry.otel",
    "load_chain": "loading.target",
    "load_engines": "registry.config_file",
    "pipe": "pipeline.nodes.flow",
    "reduce": "pipeline.composites.reduce",
    "register_backend": "plugins.discovery",
    "register_engine": "registry.engines",
    "repeat": "pipeline.composites.repeat",
    "route": "pipeline.composites.route",
    "rows": "run.inputs.generated",
    "split": "pipeline.words.split",
    "vote": "pipeline.words.vote",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"chainette.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'chainette' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

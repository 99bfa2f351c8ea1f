"""The start of `run.json`: the chain, its engines and its inputs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import importlib_metadata
from pydantic import PydanticUserError, TypeAdapter

from chainette.engine.config import EngineConfig
from chainette.errors import OutputDirError
from chainette.folder.files import MANIFEST
from chainette.pipeline.graph import graph
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.pipeline import Pipeline
from chainette.plugins.discovery import installed

_logger = logging.getLogger(__name__)


def manifest(
    chain: Pipeline, configs: list[EngineConfig], inputs: Mapping[str, str | None]
) -> dict[str, Any]:
    """The manifest at the start of a run, without secrets.

    Args:
        chain: The chain.
        configs: Its engines.
        inputs: The `path` and the `sha256` of the inputs, as far as they have them.
    """
    return {
        "chainette": importlib_metadata.version("chainette"),
        "plugins": _plugins({config.backend for config in configs}),
        "chain": {"name": chain.name, "steps": list(chain.nodes)},
        "engines": [config.public() for config in configs],
        "inputs": dict(inputs),
        "fingerprint": {
            "chain": _digest([graph(chain), *map(_types, chain.nodes.values())]),
            "engines": {config.name: _digest(config.answering()) for config in configs},
        },
        "status": "running",
        "started": now(),
        "ended": None,
    }


def continued(earlier: dict[str, Any]) -> dict[str, Any]:
    """The fields of a resumed run's manifest that come from the earlier one."""
    return {
        "started": earlier.get("started"),
        "resumed": [*earlier.get("resumed", []), now()],
        "resumed_from": earlier.get("status"),
    }


def check_resumable(path: Path, current: dict[str, Any], *, resume: bool, force: bool) -> None:
    """Refuse to resume a run of another chain, or on other inputs.

    Raises:
        OutputDirError: The chain, an engine or the inputs have changed.
    """
    if not resume or force or not (path / MANIFEST).exists():
        return
    try:
        earlier = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputDirError(f"{path / MANIFEST}: cannot be read: {error}") from None
    if not isinstance(earlier, dict):
        raise OutputDirError(f"{path / MANIFEST}: cannot be read: it is not the record of a run")
    before, after = earlier.get("fingerprint", {}), current["fingerprint"]
    changed = []
    if before.get("chain") != after["chain"]:
        changed.append("the chain (steps, prompts, models, sampling or functions)")
    engines = before.get("engines", {})
    changed += [
        f"engine {name!r}"
        for name, digest in after["engines"].items()
        if engines.get(name) != digest
    ]
    if earlier.get("inputs", {}).get("sha256") != current["inputs"]["sha256"]:
        changed.append("the inputs")
    elif current["inputs"]["sha256"] is None:
        _logger.warning(
            "%s: these inputs can be read only once, so they are not compared with those of the "
            "earlier run: make sure that they are the same",
            path,
        )
    if changed:
        raise OutputDirError(
            f"{path}: cannot resume this run: changed since: {', '.join(changed)}; "
            "choose another folder, --overwrite it, or --force to resume it all the same"
        )


def _types(node: Node) -> Any:
    """The parts of a node that the graph does not show."""
    code = node.source if isinstance(node, ApplyNode) else ""
    return [node.id, code, _schema(node.input_model), _schema(node.output_model)]


def _schema(model: Any) -> Any:
    try:
        return TypeAdapter(model).json_schema()
    except PydanticUserError:  # a type without a schema
        return type_name(model)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plugins(backends: set[str]) -> dict[str, str]:
    """Versions of the distributions that contain these backends."""
    points = [point for name in backends for point in installed().get(name, [])]
    return {point.distribution: point.version for point in points}


def now() -> str:
    """The time in UTC, as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

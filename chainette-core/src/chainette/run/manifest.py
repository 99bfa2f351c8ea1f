"""The start of `run.json`: what runs, on what."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import importlib_metadata

from chainette.engine.config import EngineConfig
from chainette.pipeline.chain import Chain
from chainette.plugins import installed
from chainette.run.inputs import digest


def manifest(chain: Chain, configs: list[EngineConfig], inputs: Any) -> dict[str, Any]:
    """The manifest at the start of a run; nothing in it is secret."""
    is_file = isinstance(inputs, str | Path)
    return {
        "chainette": importlib_metadata.version("chainette"),
        "plugins": _plugins({config.backend for config in configs}),
        "chain": {"name": chain.name, "steps": [step.id for step in chain.steps]},
        "engines": [config.public() for config in configs],
        "inputs": {
            "path": str(inputs) if is_file else None,
            "sha256": digest(inputs) if is_file else None,
        },
        "status": "running",
        "started": now(),
        "ended": None,
    }


def _plugins(backends: set[str]) -> dict[str, str]:
    """Versions of the distributions that bring these backends."""
    points = [point for name, found in installed().items() if name in backends for point in found]
    return {point.dist.name: point.dist.version for point in points}


def now() -> str:
    """The time in UTC, as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

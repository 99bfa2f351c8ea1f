"""The start of `run.json`: the chain, its engines and its inputs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import importlib_metadata

from chainette.engine.config import EngineConfig
from chainette.errors import ConfigError, OutputDirError
from chainette.folder.changes import Changes, compare
from chainette.folder.files import MANIFEST
from chainette.folder.redo import Redo
from chainette.pipeline.graph import dependents, graph
from chainette.pipeline.identity.parts import digest, parts
from chainette.pipeline.pipeline import Pipeline
from chainette.plugins.discovery import installed
from chainette.text import did_you_mean

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
    nodes = parts(chain)
    return {
        "chainette": importlib_metadata.version("chainette"),
        "plugins": _plugins({config.backend for config in configs}),
        "chain": {"name": chain.name, "steps": list(chain.nodes)},
        "engines": [config.public() for config in configs],
        "inputs": dict(inputs),
        "fingerprint": {
            "chain": digest([graph(chain), nodes]),
            "nodes": nodes,
            "engines": {
                config.name: {name: digest(it) for name, it in config.answering().items()}
                for config in configs
            },
        },
        "status": "running",
        "started": now(),
        "ended": None,
    }


def continued(earlier: dict[str, Any], redo: Redo) -> dict[str, Any]:
    """The fields of a resumed run's manifest that come from the earlier one."""
    taken = earlier.get("selection") or {}
    is_done = earlier.get("status") == "finished" and not (
        taken.get("limit") or taken.get("sample")
    )
    uncached = sorted({*redo.named, *([] if is_done else earlier.get("uncached", []))})
    return {
        "started": earlier.get("started"),
        "resumed": [*earlier.get("resumed", []), now()],
        "resumed_from": earlier.get("status"),
        **({"uncached": uncached} if uncached else {}),
    }


class ChangedRunError(OutputDirError):
    """A run is not that of the same chain, engines and inputs.

    Args:
        path: Its folder.
        changes: Names of what has changed.
        ways: A text about what can be done.
    """

    def __init__(self, path: Path, changes: str, ways: str) -> None:
        super().__init__(f"{path}: cannot resume this run: changed since: {changes}; {ways}")
        self.changes: str = changes


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the run in a folder.

    Raises:
        OutputDirError: It cannot be read.
    """
    try:
        found = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        kind = "not the folder of a run: it has no run.json" if path.exists() else "no such folder"
        raise OutputDirError(f"{path}: {kind}") from None
    except OSError as error:
        raise OutputDirError(f"{path / MANIFEST}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise OutputDirError(f"{path / MANIFEST}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise OutputDirError(f"{path / MANIFEST}: cannot be read: it is not the record of a run")
    return found


def check_resumable(
    path: Path,
    chain: Pipeline,
    current: dict[str, Any],
    *,
    force: bool,
    redo: Sequence[str] = (),
) -> Redo:
    """Refuse to resume a run of another chain, or on other inputs.

    Args:
        path: The run's folder.
        chain: The chain.
        current: The manifest of the run that would resume it.
        force: Resume whatever has changed.
        redo: Nodes to run again.

    Returns:
        The nodes whose lines have to go first.

    Raises:
        OutputDirError: The chain, an engine or the inputs have changed.
        ConfigError: A node to run again does not exist.
    """
    earlier = read_manifest(path)
    changes = compare(chain, earlier, current)
    _check_ids(redo, [*chain.nodes, *changes.gone])
    redone = dependents(chain, redo)
    if not force:
        _check(path, chain, changes, redone, is_redo=bool(redo))
    if not changes.inputs and current["inputs"]["sha256"] is None:
        _logger.warning(
            "%s: these inputs can be read only once, so they are not compared with those of the "
            "earlier run: make sure that they are the same",
            path,
        )
    gone = changes.gone if redo else []
    again = [id for id in changes.revalidated if id not in redone]
    return Redo([*redo], [*redone, *gone], again)


def _check_ids(ids: Sequence[str], known: list[str]) -> None:
    """Refuse ids that no node has.

    Raises:
        ConfigError: There is one.
    """
    for id in ids:
        if id not in known:
            hint = did_you_mean(id, known)
            raise ConfigError(f"redo: no node has the id {id!r}{hint}; nodes: {', '.join(known)}")


def _check(
    path: Path, chain: Pipeline, changes: Changes, redone: list[str], *, is_redo: bool
) -> None:
    """Refuse changes after which old and new outputs would be mixed.

    Raises:
        OutputDirError: There are such changes.
    """
    missing = changes.offer(chain, redone)
    is_same = not (missing or changes.inputs or changes.is_unknown)
    if is_same and (is_redo or not changes.gone):
        return
    offered = [] if changes.inputs or changes.is_unknown else missing or changes.gone[:1]
    ways = (
        "choose another folder, replace the run (overwrite=True), or resume it all the same "
        "(resume=True, force=True)"
    )
    if offered:
        ways = (
            f"redo={json.dumps(offered)} runs what changed and all that depends on it again, and "
            f"keeps the rest; or {ways}"
        )
    raise ChangedRunError(path, changes.described(chain), ways)


def _plugins(backends: set[str]) -> dict[str, str]:
    """Versions of the distributions that contain these backends."""
    points = [point for name in backends for point in installed().get(name, [])]
    return {point.distribution: point.version for point in points}


def now() -> str:
    """The time in UTC, as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")

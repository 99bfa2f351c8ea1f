"""The files of a run's folder, read without its chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from chainette.errors import OutputDirError
from chainette.folder.files import DROPPED, ERRORS, FLATTENED, GRAPH, GROUPS, STEPS
from chainette.folder.lines import read_file, read_lines
from chainette.folder.manifest import read_manifest
from chainette.reports.stored.names import ColumnNames


class StoredRun:
    """A run on disk, finished or not.

    Args:
        path: The run's folder.

    Attributes:
        path: The same.
        manifest: The content of `run.json`.
        graph: The content of `graph.json`.

    Raises:
        OutputDirError: The folder is not that of a run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path)
        self.manifest: dict[str, Any] = read_manifest(self.path)
        self.graph: dict[str, Any] = _graph(self.path / GRAPH)
        self.names: ColumnNames = ColumnNames(self.node_ids)

    @cached_property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """The chain's nodes by id, as `graph.json` describes them."""
        return {node["id"]: node for node in self.graph["nodes"]}

    @property
    def node_ids(self) -> list[str]:
        """The ids of the chain's nodes, in its order."""
        return [*self.nodes]

    @property
    def is_finished(self) -> bool:
        """Whether every row that was asked for has an end."""
        return self.manifest.get("status") == "finished"

    @property
    def reduce_ids(self) -> list[str]:
        """The ids of what makes groups, in the chain's order."""
        return [*dict.fromkeys(node["reduce"] for node in self.nodes.values() if "reduce" in node)]

    def last_of_reduce(self, reduce_id: str) -> str:
        """The id of the node whose output is the value of a `reduce`."""
        inside = [id for id, it in self.nodes.items() if it.get("reduce") == reduce_id]
        main = [id for id in inside if not (self.nodes[id]["branch"] or "inside" in self.nodes[id])]
        last = main[-1]
        while self.nodes[last]["kind"] == "repeat":  # whose body gives the value
            last = [it for it in self.nodes[last]["body"] if it in self.nodes][-1]
        return last

    def schema(self, node_id: str) -> dict[str, Any]:
        """The JSON schema of what a node has in the table; empty where its type has none."""
        return dict(self.graph.get("schemas", {}).get(node_id) or {})

    def shape(self, node_id: str) -> Any:
        """The shape of a node's outputs, or of the rows; see `chainette.reports.stored.shapes`."""
        return self.graph.get("shapes", {}).get(node_id)

    def lines(self) -> Iterator[dict[str, Any]]:
        """The lines of the flattened table, in input order."""
        return read_lines(self.path / FLATTENED, _torn)

    def step_lines(self, node_id: str) -> Iterator[dict[str, Any]]:
        """The lines of one node, in the order in which they were written."""
        return read_lines(self.path / STEPS / node_id, _torn)

    def errors(self) -> Iterator[dict[str, Any]]:
        """The lines of `errors.jsonl`."""
        return _optional(self.path / ERRORS)

    def dropped(self) -> Iterator[dict[str, Any]]:
        """The lines of `dropped.jsonl`."""
        return _optional(self.path / DROPPED)

    def groups(self, reduce_id: str) -> Iterator[dict[str, Any]]:
        """The lines of the table of a `reduce`; none if the run has not come so far."""
        return _optional(self.path / GROUPS / f"{reduce_id}.jsonl")


def _torn(place: str) -> None:
    """Pass over the line that a run which is going on, or was killed, has not written whole."""


def _optional(path: Path) -> Iterator[dict[str, Any]]:
    return read_file(path, _torn) if path.exists() else iter(())


def _graph(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputDirError(f"{path}: cannot be read: {reason}") from None
    if not isinstance(found, dict) or "nodes" not in found:
        raise OutputDirError(f"{path}: cannot be read: it is not the graph of a chain")
    return found

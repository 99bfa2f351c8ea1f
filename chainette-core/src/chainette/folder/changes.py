"""The differences between a run and the chain, engines and inputs that would resume it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chainette.pipeline.graph import dependents, places
from chainette.pipeline.identity.parts import METHODS, VALIDATORS
from chainette.pipeline.pipeline import Pipeline

_WORDS = {"place": "what it follows", "function": "its code"}
"""Names of parts that need other words."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since a run.

    Attributes:
        nodes: Nodes whose outputs are those of an earlier chain, with the parts that changed.
        engines: Engines that answer differently, with the fields that changed.
        gone: Nodes that the chain does not have anymore.
        inputs: Whether the inputs are others, or are read in another way.
        reading: The options that read them in another way.
        revalidated: Steps whose answers only have to be validated again.
        is_unknown: Whether the run does not say what its nodes were.
    """

    nodes: dict[str, list[str]] = field(default_factory=dict)
    engines: dict[str, list[str]] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    inputs: bool = False
    reading: list[str] = field(default_factory=list)
    revalidated: list[str] = field(default_factory=list)
    is_unknown: bool = False

    def described(self, chain: Pipeline) -> str:
        """All changes, for a message."""
        users = {
            name: [node.id for node in chain.nodes.values() if name in node.engines]
            for name in self.engines
        }
        texts = ["the chain"] if self.is_unknown else []
        texts += [
            f"{chain.nodes[id].kind} {id!r} ({', '.join(_WORDS.get(it, it) for it in parts)})"
            for id, parts in self.nodes.items()
            if parts
        ]
        texts += [f"{id!r} (removed)" for id in self.gone]
        texts += [
            f"engine {name!r} ({', '.join(fields)}), which {' and '.join(map(repr, users[name]))} "
            f"{'use' if len(users[name]) > 1 else 'uses'}"
            for name, fields in self.engines.items()
        ]
        if self.inputs:
            texts.append("the inputs" + f" ({', '.join(self.reading)})" * bool(self.reading))
        return ", ".join(texts)

    def offer(self, chain: Pipeline, redone: Iterable[str] = ()) -> list[str]:
        """The nodes to redo so that no output of an earlier chain is left, as few as there are.

        Args:
            chain: The chain.
            redone: Nodes that are redone already.
        """
        offered: list[str] = []
        covered = {*redone}
        for id in chain.nodes:
            if id in self.nodes and id not in covered:
                offered.append(id)
                covered |= {*dependents(chain, [id])}
        return offered


def compare(chain: Pipeline, earlier: Mapping[str, Any], current: Mapping[str, Any]) -> Changes:
    """Compare the manifest of a run with the one that would resume it.

    Args:
        chain: The chain.
        earlier: The manifest of the run.
        current: The manifest of the chain.
    """
    before, after = earlier.get("fingerprint", {}), current["fingerprint"]
    engines = _engines(before.get("engines", {}), after["engines"])
    inputs = earlier.get("inputs", {}).get("sha256") != current["inputs"]["sha256"]
    reading = [] if inputs else _reading(earlier.get("selection"), current.get("selection"))
    inputs = inputs or bool(reading)
    known = before.get("nodes")
    if not isinstance(known, dict):
        is_same = before.get("chain") == after["chain"]
        return Changes(engines=engines, inputs=inputs, reading=reading, is_unknown=not is_same)
    nodes: dict[str, list[str]] = {}
    revalidated: list[str] = []
    for id, parts in after["nodes"].items():
        changed = ["new"] if id not in known else _differences(known[id], parts)
        if more := [it for it in changed if it not in (VALIDATORS, METHODS)]:
            nodes[id] = more if "output type" in more else changed
        elif changed:
            revalidated.append(id)
            if METHODS in changed:
                _followers(chain, id, nodes)
    for id, node in chain.nodes.items():
        if engines.keys() & {*node.engines}:
            nodes.setdefault(id, [])
    gone = [id for id in known if id not in after["nodes"]]
    return Changes(nodes, engines, gone, inputs, reading, revalidated)


def _reading(before: Any, after: Any) -> list[str]:
    """The options that decide on what the rows of the same inputs are, and that changed."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return []
    return [it for it in ("columns", "encoding", "delimiter") if before.get(it) != after.get(it)]


def _followers(chain: Pipeline, id: str, nodes: dict[str, list[str]]) -> None:
    """Note that what follows a step sees values of which other things can be asked."""
    for other, place in places(chain).items():
        if id in place.values():
            nodes.setdefault(other, []).append(f"methods of the output of {id!r}")


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [key for key in {**after, **before} if before.get(key) != after.get(key)]


def _engines(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[str]]:
    """The fields of engines that changed, by the engine's name."""
    changed: dict[str, list[str]] = {}
    for name, fields in after.items():
        known = before.get(name)
        if known is not None and known != fields:
            changed[name] = _differences(known, fields) if isinstance(known, dict) else ["fields"]
    return changed

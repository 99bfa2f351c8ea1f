"""What joined branches bring to the nodes behind them, and which nodes use it."""

from __future__ import annotations

from typing import Any

from chainette.pipeline.graph import places
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.validate import all_nodes
from chainette.text import escaped


class Joins:
    """The joins of a chain.

    Args:
        chain: The chain.
    """

    def __init__(self, chain: Any) -> None:
        self._places = places(chain)
        # A function is given all names, and which of them it uses is its own business.
        self._functions = {id for id, it in chain.nodes.items() if isinstance(it, ApplyNode)}

    def of(self, branch: Branch) -> str:
        """The name of a branch's output, its type, and the nodes that use it; empty without one."""
        if branch.alias is None:
            return ""
        inside = {node.id for node in all_nodes(branch.steps)}
        users = [
            id
            for id, sources in self._places.items()
            if sources.get(branch.alias) in inside and id not in inside
        ]
        last = next((it for it in reversed(branch.steps) if isinstance(it, Node)), None)
        brings = f": {type_name(last.output_model)}" if last is not None else ""
        used = [id for id in users if id not in self._functions]
        seen = [id for id in users if id in self._functions]
        words = [f"used by {', '.join(used)}"] if used else []
        words += [f"seen by {', '.join(seen)}"] if seen else []
        return escaped(f"  joined as {branch.alias}{brings}, {', '.join(words) or 'not used'}")

    def used_by(self, node: Node) -> str:
        """The joined names that a node uses; empty if there are none."""
        names = [name for name in self._places.get(node.id, {}) if name.isidentifier()]
        names = sorted(name for name in names if name not in ("previous", "repeat"))
        verb = "sees" if node.id in self._functions else "uses"
        return escaped(f"  {verb} {', '.join(names)}") if names else ""

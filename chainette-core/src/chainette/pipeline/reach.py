"""The lines that depend on one item of a node: in which nodes, and for which items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chainette.pipeline.graph import dependents
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_nodes

Place = tuple[list[Any], int]
"""A flow, and the index of one of its parts."""


def reach(chain: Pipeline, id: str) -> dict[str, bool]:
    """The nodes that depend on a node, and whether whole rows of theirs depend on one item.

    What follows in a flow depends on an item where it is the item itself, or was split from it.
    Where a branch that may split is joined, the paths of items do not tell; all of the row does.

    Args:
        chain: The chain.
        id: The node; it is not among those that are returned.
    """
    places = _places(chain.steps, id)
    found: dict[str, bool] = {}
    for other in dependents(chain, [id]):
        if other != id:
            # Flows that both are in have split their items alike; only those below matter.
            shared = sum(other in _ids(flow) for flow, _ in places)
            found[other] = any(_may_split(flow[: index + 1]) for flow, index in places[shared:])
    return found


def is_tolerated(chain: Pipeline, id: str) -> bool:
    """Whether what depends on a node may run although the node failed."""
    return any(flow[index].tolerance is not None for flow, index in _places(chain.steps, id))


def judges_itself(chain: Pipeline, id: str) -> bool:
    """Whether a node sees all items and finds out itself whether they have changed.

    Where a condition decides on what it sees, that is to be asked again first.
    """
    places = _places(chain.steps, id)
    is_conditional = any(flow[index].condition is not None for flow, index in places)
    return chain.nodes[id].waits_for_all and not is_conditional


def _places(nodes: list[Any], id: str) -> list[Place]:
    """The places of a node, from the main flow to the innermost branch; empty if it is not here."""
    for index, part in enumerate(nodes):
        if isinstance(part, Branch):
            if inner := _places(part.steps, id):
                return [(nodes, index), *inner]
        elif part.id == id:
            return [(nodes, index)]
    return []


def _ids(nodes: Iterable[Any]) -> set[str]:
    return {node.id for node in all_nodes(nodes)}


def _may_split(nodes: Iterable[Any]) -> bool:
    """Whether a flow may have split its item in these nodes."""
    for node in nodes:
        if isinstance(node, ApplyNode):
            if node.types.splits is not False:
                return True
        elif not isinstance(node, Branch | Step):
            return True
    return False

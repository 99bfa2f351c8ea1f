"""The graph of a chain, as plain data and as a Mermaid chart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.conditions import condition_fields
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_nodes

Edge = dict[str, str]
Place = tuple[list[Any], int]
"""A flow, and the index of one of its parts."""


def graph(chain: Pipeline) -> dict[str, Any]:
    """Nodes and edges of a chain, as in `graph.json`."""
    edges, _ = _edges(chain.steps, "chain_input")
    nodes = list(_described(chain.steps, None))
    return {"name": chain.name, "emoji": chain.emoji, "nodes": nodes, "edges": edges}


def _described(nodes: list[Any], branch: str | None) -> Iterator[dict[str, Any]]:
    for node in nodes:
        if isinstance(node, Branch):
            yield from _described(node.steps, node.name)
            continue
        yield {
            "id": node.id,
            "kind": node.kind,
            "branch": branch,
            "name": node.name,
            "emoji": node.emoji,
            "input": type_name(node.input_model),
            "output": type_name(node.output_model),
            "yield_output": node.yield_output,
        } | _details(node)


def _details(node: Node) -> dict[str, Any]:
    if isinstance(node, Step):
        return {
            "engine": node.engine_name,
            **node.request_fields(),
            **node.answer_fields(),
            **condition_fields(node.condition, node.tolerance, node.skipped),
        }
    assert isinstance(node, ApplyNode)
    return {
        "function": getattr(node.fn, "__qualname__", type(node.fn).__qualname__),
        "batch": node.batch,
        **condition_fields(node.condition, node.tolerance, node.skipped),
        **({"engines": [*node.engines]} if node.engines else {}),
    }


def _edges(nodes: list[Any], source: str) -> tuple[list[Edge], str]:
    """The edges of a flow, and the node at its end."""
    edges: list[Edge] = []
    joined: list[tuple[str, str]] = []
    for node in nodes:
        if isinstance(node, Branch):
            inner, end = _edges(node.steps, source)
            edges += inner
            if node.alias:
                joined.append((end, node.alias))
            continue
        edges.append({"from": source, "to": node.id})
        edges += [{"from": end, "to": node.id, "join": alias} for end, alias in joined]
        joined, source = [], node.id
    return edges, source


def places(chain: Pipeline) -> dict[str, dict[str, str]]:
    """For each node, the nodes that it takes values from, by the name that it has for them.

    `` is its direct input, the others are the joined branches that it uses.
    """
    found: dict[str, dict[str, str]] = {}
    _place(chain.steps, "chain_input", {}, found)
    return found


def _place(
    nodes: list[Any], source: str, joined: dict[str, str], found: dict[str, dict[str, str]]
) -> str:
    """Find the places of a flow's nodes, and return the node at its end."""
    joined = {**joined}
    for node in nodes:
        if isinstance(node, Branch):
            end = _place(node.steps, source, joined, found)
            if node.alias:
                joined[node.alias] = end
            continue
        used = {alias: joined[alias] for alias in node.needs(joined)}
        found[node.id], source = {"": source, **used}, node.id
    return source


def dependents(chain: Pipeline, ids: Iterable[str]) -> list[str]:
    """These nodes and all that depend on them, in the chain's order.

    What follows a node in its flow depends on it, even where it uses no value of it: it only runs
    if the node has an output. A branch that it joins depends on the branch's last node.

    Args:
        chain: The chain.
        ids: The nodes; other names are passed over.
    """
    found: list[str] = []
    _depend(chain.steps, {*ids}, False, set(), found)
    return found


def _depend(
    nodes: list[Any], ids: Collection[str], does: bool, joined: set[str], found: list[str]
) -> bool:
    """Find the dependent nodes of a flow, and say whether its end is one."""
    joined = {*joined}
    for node in nodes:
        if isinstance(node, Branch):
            begins = does or bool(node.condition and node.condition.needs(joined))
            if _depend(node.steps, ids, begins, joined, found) and node.alias:
                joined.add(node.alias)
            continue
        does = does or node.id in ids or bool(node.needs(joined))
        if does:
            found.append(node.id)
    return does


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


def mermaid(chain: Pipeline) -> str:
    """The chain as a Mermaid flow chart."""
    lines = ["flowchart TD", f'    chain_input(["{type_name(chain.input_model)}"])']
    lines += _boxes(chain.steps, "    ")
    for edge in graph(chain)["edges"]:
        arrow = f"-- {edge['join']} -->" if "join" in edge else "-->"
        lines.append(f"    {edge['from']} {arrow} {edge['to']}")
    return "\n".join(lines)


def _boxes(nodes: list[Any], indent: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Branch):
            yield f'{indent}subgraph "{_label(node)}"'
            yield from _boxes(node.steps, indent + "    ")
            yield f"{indent}end"
        elif isinstance(node, Step):
            yield f'{indent}{node.id}["{_label(node)}<br/>{node.engine_name}"]'
        else:
            engines = f"<br/>{', '.join(node.engines)}" if node.engines else ""
            yield f'{indent}{node.id}[["{_label(node)}{engines}"]]'


def _label(node: Node | Branch) -> str:
    return f"{node.emoji} {node.name}".strip().replace('"', "#quot;")

"""The graph of a chain, as plain data and as a Mermaid chart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from chainette.pipeline.composites.composite import Composite, may_split
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.composites.repeat import Repeat, value_node
from chainette.pipeline.composites.route import Route
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.conditions import condition_fields
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_nodes
from chainette.pipeline.words.word import Word

Edge = dict[str, str]
Sources = list[tuple[str, dict[str, str]]]
"""Nodes that an edge comes from, with what the edge says."""
Names = dict[str, str]
"""Nodes that a node takes values from, by the names that it has for them."""
Place = tuple[list[Any], int]
"""A flow, and the index of one of its parts."""


def graph(chain: Pipeline) -> dict[str, Any]:
    """Nodes and edges of a chain, as in `graph.json`."""
    edges, _ = _edges(chain.steps, [("chain_input", {})])
    nodes = list(_described(chain.steps, {"branch": None}))
    return {"name": chain.name, "emoji": chain.emoji, "nodes": nodes, "edges": edges}


def _described(nodes: list[Any], place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        if isinstance(node, Branch):
            yield from _described(node.steps, place | {"branch": node.name})
            continue
        if isinstance(node, Reduce):
            fields = {"reduce": node.id, "by": node.key.fields, "fold": node.fold}
            yield from _described(node.steps, place | fields)
            continue
        own = {
            "id": node.id,
            "kind": node.kind,
            **place,
            "name": node.name,
            "emoji": node.emoji,
            "input": type_name(node.input_model),
            "output": type_name(node.output_model),
            "yield_output": node.yield_output,
        } | _details(node)
        yield from (own,) if getattr(node, "comes_first", True) else ()
        if isinstance(node, Route):
            for arm in node.arms:
                inside = {"inside": node.id, "case": node.label(arm)}
                yield from _described(arm.nodes, place | inside)
        elif isinstance(node, Repeat):
            yield from _described(list(node.members()), place | {"inside": node.id})
            yield own


def _details(node: Node) -> dict[str, Any]:
    conditions = condition_fields(node.condition, node.tolerance, node.skipped)
    if isinstance(node, Composite):
        return composite_fields(node) | conditions
    if isinstance(node, Step):
        return {
            "engine": node.engine_name,
            **node.request_fields(),
            **node.answer_fields(),
            **conditions,
        }
    assert isinstance(node, ApplyNode)
    name = getattr(node.fn, "__qualname__", type(node.fn).__qualname__)
    return {
        **(node.says() if isinstance(node, Word) else {"function": name}),
        "batch": node.batch,
        **conditions,
        **({"engines": [*node.engines]} if node.engines else {}),
        **({"splits": True} if node.makes_several else {}),
    }


def composite_fields(node: Composite) -> dict[str, Any]:
    """What a route or a repeat does with its nodes, as JSON values."""
    if isinstance(node, Route):
        cases = [[node.label(arm), _names(arm.nodes)] for arm in node.cases]
        other = node.otherwise_arm
        default = {"default": _names(other.nodes)} if other is not None else {}
        return {"by": node.by.text, "cases": cases, **default}
    assert isinstance(node, Repeat)
    until = {"until": node.until.text} if node.until is not None else {}
    judge = {"judge": node.judge.id} if node.judge is not None else {}
    return {
        **until,
        **judge,
        "max_rounds": node.max_rounds,
        "exhausted": node.exhausted,
        "body": _names(node.body),
    }


def _names(nodes: list[Any]) -> list[str]:
    return [f"branch {it.name}" if isinstance(it, Branch) else it.id for it in nodes]


def _edges(nodes: list[Any], sources: Sources) -> tuple[list[Edge], Sources]:
    """The edges of a flow, and the nodes at its end with what their edges say."""
    edges: list[Edge] = []
    joined: list[tuple[str, str]] = []
    for node in nodes:
        if isinstance(node, Branch):
            inner, ends = _edges(node.steps, sources)
            edges += inner
            if node.alias:
                joined += [(end, node.alias) for end, _ in ends]
            continue
        if isinstance(node, Reduce):
            words = {"by": node.key.text}
            inner, sources = _edges(node.steps, [(source, words) for source, _ in sources])
            edges += inner
            joined = []
            continue
        if isinstance(node, Repeat):
            inner, sources = _repeated(node, sources)
            edges += inner
        else:
            edges += [{"from": source, "to": node.id, **words} for source, words in sources]
            sources = [(node.id, {})]
        edges += [{"from": end, "to": node.id, "join": alias} for end, alias in joined]
        joined = []
        if isinstance(node, Route):
            inner, sources = _routed(node)
            edges += inner
    return edges, sources


def _routed(route: Route) -> tuple[list[Edge], Sources]:
    """The edges in a route, and the ends of its ways."""
    edges: list[Edge] = []
    ends: Sources = []
    for arm in route.arms:
        inner, last = _edges(arm.nodes, [(route.id, {"case": route.label(arm)})])
        edges += inner
        ends += last
    return edges, ends


def _repeated(node: Repeat, sources: Sources) -> tuple[list[Edge], Sources]:
    """The edges in a repeat, and its end."""
    edges, ends = _edges(list(node.members()), sources)
    edges += [{"from": end, "to": node.id, **words} for end, words in ends]
    first = next(it for it in node.body if isinstance(it, Node))
    while isinstance(first, Repeat):
        first = next(it for it in first.body if isinstance(it, Node))
    edges.append({"from": node.id, "to": first.id, "repeat": "again"})
    return edges, [(node.id, {})]


def places(chain: Pipeline) -> dict[str, dict[str, str]]:
    """For each node, the nodes that it takes values from, by the name that it has for them.

    `` is its direct input, the others are the joined branches that it uses.
    """
    found: dict[str, dict[str, str]] = {}
    _place(chain.steps, {"": "chain_input"}, {}, found)
    return found


def _place(nodes: list[Any], source: Names, joined: Names, found: dict[str, Names]) -> Any:
    """Find the places of a flow's nodes, and return that of what is behind it."""
    for node in nodes:
        if isinstance(node, Branch):
            end = _place(node.steps, source, {**joined}, found)
            if node.alias:
                joined[node.alias] = end[""]
            continue
        if isinstance(node, Reduce):
            inner: dict[str, dict[str, str]] = {}
            end = _place(node.steps, source, {}, inner)
            used = {alias: joined[alias] for alias in node.key.needs(joined)}
            first = source[""]
            found |= {id: {**it, **used} if it[""] == first else it for id, it in inner.items()}
            joined, source = {}, end
            continue
        used = {alias: joined[alias] for alias in node.needs(joined)}
        if isinstance(node, Repeat):
            before = source | {"previous": value_node(node).id}
            last = _place(list(node.members()), before, joined, found)
            found[node.id], source = last | used, {"": value_node(node).id, "repeat": node.id}
            continue
        found[node.id], source = source | used, {"": node.id}
        if isinstance(node, Route):
            for arm in node.arms:
                end = _place(arm.nodes, found[node.id], {**joined}, found)
                source[f"case {node.label(arm)} of {node.id}"] = end[""]
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
    for node in nodes:
        if isinstance(node, Branch):
            begins = does or bool(node.condition and node.condition.needs(joined))
            if _depend(node.steps, ids, begins, {*joined}, found) and node.alias:
                joined.add(node.alias)
            continue
        if isinstance(node, Reduce):
            does = does or node.id in ids or bool(node.key.needs(joined))
            does, joined = _depend(node.steps, ids, does, set(), found), set()
            continue
        does = does or bool(node.needs(joined))
        if isinstance(node, Repeat):
            count = len(found)
            _depend(list(node.members()), ids, does, joined, found)
            does = does or len(found) > count or bool(node.end.needs(joined))
        does = does or node.id in ids
        if does:
            found.append(node.id)
        if isinstance(node, Route):
            ends = [_depend(arm.nodes, ids, does, {*joined}, found) for arm in node.arms]
            does = does or any(ends)
    return does


def later_rounds(chain: Pipeline, ids: Collection[str]) -> dict[str, list[int]]:
    """The nodes of which only later rounds depend on others, with the depths of their repeats.

    Args:
        chain: The chain.
        ids: All that depends on what has changed, as `dependents` says it.
    """
    found: dict[str, list[int]] = {}
    _later(chain.steps, ids, 0, found)
    return found


def _later(
    nodes: Iterable[Any], ids: Collection[str], depth: int, found: dict[str, list[int]]
) -> None:
    for node in nodes:
        if isinstance(node, Branch | Reduce):
            _later(node.steps, ids, depth, found)
        elif isinstance(node, Composite):
            if node.repeats and node.id in ids:
                for inner in all_nodes(node.members()):
                    if inner.id not in ids:
                        found.setdefault(inner.id, []).append(depth)
            _later(node.members(), ids, depth + node.repeats, found)


def reach(chain: Pipeline, id: str) -> dict[str, bool]:
    """The nodes that depend on a node, and whether whole rows of theirs depend on one item.

    What follows in a flow depends on an item where it is the item itself, or was split from it.
    Where a branch that may split is joined, the paths of items do not tell; all of the row does.

    Args:
        chain: The chain.
        id: The node; it is not among those that are returned.
    """
    places = _places(_spliced(chain.steps), id)
    found: dict[str, bool] = {}
    for other in dependents(chain, [id]):
        if other != id:
            # Flows that both are in have split their items alike; only those below matter.
            shared = sum(other in _ids(flow) for flow, _ in places)
            found[other] = any(_may_split(flow[: index + 1]) for flow, index in places[shared:])
    return found


def is_tolerated(chain: Pipeline, id: str) -> bool:
    """Whether what depends on a node may run although the node failed."""
    places = _places(_spliced(chain.steps), id)
    return any(flow[index].tolerance is not None for flow, index in places)


def judges_itself(chain: Pipeline, id: str) -> bool:
    """Whether a node sees all items and finds out itself whether they have changed.

    Where a condition decides on what it sees, that is to be asked again first.
    """
    places = _places(_spliced(chain.steps), id)
    parts = [flow[index] for flow, index in places]
    is_conditional = any(it.condition is not None or isinstance(it, Route) for it in parts)
    return chain.nodes[id].waits_for_all and not is_conditional


def _spliced(nodes: list[Any]) -> list[Any]:
    """The nodes of a chain, with those of a `reduce` in its place."""
    return [it for node in nodes for it in (node.steps if isinstance(node, Reduce) else [node])]


def _places(nodes: list[Any], id: str) -> list[Place]:
    """The places of a node, from the main flow to the innermost branch; empty if it is not here."""
    for index, part in enumerate(nodes):
        if isinstance(part, Branch):
            if inner := _places(part.steps, id):
                return [(nodes, index), *inner]
        elif part.id == id:
            return [(nodes, index)]
        elif isinstance(part, Composite) and id in _ids(part.members()):
            (inner,) = filter(None, (_places(flow, id) for flow in part.flows))
            return [(nodes, index), *inner]
    return []


def _ids(nodes: Iterable[Any]) -> set[str]:
    return {node.id for node in all_nodes(nodes)}


def _may_split(nodes: Iterable[Any]) -> bool:
    """Whether a flow may have split its item in these nodes."""
    for node in nodes:
        if isinstance(node, ApplyNode):
            if node.types.splits is not False:
                return True
        elif isinstance(node, Composite):
            if may_split(node.members()) is not False:
                return True
        elif not isinstance(node, Branch | Step):
            return True
    return False


def mermaid(chain: Pipeline) -> str:
    """The chain as a Mermaid flow chart."""
    lines = ["flowchart TD", f'    chain_input(["{type_name(chain.input_model)}"])']
    lines += _boxes(chain.steps, "    ")
    for edge in graph(chain)["edges"]:
        label = next((edge[key] for key in ("join", "case", "repeat") if key in edge), None)
        label = f"by {edge['by']}" if label is None and "by" in edge else label
        arrow = "-->" if label is None else f"-- {label} -->"
        if label is not None and not label.isidentifier():
            arrow = f'-->|"{_quoted(label)}"|'
        lines.append(f"    {edge['from']} {arrow} {edge['to']}")
    return "\n".join(lines)


def _boxes(nodes: list[Any], indent: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Branch):
            yield f'{indent}subgraph "{_label(node)}"'
            yield from _boxes(node.steps, indent + "    ")
            yield f"{indent}end"
        elif isinstance(node, Repeat):
            yield f'{indent}subgraph "{_label(node)}"'
            yield from _boxes(list(node.members()), indent + "    ")
            yield f'{indent}    {node.id}{{"{_label(node)}: again?"}}'
            yield f"{indent}end"
        elif isinstance(node, Route):
            yield f'{indent}{node.id}{{"{_label(node)}"}}'
            for arm in node.arms:
                yield from _boxes(arm.nodes, indent)
        elif isinstance(node, Reduce):
            yield from _boxes(node.steps, indent)
        elif isinstance(node, Step):
            yield f'{indent}{node.id}["{_label(node)}<br/>{node.engine_name}"]'
        else:
            more = node.text if isinstance(node, Word) else ", ".join(node.engines)
            yield f'{indent}{node.id}[["{_label(node)}{more and f"<br/>{_quoted(more)}"}"]]'


def _label(node: Node | Branch) -> str:
    return _quoted(f"{node.emoji} {node.name}".strip())


def _quoted(text: str) -> str:
    return " ".join(text.replace('"', "#quot;").split())

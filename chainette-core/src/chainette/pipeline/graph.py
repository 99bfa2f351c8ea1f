"""The graph of a chain, as plain data and as a Mermaid chart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline

Edge = dict[str, str]


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
            "sampling": node.sampling.model_dump(mode="json", exclude_none=True),
            "system_prompt": node.system_prompt,
            "user_prompt": node.user_prompt,
            "output_format_instruction": node.output_format_instruction,
        }
    assert isinstance(node, ApplyNode)
    return {
        "function": getattr(node.fn, "__qualname__", type(node.fn).__qualname__),
        "batch": node.batch,
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
            yield f'{indent}{node.id}[["{_label(node)}"]]'


def _label(node: Node | Branch) -> str:
    return f"{node.emoji} {node.name}".strip().replace('"', "#quot;")

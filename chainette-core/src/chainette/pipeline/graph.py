"""The shape of a chain as plain data and as Mermaid text."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from chainette.pipeline.chain import Chain
from chainette.pipeline.step import type_name


def graph(chain: Chain) -> dict[str, Any]:
    """Nodes and edges of a chain, as in `graph.json`."""
    nodes = [
        {
            "id": step.id,
            "kind": "step",
            "name": step.name,
            "emoji": step.emoji,
            "engine": step.engine_name,
            "input": type_name(step.input_model),
            "output": type_name(step.output_model),
            "yield_output": step.yield_output,
            "sampling": step.sampling.model_dump(mode="json", exclude_none=True),
            "system_prompt": step.system_prompt,
            "user_prompt": step.user_prompt,
        }
        for step in chain.steps
    ]
    ids = ["chain_input", *(step.id for step in chain.steps)]
    edges = [{"from": a, "to": b} for a, b in pairwise(ids)]
    return {"name": chain.name, "emoji": chain.emoji, "nodes": nodes, "edges": edges}


def mermaid(chain: Chain) -> str:
    """The chain as a Mermaid flow chart."""
    lines = ["flowchart TD", f'    chain_input(["{type_name(chain.input_model)}"])']
    for step in chain.steps:
        label = f"{step.emoji} {step.name}".strip().replace('"', "#quot;")
        lines.append(f'    {step.id}["{label}<br/>{step.engine_name}"]')
    ids = ["chain_input", *(step.id for step in chain.steps)]
    lines += [f"    {a} --> {b}" for a, b in pairwise(ids)]
    return "\n".join(lines)

"""A chain as a tree."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from chainette.pipeline.chain import Chain
from chainette.pipeline.step import type_name


def tree(chain: Chain) -> Tree:
    """The steps with their types and engines."""
    root = Tree(Text(f"{chain.emoji} {chain.name}".strip(), style="bold"))
    for step in chain.steps:
        title = Text(f"{step.emoji} {step.name}".strip())
        if step.name != step.id:
            title.append(f" ({step.id})", style="dim")
        types = f"{type_name(step.input_model)} → {type_name(step.output_model)}"
        title.append(f"  {types}  engine {step.engine_name}", style="dim")
        if not step.yield_output:
            title.append("  not in the results", style="dim")
        root.add(title)
    return root

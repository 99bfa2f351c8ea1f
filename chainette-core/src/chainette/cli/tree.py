"""A chain as a tree."""

from __future__ import annotations

import json
from typing import Any

from rich.text import Text
from rich.tree import Tree

from chainette.cli.shown.joins import Joins
from chainette.messages.numbers import plural
from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.composites.route import Route
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.conditions import condition_fields
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.words.word import Word
from chainette.text import escaped, printable

ICONS = {
    "step": "💬", "apply": "⚙️", "branch": "🌿", "route": "🔀", "repeat": "🔁", "reduce": "🧺",
    "split": "🪓", "filter": "🧹", "distinct": "🪪", "vote": "🗳️",
}  # fmt: skip
"""Emojis of nodes that do not have their own."""
MAX_TURN = 100
"""Characters of a turn that are shown."""


def tree(chain: Pipeline, *, icons: bool = True, max_branches: int | None = None) -> Tree:
    """The nodes with their types and engines.

    Args:
        chain: The chain.
        icons: Show emojis.
        max_branches: Maximum number of branches at a place; the others are counted.
    """
    title = f"{chain.emoji} {chain.name}" if icons else chain.name
    root = Tree(Text(escaped(title), style="bold"))
    _grow(root, chain.steps, icons, max_branches, Joins(chain))
    return root


def _grow(
    parent: Tree, nodes: list[Any], icons: bool, max_branches: int | None, joins: Joins
) -> None:
    visible = hidden = 0
    for node in nodes:
        if isinstance(node, Composite):
            _grow_composite(parent.add(_line(node, icons, joins)), node, icons, max_branches, joins)
        elif isinstance(node, Reduce):
            fold = f", {node.fold} at a time" if node.fold else ""
            text = f"reduce {node.id} by {node.key.text}{fold}"
            shown = f"{ICONS[node.kind]} {text}" if icons else text
            _grow(parent.add(Text(escaped(shown))), node.steps, icons, max_branches, joins)
        elif not isinstance(node, Branch):
            _add_turns(parent.add(_line(node, icons, joins)), node)
        elif max_branches is None or visible < max_branches:
            visible += 1
            title = _titled(node, f"branch {node.name}", icons)
            title.append(joins.of(node), style="dim")
            title.append(_conditions(node), style="dim")
            _grow(parent.add(title), node.steps, icons, max_branches, joins)
        else:
            hidden += 1
    if hidden:
        parent.add(Text(f"… {hidden} more branches", style="dim"))


def _grow_composite(
    parent: Tree, node: Composite, icons: bool, most: int | None, joins: Joins
) -> None:
    if isinstance(node, Route):
        for arm in node.arms:
            passes = "" if arm.nodes else "  passes its input on"
            title = Text(escaped(node.label(arm))).append(passes, style="dim")
            _grow(parent.add(title), arm.nodes, icons, most, joins)
    else:
        _grow(parent, list(node.members()), icons, most, joins)


def _words(node: Composite) -> str:
    """What a composite does, in a few words."""
    if isinstance(node, Route):
        return f"  by {node.by.text}"
    assert isinstance(node, Repeat)
    if node.is_counted:
        return f"  {plural(node.max_rounds, 'round')}"
    until = node.until.text if node.until is not None else getattr(node.judge, "id", "")
    return f"  until {until}, at most {node.max_rounds} rounds"


def _add_turns(parent: Tree, node: Node) -> None:
    """The turns of a step that is given a conversation."""
    for role, text in node.outline() if isinstance(node, Step) else ():
        line = printable(text)
        shown = line if len(line) <= MAX_TURN else f"{line[: MAX_TURN - 1]}…"
        parent.add(Text(f"[{role}] {shown}", style="dim"))


def _line(node: Node, icons: bool, joins: Joins) -> Text:
    line = _titled(node, node.name, icons)
    if node.name != node.id:
        line.append(f" ({node.id})", style="dim")
    types = f"{type_name(node.input_model)} → {type_name(node.output_model)}"
    line.append(f"  {escaped(types)}", style="dim")
    if isinstance(node, Composite):
        line.append(escaped(_words(node)), style="dim")
    elif isinstance(node, Word):
        word = "" if node.name == node.kind else f"  {node.kind}"
        line.append(escaped(f"{word}  {node.text}".rstrip()), style="dim")
    elif node.engines:
        noun = "engine" if len(node.engines) == 1 else "engines"
        line.append(f"  {noun} {escaped(', '.join(node.engines))}", style="dim")
    line.append(_amounts(node), style="dim")
    line.append(_conditions(node), style="dim")
    line.append(joins.used_by(node), style="dim")
    if getattr(node, "batch", None) is not None:
        line.append(f"  batch {node.batch}", style="dim")  # type: ignore[attr-defined]
    if not node.yield_output:
        line.append("  not in the results", style="dim")
    return line


def _amounts(node: Node) -> str:
    """A step's samples and reasks, or that a function makes several items."""
    if isinstance(node, Step):
        samples = "" if node.samples is None else f"  {node.samples} samples"
        return samples if node.reasks == 1 else f"{samples}  {node.reasks} reasks"
    return "  several items" if isinstance(node, ApplyNode) and node.makes_several else ""


def _titled(node: Node | Branch, title: str, icons: bool) -> Text:
    icon = node.emoji or ICONS[node.kind]
    return Text(escaped(f"{icon} {title}" if icons else title))


def _conditions(node: Node | Branch) -> str:
    """The condition of a node or a branch, and what follows where it does not hold or fails."""
    skipped = node.skipped if isinstance(node, Node) else None
    words = {"when": "if", "otherwise": "else", "on_error": "on error", "default": "on error"}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in condition_fields(node.condition, node.tolerance, skipped).items()
    }
    return "".join(f"  {words[name]} {printable(text)[:60]}" for name, text in texts.items())

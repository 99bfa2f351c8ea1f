"""A node as a card for notebooks; nodes import this to show themselves."""

from __future__ import annotations

from typing import Any

from chainette.messages.brief import brief
from chainette.pipeline.drawing.markup import card, quiet, table, text
from chainette.pipeline.nodes.conditions import condition_fields
from chainette.pipeline.nodes.naming import type_name

MAX_PROMPT = 600
"""Characters of a prompt."""
MAX_TURNS = 8
"""Turns of a conversation."""


def node_card(node: Any) -> str:
    """A node: its types, its engine, its prompts or its function, and when it runs."""
    types = f"{type_name(node.input_model)} → {type_name(node.output_model)}"
    name = f" {text(node.name, 80)}" if node.name != node.id else ""
    title = f"<b>{text(node.id, 80)}</b>{name} {quiet(text(f'{node.kind}, {types}', 200))}"
    rows = [*_prompts(node), *_options(node)]
    cells = [(text(key, 40), text(value, MAX_PROMPT)) for key, value in rows]
    return card(title, table((), cells) if cells else "")


def _prompts(node: Any) -> list[tuple[str, str]]:
    """The templates of a step, or the function of another node."""
    function = getattr(node, "fn", None)
    if function is not None:
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return [("function", f"{function.__module__}.{name}")]
    rows = [("engine", ", ".join(node.engines))] if node.engines else []
    outline = getattr(node, "outline", None)
    turns = [*outline()][:MAX_TURNS] if outline is not None else []
    if turns:
        return rows + [(str(role), str(words)) for role, words in turns]
    names = {"system_prompt": "system", "user_prompt": "user"}
    return rows + [(word, it) for key, word in names.items() if (it := getattr(node, key, ""))]


def _options(node: Any) -> list[tuple[str, str]]:
    """What is set beside its prompts."""
    rows = []
    sampling = getattr(node, "sampling", None)
    if sampling is not None and (given := sampling.model_dump(exclude_unset=True)):
        rows.append(("sampling", ", ".join(f"{key}={brief(it, 60)}" for key, it in given.items())))
    fields = condition_fields(node.condition, node.tolerance, node.skipped)
    rows += [(key, it if isinstance(it, str) else brief(it)) for key, it in fields.items()]
    return rows

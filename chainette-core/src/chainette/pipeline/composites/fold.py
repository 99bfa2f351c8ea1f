"""Groups that are handed over in parts: whether a part sees the output for those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.composites.route import Route
from chainette.pipeline.nodes.conditions import Condition
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.step import Step

SO_FAR = "so_far"


def forgetful_steps(nodes: Sequence[Any]) -> list[Step[Any, Any]]:
    """The steps that take the parts of a group, where nothing reads what came of those before.

    A function may always do so.

    Args:
        nodes: The nodes of a `reduce`.
    """
    for index, node in enumerate(nodes):
        if isinstance(node, Branch):
            if _may_read(node.condition) or not forgetful_steps(node.steps):
                return []
        elif _may_read(node.condition):
            return []
        elif isinstance(node, Step):
            return [] if node.reads(SO_FAR) else [node]
        elif isinstance(node, Composite):
            return _of_ways(node, nodes[index + 1 :])
        else:
            return []
    return []


def _of_ways(composite: Composite[Any, Any], rest: Sequence[Any]) -> list[Step[Any, Any]]:
    """The forgetful steps on the ways through a composite, and behind a way without nodes."""
    if isinstance(composite, Repeat):
        return forgetful_steps([*composite.body, *rest])
    assert isinstance(composite, Route)
    if _may_read(composite.by):
        return []
    ways = (forgetful_steps([*flow, *rest]) for flow in composite.flows)
    return [step for way in ways for step in way]


def _may_read(condition: Condition | None) -> bool:
    if condition is None:
        return False
    return condition.expression is None or SO_FAR in condition.expression.names

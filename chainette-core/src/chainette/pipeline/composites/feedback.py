"""Feedback of repeats that is not used: each round would send the same prompts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_type_hints

from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.conditions import Condition
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.step import Step

_logger = logging.getLogger(__name__)
_COUNTED = frozenset({"previous", "round"})
_NAMES = _COUNTED | {"feedback"}


def warn_of_unused(
    id: str, body: Iterable[Any], until: Condition | None, *, is_counted: bool
) -> None:
    """Warn of a repeat that certainly gives feedback, and whose nodes certainly do not use it.

    Args:
        id: The repeat.
        body: Its nodes.
        until: Its end; `None` for a judge, or for a number of rounds.
        is_counted: Whether all rounds run, so that there is no feedback.
    """
    nodes = [*_nodes(body)]
    steps = [node for node in nodes if isinstance(node, Step)]
    has_other_sampling = any(len(step.samplings) > 1 for step in steps)
    if not steps or has_other_sampling or not (until is None or _gives_text(until)):
        return
    if is_counted:
        if not any(_may_use(node, _COUNTED) for node in nodes):
            _logger.warning(
                "repeat %r: no prompt in it uses previous or round, so each round sends the same "
                "prompt again, and only the last answer counts",
                id,
            )
    elif not any(map(_may_use, nodes)):
        _logger.warning(
            "repeat %r: no prompt in it uses feedback or previous, so each round sends the same "
            "prompt again: add {%% if feedback %%}{{ feedback }}{%% endif %%} to that of step %r",
            id,
            steps[-1].id,
        )


def _gives_text(until: Condition) -> bool:
    """Whether a function says that it returns feedback."""
    if until.function is None:
        return False
    try:
        returned = get_type_hints(until.function).get("return")
    except Exception:  # an annotation that cannot be read, or an object without
        return False
    return returned is str or str in get_args(returned)


def _nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        yield node
        if isinstance(node, Branch):
            yield from _nodes(node.steps)
        elif isinstance(node, Composite):
            yield from _nodes(node.members())


def _may_use(node: Any, names: frozenset[str] = _NAMES) -> bool:
    """Whether a node may look at what a repeat says about the round before."""
    conditions = [getattr(node, name, None) for name in ("condition", "by", "until")]
    if any(it.needs(names) for it in conditions if isinstance(it, Condition)):
        return True
    if isinstance(node, ApplyNode):
        return node.takes_context or bool(node.engines)
    return isinstance(node, Step) and bool(node.needs(names))

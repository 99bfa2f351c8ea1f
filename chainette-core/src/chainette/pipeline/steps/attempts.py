"""The attempts of steps: whether each value of a list of sampling parameters can have its turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chainette.engine.sampling import check_attempts
from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.step import Step


def check_samplings(nodes: Iterable[Any], rounds: int = 1) -> None:
    """Check the sampling parameters of steps that have some for each attempt.

    Args:
        nodes: The nodes.
        rounds: The most rounds that they have in the repeats around them.

    Raises:
        ChainError: A step has more of them than it can make requests for an item.
    """
    for node in nodes:
        if isinstance(node, Branch | Reduce):
            check_samplings(node.steps, rounds)
        elif isinstance(node, Composite):
            more = node.max_rounds if isinstance(node, Repeat) else 1
            check_samplings(node.members(), rounds * more)
        elif isinstance(node, Step):
            check_attempts(f"step {node.id!r}", len(node.samplings), node.reasks, rounds)

"""The nodes that a sample can tell something about."""

from __future__ import annotations

from chainette.pipeline.graph import dependents
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.pipeline import Pipeline
from chainette.run.schedule.flow.nodes import PromptedSteps


class OneRowSteps(PromptedSteps):
    """Steps run as in a run; nodes that see more than their row stop their item."""

    with_groups = False

    def may_call(self, node: Node) -> bool:
        """Whether a node sees no more than its row; see `StepRunner.may_call`."""
        return not node.waits_for_all


def not_estimated(chain: Pipeline) -> dict[str, str]:
    """The nodes that a sample says nothing about, by id, with the reason.

    A node that sees all rows does something else with a sample of them, and what follows it gets
    something else.
    """
    waiting = [id for id, node in chain.nodes.items() if node.waits_for_all]
    found: dict[str, str] = {}
    for first in waiting:
        for id in dependents(chain, [first]):
            reason = "it sees all rows" if id == first else f"it follows {first!r}"
            found.setdefault(id, reason)
    for reduce in chain.group_steps:
        for node in chain.stage_nodes(reduce):
            found.setdefault(node.id, f"it works on the groups of {reduce.id!r}")
    return {id: found[id] for id in chain.nodes if id in found}

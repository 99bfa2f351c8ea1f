"""The decisions of a chain: which way an item takes, and whether a round was good."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chainette.errors import ApplyError, RouteError
from chainette.pipeline.composites.keys import canonical, shown
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.composites.route import Arm, Route
from chainette.pipeline.nodes.conditions import Condition, is_bool
from chainette.pipeline.nodes.node import Node
from chainette.run.item import Item
from chainette.run.output.journal import Journal
from chainette.run.schedule.flow.conditions import asked


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said about the output of a round.

    Attributes:
        passed: Whether it is good.
        feedback: What is wrong with it, if that is known.
    """

    passed: bool
    feedback: str | None = None


class Decisions:
    """Decides, unless an earlier run has done so already.

    Args:
        journal: The decisions so far.
        may_call: Whether the functions of a node may be called.
    """

    def __init__(self, journal: Journal, may_call: Callable[[Node], bool]) -> None:
        self._journal = journal
        self._may_call = may_call

    async def arm(
        self, route: Route, item: Item, names: Mapping[str, Any], value: Any
    ) -> Arm | None:
        """The way that an item takes; `None` where no function may be called.

        Raises:
            ChainetteError: There is no way for its key, or the key cannot be said.
        """
        earlier = self._journal.decision(route, item)
        if earlier is not None and (arm := _earlier_arm(route, earlier)) is not None:
            return arm
        if not self._may_ask(route, route.by):
            return None
        key = await asked(route.by, value, names)
        if (arm := route.arm(key)) is None:
            known = ", ".join(shown(it.key) for it in route.cases)
            raise RouteError(
                f"route {route.id!r} has no case for {reprlib.repr(key)}, and no default; its "
                f"cases are {known}"
            )
        kind, own = canonical(key) or ("", None)
        is_default = {"default": True} if arm is route.otherwise_arm else {}
        case = own if kind else reprlib.repr(key)
        self._journal.decided(route, item, "case", case=case, **is_default)
        return arm

    async def verdict(
        self, repeat: Repeat, item: Item, names: Mapping[str, Any], value: Any, judged: Any
    ) -> Verdict | None:
        """Whether the output of a round is good; `None` where no function may be called.

        Args:
            repeat: The repeat.
            item: The item in the round.
            names: The values that may be looked at, by name.
            value: The output of the round.
            judged: The output of the judge, if there is one.

        Raises:
            ChainetteError: It cannot be said.
        """
        if repeat.is_counted:
            return Verdict(item.round[-1] >= repeat.max_rounds)
        earlier = self._journal.decision(repeat, item)
        if earlier is not None and isinstance(earlier.get("passed"), bool):
            return Verdict(earlier["passed"], earlier.get("feedback"))
        if repeat.until is None:
            verdict = Verdict(judged.ok, None if judged.ok else (judged.feedback or None))
        else:
            if not self._may_ask(repeat, repeat.until):
                return None
            verdict = _verdict(repeat.until, await asked(repeat.until, value, names))
        fields = {"passed": verdict.passed, "feedback": verdict.feedback}
        self._journal.decided(repeat, item, "verdict", **fields)
        return verdict

    def _may_ask(self, node: Node, condition: Condition) -> bool:
        return condition.function is None or self._may_call(node)


def _earlier_arm(route: Route, line: Mapping[str, Any]) -> Arm | None:
    return route.otherwise_arm if line.get("default") else route.arm(line.get("case"))


def _verdict(until: Condition, output: Any) -> Verdict:
    """The verdict that a function or an expression gives.

    Raises:
        ApplyError: It gives something else.
    """
    if output is None or is_bool(output):
        return Verdict(output is None or bool(output))
    if isinstance(output, str) and output.strip():
        return Verdict(False, str(output))
    raise ApplyError(
        f"{until.where} returned {reprlib.repr(output)}; it must return None or True if the output "
        "is good, and False or a text with the feedback if it is not"
    )

"""Flows on their way through routes and repeats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chainette.errors import ApplyError, RepeatError
from chainette.pipeline.composites.composite import Composite, End
from chainette.pipeline.composites.repeat import Repeat, Rounds
from chainette.pipeline.composites.route import Route
from chainette.pipeline.nodes.conditions import Fallback
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.validate import all_nodes
from chainette.reports.result import Leaf
from chainette.run.schedule.composites.decisions import Decisions
from chainette.run.schedule.flow.state import FlowState, Frame


class Composites:
    """Leads flows into composites, and out of them.

    A composite's nodes run in the flow that it is in: it puts them in front of what follows.

    Args:
        decisions: Says which way an item takes, and whether a round was good.
    """

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    async def enter(
        self, composite: Composite, rest: list[Any], state: FlowState
    ) -> list[Any] | None:
        """Lead a flow into a composite.

        Args:
            composite: The composite.
            rest: The nodes behind it.
            state: The state of the flow.

        Returns:
            The nodes that follow; `None` where no function may be called that says which.

        Raises:
            ChainetteError: There is no way for the item.
        """
        frame = state.enter(composite)
        if isinstance(composite, Repeat):
            return _start_round(composite, frame, None, rest, state)
        assert isinstance(composite, Route)
        arm = await self._decisions.arm(composite, state.item, state.names, state.value)
        return None if arm is None else [*arm.nodes, composite.end, *rest]

    async def leave(
        self, composite: Composite, rest: list[Any], state: FlowState, judged: Any
    ) -> list[Any] | None:
        """Lead a flow out of a composite, or into its next round; see `enter`.

        Raises:
            ChainetteError: There was no good round, or that cannot be said.
        """
        frame = state.frames[-1]
        if composite.tolerance is not None and await _has_lost(frame, state):
            _fall_back(composite.tolerance, frame, state)
            return rest
        if isinstance(composite, Repeat):
            return await self._end_round(composite, frame, rest, state, judged)
        state.leave(frame)
        state.names, state.joined = {**frame.names}, frame.joined
        _give(composite, state.value, state)
        return rest

    async def _end_round(
        self, repeat: Repeat, frame: Frame, rest: list[Any], state: FlowState, judged: Any
    ) -> list[Any] | None:
        verdict = await self._decisions.verdict(
            repeat, state.item, state.names, state.value, judged
        )
        if verdict is None:
            return None
        if not verdict.passed and frame.round < repeat.max_rounds:
            following = replace(frame, round=frame.round + 1, feedback=verdict.feedback)
            return _start_round(repeat, following, state.value, rest, state)
        rounds = Rounds(rounds=frame.round, passed=verdict.passed, feedback=verdict.feedback)
        _note_rounds(repeat, rounds, state)
        if not verdict.passed and repeat.exhausted == "fail":
            state.item = frame.item
            said = f": {verdict.feedback}" if verdict.feedback else ""
            count = f"{frame.round} rounds" if frame.round > 1 else "1 round"
            is_expression = repeat.until is not None and repeat.until.expression is not None
            until = f" (until {repeat.until.text})" if is_expression and repeat.until else ""
            raise RepeatError(
                f"repeat {repeat.id!r} was not good after {count}{until}{said}",
                rounds=frame.round,
                feedback=verdict.feedback,
            )
        state.leave(frame)
        for name in ("previous", "feedback", "round"):
            state.names.pop(name, None)
            if name in frame.names:
                state.names[name] = frame.names[name]
        return rest

    def caught(self, leaf: Leaf, nodes: list[Any], state: FlowState) -> list[Any] | None:
        """Let a flow go on behind the composite that tolerates its failure.

        Args:
            leaf: How it ended.
            nodes: The node that failed, and those behind it.
            state: The state of the flow.

        Returns:
            The nodes that follow, or `None` if no composite tolerates it.
        """
        if not leaf.is_tolerated:
            return None
        for frame in reversed(state.frames):
            if frame.composite.tolerance is not None:
                _fall_back(frame.composite.tolerance, frame, state)
                ends = [it.composite if isinstance(it, End) else None for it in nodes]
                if frame.composite in nodes[:1]:  # it has not begun
                    return nodes[1:]
                return nodes[ends.index(frame.composite) + 1 :]
        return None


def skip(composite: Composite, fallback: Any, state: FlowState) -> None:
    """Go on behind a composite whose condition does not hold.

    Args:
        composite: The composite.
        fallback: The `Fallback` in its place, or something else to pass the input on.
        state: The state of the flow.
    """
    state.names[composite.id] = None
    _note_nothing(composite, state)
    if isinstance(fallback, Fallback):
        state.value = fallback.value


def check_split(node: Node, state: FlowState) -> None:
    """Refuse what a function has split in a repeat.

    Raises:
        ApplyError: It is in one.
    """
    for frame in state.frames:
        if frame.composite.repeats:
            repeat = f"in repeat {frame.composite.id!r}"
            raise ApplyError(
                f"{node.kind} {node.id!r} returned a list, but {repeat} the flow goes on with one "
                "item: for one value that is a list, put it into a model; for items, let it run in "
                "a branch, or behind the repeat"
            )


def _start_round(
    repeat: Repeat, frame: Frame, previous: Any, rest: list[Any], state: FlowState
) -> list[Any]:
    """Set the state to the start of a round, and return the nodes that follow."""
    state.frames = (*state.frames[:-1], frame)
    state.item = frame.item.in_round(frame.round)
    state.value, state.joined = frame.value, frame.joined
    state.names = {
        **frame.names,
        "previous": previous,
        "feedback": frame.feedback,
        "round": frame.round,
    }
    state.outputs, state.reasoning = {**frame.outputs}, frame.reasoning
    for subflow in state.beside[frame.branches :]:
        subflow.is_past = True
    return [*repeat.body, repeat.end, *rest]


async def _has_lost(frame: Frame, state: FlowState) -> bool:
    """Whether a branch has failed, of those that began in a composite that tolerates it."""
    lost = False
    for subflow in state.beside[frame.branches :]:
        await subflow.gate.wait(state.activity)
        failure = subflow.unfinished
        lost = lost or (failure is not None and failure.is_tolerated)
    return lost


def _fall_back(fallback: Fallback, frame: Frame, state: FlowState) -> None:
    """Go on behind a composite with the value in its place."""
    composite, rounds = frame.composite, None
    if isinstance(composite, Repeat):
        rounds = Rounds(rounds=frame.round, passed=False, feedback=frame.feedback)
        rounds = state.outputs.get(composite.id, rounds)
    for subflow in state.beside[frame.branches :]:
        subflow.is_excused = True
    state.leave(frame)
    state.names, state.joined = {**frame.names}, frame.joined
    if rounds is None:
        _give(composite, fallback.value, state)
        state.is_fallback = True
        return
    assert isinstance(composite, Repeat)
    _note_nothing(composite, state)
    _note_rounds(composite, rounds, state)
    state.value, state.is_fallback = fallback.value, True


def _note_nothing(composite: Composite, state: FlowState) -> None:
    """Note that the nodes of a composite that later nodes see have no outputs."""
    visible = composite.visible()
    state.names |= dict.fromkeys(visible)
    for node in all_nodes(composite.members()) if visible else ():
        if node.id in visible:
            state.nothing(node)


def _note_rounds(repeat: Repeat, rounds: Rounds, state: FlowState) -> None:
    state.names[repeat.id] = rounds
    if repeat.yield_output:
        state.outputs[repeat.id] = rounds


def _give(composite: Composite, value: Any, state: FlowState) -> None:
    """Go on with a value; where it is `None`, there is no output."""
    if value is None:
        state.names[composite.id] = state.value = None
    else:
        is_fallback = state.is_fallback
        state.passed(composite, value)
        state.is_fallback = is_fallback

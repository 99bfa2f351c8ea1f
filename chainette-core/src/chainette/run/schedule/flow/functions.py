"""Functions of a chain, run on one item each: copies in, checked outputs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, get_origin

from pydantic import ValidationError

from chainette.errors import ApplyError, ChainetteError, Drop
from chainette.events import Listener, NodeFinished
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.copies import copied
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.words.vote import VoteNode
from chainette.pipeline.words.word import KEPT, Kept, Raised, Recorded
from chainette.run.item import Item
from chainette.run.output.journal import Journal
from chainette.run.schedule.batches import Batches, call
from chainette.run.schedule.failures import failure
from chainette.run.schedule.flow.calls import FunctionCalls
from chainette.run.schedule.parking import Activity
from chainette.text import did_you_mean, with_article
from chainette.usage import FREE
from chainette.validation import summary

STOPPED = object()
"""The output of a node that was not run, as in a dry run; its item goes no further."""
_ONE_LIST = "; a list is always several items: put one value that is a list into a model"


@dataclass(frozen=True, slots=True)
class Dropped:
    """The output of a function that dropped its item.

    Attributes:
        reason: The reason, or `None` if it gave none.
    """

    reason: str | None = None


class Split(list[Any]):
    """The output of a function that split its item."""


class Functions:
    """Runs functions, unless an earlier run has done so already.

    Args:
        batches: The batches of functions that take several items.
        journal: The outputs so far.
        emit: Receives events.
    """

    def __init__(self, batches: Batches, journal: Journal, emit: Listener) -> None:
        self._batches = batches
        self._direct = batches.direct
        self._journal = journal
        self._emit = emit

    async def run(
        self,
        node: ApplyNode,
        item: Item,
        names: dict[str, Any],
        value: Any,
        activity: Activity,
        calls: FunctionCalls | None = None,
    ) -> Any:
        """Call a function with an item, and with its calls of engines; see `NodeRunner.run`."""
        start = perf_counter()
        earlier = self._journal.find(node, item, OwnNames(names))
        if earlier is not None:
            output = node.fn(value) if isinstance(node, VoteNode) else earlier.output
        elif calls is None:
            output = await self._output(node, item, names, value, activity)
            if not node.waits_for_all:
                self._journal.function_done(node, item, output)
        else:
            run = partial(self._output, node, item, names, value, activity, calls)
            try:
                output = await calls.run(run)
            except ChainetteError as error:
                if (reason := calls.reason(error)) is error:
                    raise
                raise reason from error.__cause__
            if calls.is_stopped:
                return STOPPED
            self._journal.function_done(node, item, output, calls.fields)
        self._finished(node, item, perf_counter() - start, calls)
        self._journal.items.add(node.id, output)
        if output is KEPT:
            return value
        if output is None or isinstance(output, Drop):
            return Dropped(output.reason or None if output else None)
        return Split(output) if isinstance(output, list) else output

    async def _output(
        self,
        node: ApplyNode,
        item: Item,
        names: dict[str, Any],
        value: Any,
        activity: Activity,
        calls: FunctionCalls | None = None,
    ) -> Any:
        """What a function returns for an item, checked.

        Raises:
            ChainetteError: It failed, or its output does not fit.
        """
        argument, context = value if node.is_pure else own(value), OwnNames(names)
        check = partial(self._journal.codec(node).check, context=OwnNames(names))
        valid = partial(_validated, node, check=check)
        if node.batch is not None:
            return await self._batches.output(node, item, argument, context, activity, valid)
        with self._direct.watched(node):
            return valid(await call(node, argument, context, item.row_id, calls))

    def _finished(
        self, node: ApplyNode, item: Item, seconds: float, calls: FunctionCalls | None
    ) -> None:
        usage, cost = (None, FREE) if calls is None else (calls.spent.usage, calls.spent.cost)
        row, title = item.event_row, item.group_title
        self._emit(NodeFinished(node.id, row, item.name, usage, seconds, cost, title))


def _validated(node: ApplyNode, output: Any, check: Callable[[Any], Any]) -> Any:
    """The output of a function, each of its items checked."""
    if output is None or isinstance(output, Drop | Kept | Recorded):
        return output
    if isinstance(output, Raised):
        reason = output.error
        if isinstance(reason, ChainetteError):
            raise ApplyError(str(reason)) from None
        raise failure(f"{node.kind} {node.id!r}", reason, node.fn) from reason
    parts = output if isinstance(output, list) else [output]
    checked: list[Any] = []
    for index, part in enumerate(parts):
        try:
            checked.append(check(part))
        except ValidationError as error:
            what = "returned" if part is output else f"returned a list whose item {index} is"
            what = f"{node.kind} {node.id!r} {what}"
            hint = _ONE_LIST if part is not output and _is_list(node.output_model) else ""
            raise ApplyError(f"{what} {_misfit(node, part, error)}{hint}") from None
    return checked if parts is output else checked[0]


def _is_list(model: Any) -> bool:
    return (get_origin(model) or model) is list


def _misfit(node: ApplyNode, output: Any, error: ValidationError) -> str:
    """What an output is, and why it is not of the node's type."""
    kind, wanted = with_article(type(output).__name__), with_article(type_name(node.output_model))
    of_kind = all(
        not problem["loc"] and (problem["type"].endswith("_type") or "instance" in problem["type"])
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return f"{kind}, not {wanted}" if of_kind else f"{kind} that is not {wanted}: {summary(error)}"


def own(value: Any) -> Any:
    """A copy that a function can change: others may see the value, too, and files hold it."""
    try:
        return copied(value)
    except Exception:  # of an object that cannot be copied
        return value


class OwnNames(Mapping[str, Any]):
    """The names that a function may see, with copies of their values.

    Args:
        names: The values by name.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names
        self._copies: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The value of a name, the same object each time.

        Raises:
            KeyError: There is no such name.
        """
        if name not in self._copies:
            if name not in self._names:
                known = ", ".join(map(str, self._names)) or "none"
                hint = did_you_mean(str(name), map(str, self._names))
                raise KeyError(f"there is no name {name!r}{hint}; the names are: {known}")
            self._copies[name] = own(self._names[name])
        return self._copies[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is a name."""
        return name in self._names

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a name, or a default."""
        return self[name] if name in self._names else default

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Their number."""
        return len(self._names)

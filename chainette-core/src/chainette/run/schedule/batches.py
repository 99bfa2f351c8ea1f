"""Functions of a chain: calling them, with one item or with several at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio.to_thread
from anyio.abc import TaskGroup
from pydantic import BaseModel

from chainette.errors import ApplyError, ChainetteError, Drop
from chainette.pipeline.nodes.annotations import is_collection
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.words.word import Kept, Recorded
from chainette.run.control import RunControl
from chainette.run.item import Item
from chainette.run.output.journal import Journal
from chainette.run.schedule.direct import DirectRequests
from chainette.run.schedule.failures import failure
from chainette.run.schedule.flow.calls import FunctionCalls
from chainette.run.schedule.parking import Activity, Gate

_PLAIN = (BaseModel, str, int, float, dict, type(None), Drop, Kept, Recorded)
"""Types whose values are one item for certain, or none."""


@dataclass(slots=True)
class WaitingItem:
    """An item that waits for its batch.

    Attributes:
        item: The item.
        value: Its value.
        context: The names that the function may see.
        gate: Opens when the batch is done.
        check: Makes an output of the node's type of what the function returned for it.
        output: The function's output for the item.
        error: The reason why there is no output, or `None`.
    """

    item: Item
    value: Any
    context: Mapping[str, Any]
    gate: Gate
    check: Callable[[Any], Any]
    output: Any = None
    error: Exception | None = None


class Batches:
    """The batches that fill up, one for each node that asks for them, in the chain's order.

    Args:
        nodes: The nodes.
        tasks: The task group that functions run in, if there can be any.
        journal: The outputs so far.
        control: Woken after every batch.

    Attributes:
        running: Batches that a function is working on.
        direct: Notices requests that functions make beside the run.
    """

    def __init__(
        self,
        nodes: list[ApplyNode],
        tasks: TaskGroup | None,
        journal: Journal,
        control: RunControl,
    ) -> None:
        self._nodes = {node.id: node for node in nodes}
        self._waiting: dict[str, list[WaitingItem]] = {node.id: [] for node in nodes}
        self._tasks = tasks
        self._journal = journal
        self._control = control
        self.running: int = 0
        self.direct: DirectRequests = DirectRequests()

    async def output(
        self,
        node: ApplyNode,
        item: Item,
        value: Any,
        context: Mapping[str, Any],
        activity: Activity,
        check: Callable[[Any], Any],
    ) -> Any:
        """Put an item into a batch and wait for the function's output for it.

        Raises:
            ChainetteError: The function failed, or its output is not of its type.
        """
        entry = WaitingItem(item, value, context, Gate(is_batch=True), check)
        waiting = self._waiting[node.id]
        waiting.append(entry)
        if node.batch != "all" and len(waiting) >= (node.batch or 1):
            self._start(node)
        await entry.gate.wait(activity)
        if entry.error is not None:
            raise entry.error
        return entry.output

    def flush(self, *, partial: bool = False) -> bool:
        """Start the first batch that is not full, since nothing more can come.

        Args:
            partial: The input was not read to its end: leave the items that wait for all of it.

        Returns:
            Whether there was such a batch.
        """
        for node in self._nodes.values():
            if self._waiting[node.id] and not (partial and node.batch == "all"):
                self._start(node)
                return True
        return False

    def _start(self, node: ApplyNode) -> None:
        entries, self._waiting[node.id] = self._waiting[node.id], []
        self.running += 1
        assert self._tasks is not None
        self._tasks.start_soon(self._run, node, sorted(entries, key=lambda entry: entry.item))

    async def _run(self, node: ApplyNode, entries: list[WaitingItem]) -> None:
        whole = self._journal.whole(node) if node.waits_for_all else None
        try:
            if whole is None or not whole.take(entries):
                await self._call(node, entries)
                if whole is not None:
                    whole.write(entries)
        except Exception as error:  # the disk, or a defect: no row can continue
            self._control.fail(error)
            for entry in entries:
                entry.error = error
        finally:
            self.running -= 1
            for entry in entries:
                entry.gate.open()
            self._control.wake()

    async def _call(self, node: ApplyNode, entries: list[WaitingItem]) -> None:
        """Call the function, and check what it returned for each item."""
        try:
            values = [entry.value for entry in entries]
            row_ids = [entry.item.row_id for entry in entries]
            with self.direct.watched(node):
                outputs = await call(node, values, [entry.context for entry in entries], row_ids)
            if not isinstance(outputs, list) or len(outputs) != len(entries):
                size = len(outputs) if isinstance(outputs, list) else type(outputs).__name__
                raise ApplyError(
                    f"{node.kind} {node.id!r}: a batch of {len(entries)} items needs a list of the "
                    f"same length, got {size}"
                )
        except ApplyError as error:
            for entry in entries:
                entry.error = error
            return
        for entry, output in zip(entries, outputs, strict=True):
            try:
                entry.output = entry.check(output)
            except ChainetteError as error:
                entry.error = error


async def call(
    node: ApplyNode, value: Any, context: Any, row_id: Any, calls: FunctionCalls | None = None
) -> Any:
    """Call a node's function.

    Args:
        node: The function.
        value: The item, or the list of them with a batch.
        context: The names that it may see, or the list of them.
        row_id: The input row, or the list of them.
        calls: The calls of engines that it makes, if it makes any.

    Returns:
        One item, a list of several, `None` or a `Drop`; with a batch, the list of these for its
        items, or whatever else the function returned.

    Raises:
        ApplyError: It failed, or it is not certain how many items it returned.
    """
    try:
        output = await _begun(node, value, context, row_id, calls)
        if isinstance(output, _PLAIN):
            return output
        if isinstance(output, Awaitable):
            output = await output
        if isinstance(output, AsyncIterator):
            output = [part async for part in output]
        if node.batch is None:
            return _items(node, output)
        if isinstance(output, Iterator) or (is_collection(output) and not isinstance(output, Set)):
            output = list(output)
        return [_items(node, part) for part in output] if isinstance(output, list) else output
    except ApplyError:
        raise
    except Drop as drop:
        return drop if node.batch is None else [drop] * len(value)
    except Exception as error:
        raise failure(f"{node.kind} {node.id!r}", error, node.fn) from error


async def _begun(
    node: ApplyNode, value: Any, context: Any, row_id: Any, calls: FunctionCalls | None
) -> Any:
    """What a node's function returns, or what that has to be awaited or read for."""
    given = calls.given if calls is not None else None
    arguments, keywords = node.parameters.arguments(value, context, row_id, given)
    if not node.threaded or node.is_async:
        return _called(node, arguments, keywords)
    in_thread = anyio.to_thread.run_sync if calls is None else calls.in_thread
    return await in_thread(partial(_called, node, arguments, keywords))


def _called(node: ApplyNode, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """What a node's function returns; of an iterator, all items, in the same thread."""
    output = node.fn(*arguments, **keywords)
    if isinstance(output, Iterator) and node.types.splits is not False:
        return list(output)
    return output


def _items(node: ApplyNode, output: Any) -> Any:
    """The output of a function for one item: one item, or a list of several.

    Raises:
        ApplyError: It is not certain which.
    """
    if isinstance(output, _PLAIN) or node.types.is_one(output):
        return output
    if isinstance(output, Iterator):
        return list(output)
    if not is_collection(output):
        return output
    if node.types.is_open:
        kind = type(output).__name__
        raise ApplyError(
            f"{node.kind} {node.id!r} returned a {kind}, which can be one value or several items: "
            "return a list for several; for one, say so with a return annotation or output_model="
        )
    return list(output)

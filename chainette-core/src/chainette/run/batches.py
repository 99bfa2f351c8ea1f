"""Functions that take many items at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio.abc
import anyio.to_thread

from chainette.errors import ApplyError
from chainette.pipeline.apply import ApplyNode
from chainette.run.activity import Activity, Gate


@dataclass(slots=True)
class Waiting:
    """An item that waits for its batch.

    Attributes:
        place: Row and item path.
        value: The item.
        context: The names that the function may see.
        gate: Opens when the batch is done.
        returned: What the function made of the item.
        error: Why it made nothing of it.
    """

    place: tuple[int, tuple[int, ...]]
    value: Any
    context: Mapping[str, Any]
    gate: Gate
    returned: Any = None
    error: Exception | None = field(default=None)


class Batches:
    """The batches that fill up, one for each node that asks for them, in the chain's order.

    Args:
        nodes: The nodes.
        tasks: Where functions run.
        done: Is called after every batch.
    """

    def __init__(
        self, nodes: list[ApplyNode], tasks: anyio.abc.TaskGroup, done: Callable[[], None]
    ) -> None:
        self._nodes = {node.id: node for node in nodes}
        self._waiting: dict[str, list[Waiting]] = {node.id: [] for node in nodes}
        self._tasks = tasks
        self._done = done
        self.running = 0

    async def take(
        self,
        node: ApplyNode,
        place: tuple[int, tuple[int, ...]],
        value: Any,
        context: Mapping[str, Any],
        activity: Activity,
    ) -> Any:
        """Put an item into a batch and wait for what the function makes of it.

        Raises:
            Exception: The function failed.
        """
        item = Waiting(place, value, context, Gate(activity))
        waiting = self._waiting[node.id]
        waiting.append(item)
        if node.batch != "all" and len(waiting) >= (node.batch or 1):
            self._start(node)
        await item.gate.wait()
        if item.error is not None:
            raise item.error
        return item.returned

    def flush(self, *, partial: bool = False) -> bool:
        """Start the first batch that is not full, since nothing more can come.

        Args:
            partial: The input was not read to its end: leave those alone that wait for all of it.

        Returns:
            Whether there was one.
        """
        for node in self._nodes.values():
            if self._waiting[node.id] and not (partial and node.batch == "all"):
                self._start(node)
                return True
        return False

    def _start(self, node: ApplyNode) -> None:
        items, self._waiting[node.id] = self._waiting[node.id], []
        self.running += 1
        self._tasks.start_soon(self._run, node, sorted(items, key=lambda item: item.place))

    async def _run(self, node: ApplyNode, items: list[Waiting]) -> None:
        try:
            values = [item.value for item in items]
            returned = await call(node, values, [item.context for item in items])
            if not isinstance(returned, list) or len(returned) != len(items):
                found = len(returned) if isinstance(returned, list) else type(returned).__name__
                raise ApplyError(
                    f"apply {node.id!r}: a batch of {len(items)} items needs a list of as many, "
                    f"got {found}"
                )
            for item, made in zip(items, returned, strict=True):
                item.returned = made
        except ApplyError as error:
            for item in items:
                item.error = error
        finally:
            self.running -= 1
            for item in items:
                item.gate.open()
            self._done()


async def call(node: ApplyNode, value: Any, context: Any) -> Any:
    """Call a node's function.

    Raises:
        ApplyError: It failed.
    """
    arguments = (value, context) if node.takes_context else (value,)
    try:
        if node.is_async:
            return await node.fn(*arguments)
        if node.threaded:
            return await anyio.to_thread.run_sync(node.fn, *arguments)
        return node.fn(*arguments)
    except Exception as error:
        message = f"apply {node.id!r} failed: {type(error).__name__}: {error}"
        raise ApplyError(message) from error

"""Which engines the rows in flight may still need, so that the others can be released."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.abc
import anyio.to_thread

from chainette.engine.client import BaseClient
from chainette.pipeline.branch import Branch
from chainette.pipeline.chain import Chain
from chainette.pipeline.step import Step

_users: Counter[tuple[int, int]] = Counter()
_lock = threading.Lock()


class Reach:
    """Counts, for each engine, the flows that still have a step of it before them.

    Args:
        chain: The chain.
        clients: The engines' clients by name.
    """

    def __init__(self, chain: Chain, clients: Mapping[str, BaseClient]) -> None:
        self._ahead: dict[int, frozenset[str]] = {}
        self._note(chain.steps)
        self._flows: Counter[str] = Counter()
        self._clients = clients
        self._in_use: dict[str, BaseClient] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._releasing = 0
        self._released = anyio.Event()

    def enter(self) -> None:
        """The run begins."""
        self._in_use = dict(self._clients)
        for client in self._in_use.values():
            enter(client)

    def no_more_rows(self, tasks: anyio.abc.TaskGroup) -> None:
        """From now on an engine that no flow needs can be released.

        Args:
            tasks: Where it is released.
        """
        self._tasks = tasks
        for engine in list(self._in_use):
            self._release_unneeded(engine)

    async def leave(self) -> None:
        """The run is over: release what is still in use."""
        for engine in list(self._in_use):
            await self._release(engine)

    async def settle(self) -> None:
        """Wait until what is being released is gone: memory may be too short for both."""
        while self._releasing:
            await self._released.wait()

    def hold(self, nodes: Sequence[Any]) -> Hold:
        """The hold of a flow that begins with the first of some nodes."""
        engines = self.ahead(nodes[0]) if nodes else frozenset()
        self._flows.update(engines)
        return Hold(self, engines)

    def ahead(self, node: Any) -> frozenset[str]:
        """The engines of a node, and of those that come after it in its flow."""
        return self._ahead[id(node)]

    def drop(self, engines: frozenset[str]) -> None:
        """A flow no longer needs some engines."""
        for engine in engines:
            self._flows[engine] -= 1
            self._release_unneeded(engine)

    def _release_unneeded(self, engine: str) -> None:
        if self._tasks is not None and not self._flows[engine] and engine in self._in_use:
            self._releasing += 1
            self._tasks.start_soon(self._release_one, engine)

    async def _release_one(self, engine: str) -> None:
        try:
            await self._release(engine)
        finally:
            self._releasing -= 1
            self._released.set()
            self._released = anyio.Event()

    async def _release(self, engine: str) -> None:
        client = self._in_use.pop(engine, None)
        if client is not None:
            with anyio.CancelScope(shield=True):
                await leave(client)

    def _note(self, nodes: Sequence[Any]) -> frozenset[str]:
        engines: frozenset[str] = frozenset()
        for node in reversed(nodes):
            if isinstance(node, Branch):
                engines |= self._note(node.steps)
            elif isinstance(node, Step):
                engines |= {node.engine_name}
            self._ahead[id(node)] = engines
        return engines


class Hold:
    """The engines that one flow may still need.

    Args:
        reach: Counts them.
        engines: Their names at the start of the flow.
    """

    __slots__ = ("_engines", "_reach")

    def __init__(self, reach: Reach, engines: frozenset[str]) -> None:
        self._reach = reach
        self._engines = engines

    def at(self, node: Any) -> None:
        """The flow has come to a node."""
        ahead = self._reach.ahead(node)
        if ahead is not self._engines and (passed := self._engines - ahead):
            self._engines = ahead
            self._reach.drop(passed)

    def end(self) -> None:
        """The flow is over."""
        engines, self._engines = self._engines, frozenset()
        self._reach.drop(engines)


def enter(client: BaseClient) -> None:
    """One more run of this event loop uses an engine."""
    with _lock:
        _users.update(_keys(client))


async def leave(client: BaseClient) -> None:
    """A run is done with an engine.

    The last one of an event loop closes the connections. The last one of the process releases what
    the engine holds, unless it is there to stay.
    """
    with _lock:
        _users.subtract(_keys(client))
        last_here, last = (not _users[key] for key in _keys(client))
        for key in _keys(client):
            if not _users[key]:
                del _users[key]
    if last_here:
        await client.aclose()
    if last and client.config.lazy:
        await anyio.to_thread.run_sync(client.release)


def _keys(client: BaseClient) -> tuple[tuple[int, int], tuple[int, int]]:
    return (id(client), id(asyncio.get_running_loop())), (id(client), 0)

"""Leases of engines: the engines that rows in flight may still need.

An engine that no flow holds a lease of can be released, with the memory that it takes.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from chainette.engine.client.base import BaseClient
from chainette.errors import ConfigError
from chainette.pipeline.composites.composite import Composite
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.pipeline import Pipeline
from chainette.pipeline.validate import all_nodes

ROWS = 64
"""Rows in flight in a chain without engines."""

_users: Counter[tuple[int, int]] = Counter()
_lock = threading.Lock()


class Leases:
    """For each engine, the number of flows that still have a step of it before them.

    Args:
        pipeline: The chain.
        clients: The engines' clients by name.

    Attributes:
        clients: The engines' clients by name.
    """

    def __init__(self, pipeline: Pipeline, clients: Mapping[str, BaseClient]) -> None:
        self._ahead: dict[int, frozenset[str]] = {}
        self._note(pipeline.steps)
        self._flows: Counter[str] = Counter()
        self.clients = clients
        self._in_use: dict[str, BaseClient] = {}
        self._tasks: TaskGroup | None = None
        self._releasing = 0
        self._released = anyio.Event()

    @property
    def requests(self) -> int:
        """The number of requests that the engines take at a time."""
        return sum(client.config.max_concurrency for client in self.clients.values()) or ROWS

    def open(self) -> None:
        """Register the run as a user of its engines."""
        self._in_use = dict(self.clients)
        for client in self._in_use.values():
            _add_user(client)

    def no_more_rows(self, tasks: TaskGroup) -> None:
        """Release every engine as soon as no flow needs it.

        Args:
            tasks: The task group in which engines are released.
        """
        self._tasks = tasks
        for engine in list(self._in_use):
            self._release_unneeded(engine)

    async def close(self) -> None:
        """Release what is still in use, since the run is over."""
        for engine in list(self._in_use):
            await self._release(engine)

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Release what is still in use of an event loop that has ended without `close`."""
        for client in self._in_use.values():
            _, is_last = _drop_user(client, loop)
            if is_last and client.config.lazy:
                client.release()

    async def settled(self) -> None:
        """Wait until no engine is being released: memory may be too short for two."""
        while self._releasing:
            await self._released.wait()

    def lease(self, nodes: Sequence[Any]) -> Lease:
        """The lease of a flow that begins with the first of some nodes."""
        engines = self.ahead(nodes[0]) if nodes else frozenset()
        self._flows.update(engines)
        return Lease(self, engines)

    def ahead(self, node: Any) -> frozenset[str]:
        """The engines of a node, and of the nodes after it in its flow."""
        return self._ahead[id(node)]

    def give_back(self, engines: frozenset[str]) -> None:
        """Count that a flow no longer needs some engines."""
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
                await _remove_user(client)

    def _note(self, nodes: Sequence[Any], behind: frozenset[str] = frozenset()) -> frozenset[str]:
        """Note the engines of nodes, and of those behind them; return the first one's."""
        engines = behind
        for node in reversed(nodes):
            if isinstance(node, Branch):
                engines |= self._note(node.steps)
            elif isinstance(node, Composite):
                engines = self._note_composite(node, engines)
            elif isinstance(node, Reduce):
                # With `fold`, its first node comes again after its last one.
                again = self._note(node.steps) if node.fold else frozenset()
                engines = self._note(node.steps, engines | again)
            elif not engines.issuperset(node.engines):  # equal sets are one: they compare faster
                engines = engines.union(node.engines)
            self._ahead[id(node)] = engines
        return engines

    def _note_composite(self, node: Composite, behind: frozenset[str]) -> frozenset[str]:
        """As `_note`; each round of a repeat may be followed by another."""
        if isinstance(node, Repeat):
            inside = behind.union(*(it.engines for it in all_nodes(node.members())))
            behind = behind if inside == behind else inside
        self._ahead[id(node.end)] = behind
        inside = behind.union(*(self._note(flow, behind) for flow in node.flows))
        return behind if inside == behind else inside


class Lease:
    """The engines that one flow may still need.

    Args:
        leases: The leases of the run.
        engines: Names of the engines at the start of the flow.
    """

    __slots__ = ("_engines", "_leases")

    def __init__(self, leases: Leases, engines: frozenset[str]) -> None:
        self._leases = leases
        self._engines = engines

    def advance(self, node: Any) -> None:
        """Give back the engines that are not needed from a node on."""
        ahead = self._leases.ahead(node)
        if ahead is not self._engines and (passed := self._engines - ahead):
            self._engines = ahead
            self._leases.give_back(passed)

    def end(self) -> None:
        """Give back every engine, since the flow is over."""
        engines, self._engines = self._engines, frozenset()
        self._leases.give_back(engines)


def _add_user(client: BaseClient) -> None:
    with _lock:
        _users.update(_keys(client, asyncio.get_running_loop()))


async def _remove_user(client: BaseClient) -> None:
    """Remove a run from the users of an engine.

    The last user of an event loop closes the connections. The last one of the process releases
    what the engine holds, unless the engine is meant to stay.
    """
    is_last_here, is_last = _drop_user(client, asyncio.get_running_loop())
    if is_last_here:
        await client.aclose()
    if is_last and client.config.lazy:
        await anyio.to_thread.run_sync(client.release)


def _drop_user(client: BaseClient, loop: asyncio.AbstractEventLoop) -> tuple[bool, bool]:
    """Remove a user, and say whether it was the last of its event loop, and of the process."""
    with _lock:
        keys = _keys(client, loop)
        _users.subtract(keys)
        is_last_here, is_last = (not _users[key] for key in keys)
        for key in keys:
            if not _users[key]:
                del _users[key]
    return is_last_here, is_last


def _keys(
    client: BaseClient, loop: asyncio.AbstractEventLoop
) -> tuple[tuple[int, int], tuple[int, int]]:
    return (id(client), id(loop)), (id(client), 0)


def check_prefills(pipeline: Pipeline, clients: Mapping[str, BaseClient]) -> None:
    """Refuse to begin an answer that the engine would not continue.

    Raises:
        ConfigError: An engine cannot.
    """
    for step in pipeline.prompted:
        if step.prefill:
            check_prefill(f"step {step.id!r}", clients[step.engine_name])


def check_prefill(where: str, client: BaseClient) -> None:
    """Refuse to begin an answer that an engine would not continue.

    Args:
        where: The step or call, for messages.
        client: The engine.

    Raises:
        ConfigError: It cannot.
    """
    if not client.capabilities.prefill:
        raise ConfigError(
            f"{where}: its engine {client.config.name!r} (backend {client.config.backend!r}) "
            "cannot continue a prefill: leave it out, and say in the prompt how the answer begins; "
            "or use a backend whose capabilities have prefill, as `chainette plugins list` shows "
            "them"
        )

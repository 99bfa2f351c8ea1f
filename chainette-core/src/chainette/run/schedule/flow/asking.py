"""The engine calls of functions, made by prompting the engines of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chainette.engine.client.asking import Asks
from chainette.engine.client.base import BaseClient
from chainette.engine.client.cache import CacheTurn, RunCache
from chainette.errors import (
    ChainError,
    EngineError,
)
from chainette.events import CallFinished, Listener, NodeRetried
from chainette.pipeline.functions.questions import Question
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.node import Node
from chainette.run.control import RunControl
from chainette.run.item import Item
from chainette.run.output.calls import answer_of
from chainette.run.output.journal import Journal
from chainette.run.schedule.flow.accounts import RowAccounts
from chainette.run.schedule.flow.calls import EngineWatch, FunctionCalls
from chainette.run.schedule.leases import Leases, check_prefill
from chainette.run.schedule.threads import CallThreads
from chainette.types import LLMOutput


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines of a run, and what every request to them goes through.

    Attributes:
        clients: Their clients by name.
        journal: The answers so far.
        leases: The engines that are in use.
        control: Told when no engine can answer, and when there may be room for another row.
        emit: Receives events.
        cache: Earlier answers.
        max_chars: Maximum characters of a prompt.
        uncached: Nodes that are done again, and take no earlier answers.
        accounts: The requests of each row, and their limits.
        watch: The engines that have answered.
    """

    clients: Mapping[str, BaseClient]
    journal: Journal
    leases: Leases
    control: RunControl
    emit: Listener
    cache: RunCache | None
    max_chars: int
    uncached: Collection[str] = ()
    accounts: RowAccounts = field(default_factory=RowAccounts)
    watch: EngineWatch = field(init=False)

    def __post_init__(self) -> None:
        """Watch the engines."""
        object.__setattr__(self, "watch", EngineWatch(self.control))

    def turn(self, node: Node) -> CacheTurn | None:
        """The turn of a node's request at the cache, if there is one."""
        if self.cache is None:
            return None
        return self.cache.turn(reads=node.id not in self.uncached)

    def retried(self, node: Node, item: Item, error: EngineError, seconds: float) -> None:
        """Count that a request of a node is sent again."""
        self.journal.retries[node.id] += 1
        self.emit(NodeRetried(node.id, item.event_row, item.name, error, seconds, item.group_title))
        self.control.wake()


class EngineCalls:
    """Calls of functions, made by prompting their engines unless an earlier run has done so.

    Args:
        engines: The engines.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._threads = CallThreads(max(engines.leases.requests, 8))
        # A function may ask very much at once; what waits here can still be stopped.
        self._rooms = {
            name: asyncio.Semaphore(2 * client.max_concurrency)
            for name, client in engines.clients.items()
        }

    def of(self, node: ApplyNode, item: Item, names: Mapping[str, Any]) -> FunctionCalls:
        """The calls of a function for an item, whose validators see some names."""
        attempt = self._engines.journal.calls.attempt(node.id, item)
        place = {"attempt": attempt} if attempt else {}
        return FunctionCalls(node, partial(self._answer, node, item, names, place), self._threads)

    async def _answer(
        self,
        node: ApplyNode,
        item: Item,
        names: Mapping[str, Any],
        attempt: Mapping[str, int],
        calls: FunctionCalls,
        question: Question,
    ) -> Any:
        """The answer to one call.

        Raises:
            EngineError: There is no usable one.
            ChainError: The prompt cannot be sent.
        """
        self._check(question)
        place: dict[str, Any] = {**attempt, "call": question.digest}
        if ordinal := calls.ordinal(question.digest):
            place["nth"] = ordinal
        number = calls.asked
        earlier = self._engines.journal.calls.find(node.id, item, question, place, names)
        if earlier is not None:
            return calls.replayed(earlier, number)
        await self._engines.leases.settled()
        async with self._rooms[question.engine]:
            if self._engines.control.is_over or self._engines.control.is_spent:
                await calls.stop()
            with calls.sending():
                output, fields = await self._asked(node, item, names, question)
                if not self._engines.watch.check(question.engine, output.error):
                    fields |= place
                self._ended(node, item, question, output, fields)
                calls.ended(output.usage, output.cost, is_new=True)
        if self._engines.control.is_over:
            await calls.stop()
        if output.error is not None:
            output.error.usage, output.error.cost = output.usage, output.cost
            calls.fail(output.error, number)
        return answer_of(output)

    def _check(self, question: Question) -> None:
        """Refuse what the engine cannot be sent.

        Raises:
            ChainError: The prompt is too long.
            ConfigError: The engine cannot continue the start of an answer.
        """
        check_size(question, self._engines.max_chars)
        if question.has_prefill:
            where = f"calls[{question.engine!r}].ask"
            check_prefill(where, self._engines.clients[question.engine])

    async def _asked(
        self, node: ApplyNode, item: Item, names: Mapping[str, Any], question: Question
    ) -> tuple[LLMOutput, dict[str, Any]]:
        """The output of an engine, and what the line of the call says about its request."""
        turn = self._engines.turn(node)
        output = await self._engines.clients[question.engine].complete(
            question.messages,
            question.samplings[0],
            output_model=question.output_model,
            context=names,
            cache=turn,
            asks=self._asks(item, question),
            on_retry=partial(self._engines.retried, node, item),
        )
        return output, {**turn.fields} if turn is not None else {}

    def _asks(self, item: Item, question: Question) -> Asks:
        """The requests that an answer may take, in the bounds of its row."""
        accounts = self._engines.accounts
        samplings = question.samplings if len(question.samplings) > 1 else ()
        bound = accounts.of(item.owner) if accounts.is_limited else None
        return Asks(question.reasks, samplings, bound=bound)

    def _ended(
        self,
        node: ApplyNode,
        item: Item,
        question: Question,
        output: LLMOutput,
        fields: Mapping[str, Any],
    ) -> None:
        """Count and write down a call that has ended."""
        self._engines.journal.ledger.add(node.id, output.usage, output.cost)
        self._engines.journal.calls.done(node.id, item, question, output, fields)
        self._engines.emit(
            CallFinished(
                node.id,
                item.event_row,
                item.name,
                question.engine,
                output.usage,
                output.latency,
                output.cost,
                output.error,
            )
        )


def check_size(question: Question, most: int) -> None:
    """Refuse a prompt that is too long.

    Raises:
        ChainError: A message has too many characters.
    """
    longest = max(len(message["content"]) for message in question.messages)
    if longest > most:
        raise ChainError(
            f"a prompt for engine {question.engine!r} has {longest:,} characters "
            f"(max_prompt_chars={most}): shorten it, or raise the limit"
        )

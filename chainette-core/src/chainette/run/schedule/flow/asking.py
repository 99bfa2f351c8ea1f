"""The engine calls of functions, made by prompting the engines of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from chainette.engine.client.asking import ONE_MORE, Asks
from chainette.engine.client.base import BaseClient
from chainette.engine.client.cache import RunCache
from chainette.errors import (
    ChainError,
    EngineError,
)
from chainette.events import CallFinished, Listener, NodeRetried
from chainette.pipeline.functions.calls import Question
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.run.control import RunControl
from chainette.run.item import Item
from chainette.run.output.calls import answer_of
from chainette.run.output.journal import Journal
from chainette.run.schedule.flow.accounts import RowAccounts
from chainette.run.schedule.flow.calls import EngineWatch, FunctionCalls
from chainette.run.schedule.leases import Leases
from chainette.run.schedule.threads import CallThreads
from chainette.types import LLMOutput


class EngineCalls:
    """Calls of functions, made by prompting their engines unless an earlier run has done so.

    Args:
        clients: The engines' clients by name.
        journal: The calls so far.
        leases: The engines that are in use.
        control: Told when no engine can answer, and when there may be room for another row.
        emit: Receives events.
        cache: Earlier answers.
        max_chars: Maximum characters of a prompt.
        uncached: Functions that are done again, and take no earlier answers.
        watch: The engines that have answered.
        accounts: The requests that each row has taken.
    """

    def __init__(
        self,
        clients: Mapping[str, BaseClient],
        journal: Journal,
        leases: Leases,
        control: RunControl,
        emit: Listener,
        cache: RunCache | None,
        max_chars: int,
        uncached: Collection[str],
        watch: EngineWatch,
        accounts: RowAccounts,
    ) -> None:
        self._clients = clients
        self._journal = journal
        self._leases = leases
        self._control = control
        self._emit = emit
        self._cache = cache
        self._max_chars = max_chars
        self._uncached = uncached
        self._watch = watch
        self._accounts = accounts
        self._threads = CallThreads(max(leases.requests, 8))
        # A function may ask very much at once; what waits here can still be stopped.
        self._rooms = {
            name: asyncio.Semaphore(2 * client.max_concurrency) for name, client in clients.items()
        }

    def of(self, node: ApplyNode, item: Item, names: Mapping[str, Any]) -> FunctionCalls:
        """The calls of a function for an item, whose validators see some names."""
        attempt = self._journal.calls.attempt(node.id, item)
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
            ChainError: The prompt is too long.
        """
        check_size(question, self._max_chars)
        place: dict[str, Any] = {**attempt, "call": question.digest}
        if ordinal := calls.ordinal(question.digest):
            place["nth"] = ordinal
        earlier = self._journal.calls.find(node.id, item, question, place, names)
        if earlier is not None:
            calls.ended(earlier.usage, earlier.cost, is_new=False)
            return calls.fail(earlier.error) if earlier.error is not None else earlier.value
        await self._leases.settled()
        async with self._rooms[question.engine]:
            if self._control.is_over or self._control.is_spent:
                await calls.stop()
            with calls.sending():
                output, fields = await self._asked(node, item, names, question)
                if not self._watch.check(question.engine, output.error):
                    fields |= place
                self._ended(node, item, question, output, fields)
                calls.ended(output.usage, output.cost, is_new=True)
        if self._control.is_over:
            await calls.stop()
        if output.error is not None:
            output.error.usage, output.error.cost = output.usage, output.cost
            calls.fail(output.error)
        return answer_of(output)

    async def _asked(
        self, node: ApplyNode, item: Item, names: Mapping[str, Any], question: Question
    ) -> tuple[LLMOutput, dict[str, Any]]:
        """The output of an engine, and what the line of the call says about its request."""
        reads = node.id not in self._uncached
        turn = self._cache.turn(reads=reads) if self._cache is not None else None
        output = await self._clients[question.engine].complete(
            question.messages,
            question.sampling,
            output_model=question.output_model,
            context=names,
            cache=turn,
            asks=self._bounds(item),
            on_retry=partial(self._retried, node, item),
        )
        return output, {**turn.fields} if turn is not None else {}

    def _bounds(self, item: Item) -> Asks:
        """The requests that an answer may take, in the bounds of its row."""
        accounts = self._accounts
        return Asks(bound=accounts.of(item.owner)) if accounts.is_limited else ONE_MORE

    def _ended(
        self,
        node: ApplyNode,
        item: Item,
        question: Question,
        output: LLMOutput,
        fields: Mapping[str, Any],
    ) -> None:
        """Count and write down a call that has ended."""
        self._journal.ledger.add(node.id, output.usage, output.cost)
        self._journal.calls.done(node.id, item, question, output, fields)
        self._emit(
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

    def _retried(self, node: ApplyNode, item: Item, error: EngineError, seconds: float) -> None:
        self._journal.retries[node.id] += 1
        self._emit(
            NodeRetried(node.id, item.event_row, item.name, error, seconds, item.group_title)
        )
        self._control.wake()


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

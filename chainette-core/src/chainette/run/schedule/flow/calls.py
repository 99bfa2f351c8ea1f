"""Engine calls of functions: through the run, durable, and stopped with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

import anyio

from chainette.engine.client.base import BaseClient
from chainette.engine.client.cache import RunCache
from chainette.errors import (
    ApplyError,
    ChainError,
    ChainetteError,
    EngineError,
    OutputError,
    OutputTruncatedError,
    RefusalError,
)
from chainette.events import CallFinished, Listener, NodeRetried
from chainette.pipeline.calls import Calls, Question, SyncCalls
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.run.control import RunControl
from chainette.run.item import Item
from chainette.run.output.calls import answer_of
from chainette.run.output.journal import Journal
from chainette.run.schedule.leases import Leases
from chainette.run.schedule.threads import CallThreads
from chainette.types import LLMOutput
from chainette.usage import Spending, Usage, dollars


class EngineWatch:
    """The engines that have answered; one that cannot be expected to answer ends the run.

    Args:
        control: The control of the run.
    """

    def __init__(self, control: RunControl) -> None:
        self._control = control
        self._answered: set[str] = set()

    def check(self, engine: str, error: EngineError | None) -> bool:
        """End the run if an engine cannot be expected to answer any row, and say whether it did."""
        if error is not None and error.unusable and engine not in self._answered:
            self._control.fail(error)
        elif error is not None and error.final:
            self._control.stop(error)
        else:
            self._answered.add(engine)
            return False
        return True


class FunctionCalls:
    """The calls of one function for one item.

    Args:
        node: The function.
        ask: Asks an engine.
        threads: The threads that functions block in.

    Attributes:
        given: What the function gets as its parameter `calls`.
        is_stopped: Whether the function was given up; what it returns does not count.
        count: The number of calls that have ended.
        paid: What they took, those of an earlier run included.
        spent: What those of this run took.
    """

    def __init__(
        self,
        node: ApplyNode,
        ask: Callable[[FunctionCalls, Question], Awaitable[Any]],
        threads: CallThreads,
    ) -> None:
        self._node = node
        self._ask = ask
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._scope = anyio.CancelScope()
        self._asking: set[asyncio.Task[Any]] = set()
        self._over, self._idle = anyio.Event(), anyio.Event()
        self._ordinals: Counter[str] = Counter()
        self._errors: list[EngineError] = []
        where = f"apply {node.id!r}"
        self.given: Calls | SyncCalls = (
            Calls(where, node.engines, self._asked)
            if node.awaits
            else SyncCalls(where, node.engines, self._blocking)
        )
        self.is_stopped: bool = False
        self.count: int = 0
        self.paid, self.spent = Spending(), Spending()

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the function's line about its calls; each of them has its own line."""
        if not self.count:
            return {}
        usage = self.paid.usage
        more = {} if usage is None else {"usage": usage.as_dict()}
        return {**more, "cost": dollars(self.paid.cost), "calls": self.count}

    def ordinal(self, digest: str) -> int:
        """The number of equal requests before one more."""
        self._ordinals[digest] += 1
        return self._ordinals[digest] - 1

    def ended(self, usage: Usage | None, cost: Decimal | None, *, is_new: bool) -> None:
        """Count a call.

        Args:
            usage: Tokens that it took.
            cost: US dollars that it cost.
            is_new: Whether it was made in this run.
        """
        self.count += 1
        self.paid.add(usage, cost)
        if is_new:
            self.spent.add(usage, cost)

    def fail(self, error: EngineError) -> NoReturn:
        """Raise the error of a call in the function.

        Raises:
            EngineError: The error.
        """
        self._errors.append(error)
        raise error

    def reason(self, error: ChainetteError) -> ChainetteError:
        """The error of the function's row: that of a call itself, where the function let it pass.

        Args:
            error: What calling the function has raised.
        """
        passed = {id(it) for it in _inside(error.__cause__)}
        found = next((it for it in self._errors if id(it) in passed), error)
        if isinstance(found, EngineError | ApplyError):
            found.usage, found.cost = self.paid.usage, self.paid.cost
            found.calls = self.count
        return found

    async def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Call the function; what it returns does not count if it was stopped.

        Args:
            work: Calls it.
        """
        with self._scope:
            try:
                return await work()
            except Exception:
                if not self.is_stopped:
                    raise
            finally:
                self._over.set()
                await self._last_calls()
        return None

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Call a function that blocks in a thread; its calls are cancelled with it."""
        return await self._threads.run(work, self._cancel)

    async def stop(self) -> NoReturn:
        """Give the function up, whatever it catches.

        Raises:
            asyncio.CancelledError: Always.
        """
        self.is_stopped = True
        self._scope.cancel()
        await self._over.wait()  # in the function's own task, the scope ends it here
        raise asyncio.CancelledError

    async def _asked(self, question: Question) -> Any:
        if self._over.is_set():
            raise RuntimeError(f"apply {self._node.id!r}: calls are of no use after it has ended")
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            return await self._ask(self, question)
        finally:
            self._asking.discard(task)
            if not self._asking:
                self._idle.set()

    def _blocking(self, question: Question) -> Any:
        """Ask from a thread, any that the function uses."""
        return self._threads.wait(self._loop, partial(self._asked, question))

    async def _last_calls(self) -> None:
        """Wait for calls that the function has left running: they are paid for."""
        try:
            await self._quiet()
        except asyncio.CancelledError:
            self._cancel()
            with anyio.CancelScope(shield=True):
                await self._quiet()
            raise

    async def _quiet(self) -> None:
        while self._asking:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _cancel(self) -> None:
        self._over.set()
        for task in self._asking:
            task.cancel()


def _inside(error: BaseException | None) -> Iterator[BaseException]:
    """An error, or those in a group of them."""
    if error is not None:
        yield error
    for part in getattr(error, "exceptions", ()):
        yield from _inside(part)


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
        self._threads = CallThreads(max(leases.requests, 8))

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
            if earlier.error is not None:
                calls.fail(earlier.error)
            return earlier.value
        await self._leases.settled()
        if self._control.is_over or self._control.is_spent:
            await calls.stop()
        output, fields = await self._asked(node, item, names, question)
        is_end = self._watch.check(question.engine, output.error)
        if not is_end:
            fields |= place
        self._ended(node, item, question, output, fields)
        calls.ended(output.usage, output.cost, is_new=True)
        if is_end or self._control.is_over:
            await calls.stop()
        if output.error is not None:
            output.error.usage, output.error.cost = output.usage, output.cost
            calls.fail(output.error)
        return answer_of(question.output_model, output)

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
            on_retry=partial(self._retried, node, item),
        )
        if question.output_model is None and output.error is None:
            output.error = _unusable(question, output)
        return output, {**turn.fields} if turn is not None else {}

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
                item.row_id,
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
        self._emit(NodeRetried(node.id, item.row_id, item.name, error, seconds))
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


def _unusable(question: Question, output: LLMOutput) -> OutputError | None:
    """The reason why a text is not whole, or `None`."""
    completion, where = output.outputs[0], f"engine {question.engine!r}"
    error: OutputError | None = None
    if completion.finish_reason == "length":
        limit = question.sampling.max_tokens or "the server's limit"
        error = OutputTruncatedError(f"{where}: output cut at max_tokens={limit}: raise max_tokens")
    elif completion.finish_reason in ("refusal", "content_filter"):
        error = RefusalError(f"{where}: no answer ({completion.finish_reason})")
    if error is not None:
        error.engine, error.raw_text = question.engine, completion.text
    return error

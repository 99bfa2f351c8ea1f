"""Engine calls of functions: through the run, durable, and stopped with it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from copy import copy
from decimal import Decimal
from functools import partial
from typing import Any, NoReturn

import anyio

from chainette.errors import (
    ApplyError,
    ChainetteError,
    EngineError,
)
from chainette.pipeline.functions.calls import Calls, SyncCalls
from chainette.pipeline.functions.questions import Question
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.run.control import RunControl
from chainette.run.output.calls import Replay
from chainette.run.schedule.threads import CallThreads
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
        self._sending, self._unsent = 0, anyio.Event()
        self._is_cancelled = False
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
        self.paid: Spending = Spending()
        self.spent: Spending = Spending()

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

    @property
    def asked(self) -> int:
        """The number of calls so far."""
        return self._ordinals.total()

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

    def replayed(self, replay: Replay, number: int) -> Any:
        """The answer to a call that an earlier run has made, counted.

        Raises:
            EngineError: There was none; see `fail`.
        """
        self.ended(replay.usage, replay.cost, is_new=False)
        return replay.value if replay.error is None else self.fail(replay.error, number)

    def fail(self, error: EngineError, number: int) -> NoReturn:
        """Raise the error of a call in the function.

        Args:
            error: The error; several calls may have the same.
            number: The number of the call, from 1.

        Raises:
            EngineError: The error, which says which call it is of.
        """
        told = copy(error)
        told.args = (f"{error} (in call {number} of function {self._node.id!r})",)
        self._errors.append(told)
        raise told

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
        """Give the function up, whatever it catches, once what it has sent is answered.

        Raises:
            asyncio.CancelledError: Always.
        """
        self.is_stopped = True
        while self._sending:
            self._unsent = anyio.Event()
            await self._unsent.wait()
        self._scope.cancel()
        await self._over.wait()  # in the function's own task, the scope ends it here
        raise asyncio.CancelledError

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Count a request as sent, until the block ends."""
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1
            if not self._sending:
                self._unsent.set()

    async def _asked(self, question: Question) -> Any:
        if self._is_cancelled:
            raise asyncio.CancelledError
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
        self._is_cancelled = True
        self._over.set()
        for task in self._asking:
            task.cancel()


def _inside(error: BaseException | None) -> Iterator[BaseException]:
    """An error, or those in a group of them."""
    if error is not None:
        yield error
    for part in getattr(error, "exceptions", ()):
        yield from _inside(part)

"""Limits of an engine, shared by everything in a process that uses it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import anyio
import pytest
from chainette import EngineConfig
from chainette.engine.client.limits import Limits
from chainette.engine.limits.concurrency import Concurrency, Sending
from chainette.engine.limits.rate import Rate
from chainette.errors import RequestError, ServerError
from chainette.usage import Usage


def limits(**fields: object) -> Limits:
    return Limits(EngineConfig(name="e", backend="b", **fields))


def answer_all(state: Limits, count: int) -> None:
    """Answer requests of which all slots are full, one after another."""

    async def call() -> None:
        sent = deque[Sending]()
        for _ in range(count):
            while len(sent) < state.slots.limit:
                await state.slots.acquire()
                sent.append(state.slots.send())
            state.answered(sending=sent[0])
            state.slots.release(sent.popleft())
        for sending in sent:
            state.slots.release(sending)

    anyio.run(call)


async def use_slot(slots: Concurrency, seconds: float, counts: list[int]) -> None:
    await slots.acquire()
    counts.append(slots._taken)
    await anyio.sleep(seconds)
    slots.release()


def test_slots_are_shared_by_threads_with_their_own_event_loops() -> None:
    slots, counts = Concurrency(3), list[int]()

    def work(_: int) -> None:
        async def several() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(use_slot, slots, 0.002, counts)

        anyio.run(several)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert len(counts) == 120
    assert max(counts) == 3
    assert slots._taken == 0


def test_slots_are_granted_in_the_order_of_the_requests() -> None:
    async def call() -> list[int]:
        slots, order = Concurrency(1), list[int]()

        async def request(number: int) -> None:
            await slots.acquire()
            order.append(number)
            await anyio.sleep(0)
            slots.release()

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(request, number)
        return order

    assert anyio.run(call) == list(range(10))


def test_a_cancelled_wait_does_not_take_a_slot() -> None:
    async def call() -> None:
        slots = Concurrency(1)
        await slots.acquire()
        for _ in range(3):
            with anyio.move_on_after(0.001):
                await slots.acquire()
        waiting = asyncio.ensure_future(slots.acquire())
        await anyio.sleep(0)
        slots.release()  # grants the slot at the moment when the wait is cancelled
        waiting.cancel()
        await asyncio.wait([waiting])
        with anyio.fail_after(1):
            await slots.acquire()

    anyio.run(call)


def test_a_wait_in_a_closed_loop_does_not_take_a_slot() -> None:
    slots = Concurrency(1)

    async def take() -> None:
        await slots.acquire()

    anyio.run(take)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(take())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    slots.release()
    anyio.run(take)
    del waiting


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_child_of_a_fork_starts_with_free_slots() -> None:
    state = limits(max_concurrency=1)

    async def fork() -> int:
        await state.slots.acquire()
        child = os.fork()
        if child == 0:
            os._exit(0 if state.slots._taken == 0 else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert anyio.run(fork) == 0


def test_the_number_of_slots_halves_at_once_and_grows_back_slowly() -> None:
    state = limits(max_concurrency=16)
    for _ in range(5):  # refusals at the same time count as one
        state.pause(0.01)
    assert state.slots.limit == 8
    answer_all(state, 30)
    assert 10 <= state.slots.limit < 16
    answer_all(state, 200)
    assert state.slots.limit == 16


def test_a_pause_delays_all_requests() -> None:
    async def call() -> list[float]:
        state = limits()
        state.pause(0.1)
        start, waits = monotonic(), list[float]()

        async def one() -> None:
            await state.wait([], None)
            waits.append(monotonic() - start)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)
        return waits

    waits = anyio.run(call)
    assert min(waits) >= 0.1
    assert max(waits) - min(waits) > 0.02  # not all at the same moment


def test_a_rate_allows_a_burst_of_one_second_and_spreads_the_rest() -> None:
    rate = Rate(600)  # ten a second
    waits = [rate.reserve(1) for _ in range(40)]
    assert waits[:10] == [0.0] * 10
    assert waits[-1] == pytest.approx(2.9, abs=0.1)
    assert Rate(None).reserve(10**9) == 0.0


def test_booked_tokens_are_corrected_to_the_actual_usage() -> None:
    async def call() -> tuple[float, float]:
        state = limits(tokens_per_minute=60_000)  # a thousand a second
        prompt = [{"role": "user", "content": "x" * 400}]
        booked = await state.wait(prompt, 900)  # type: ignore[arg-type]
        assert booked == 1000
        state.answered(booked, Usage(100, 20))
        owed = state._tokens._owed
        return owed, await state.wait(prompt, 900)  # type: ignore[arg-type]

    owed, booked = anyio.run(call)
    assert owed == pytest.approx(120, abs=20)
    assert booked == 120  # the next completion is expected to be as long as the last one


def test_a_refused_request_counts_as_an_answer() -> None:
    state = limits()
    state.failed(ServerError("x"))
    assert (state.failures, state.answered_at) == (1, None)
    state.failed(RequestError("x"))
    assert state.failures == 0
    assert state.answered_at is not None


def test_slots_do_not_leak_on_cancellation() -> None:
    slots = Concurrency(2)

    async def some() -> None:
        async def one(number: int) -> None:
            with anyio.move_on_after(0.001 * (number % 4)):
                await slots.acquire()
                try:
                    await anyio.sleep(0.002)
                finally:
                    slots.release()

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(one, number)

    threads = [threading.Thread(target=anyio.run, args=(some,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert slots._taken == 0
    assert not slots._waiting

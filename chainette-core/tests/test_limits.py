"""Limits of an engine, shared by all that use it in a process."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import anyio
import pytest
from chainette import EngineConfig
from chainette.engine.client.limits import Concurrency, Limits, Rate
from chainette.errors import RequestError, ServerError
from chainette.usage import Usage


def limits(**fields: object) -> Limits:
    return Limits(EngineConfig(name="e", backend="b", **fields))


async def hold(places: Concurrency, seconds: float, seen: list[int]) -> None:
    await places.acquire()
    seen.append(places._taken)
    await anyio.sleep(seconds)
    places.release()


def test_slots_are_shared_by_threads_with_event_loops_of_their_own() -> None:
    places, seen = Concurrency(3), list[int]()

    def work(_: int) -> None:
        async def several() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(hold, places, 0.002, seen)

        anyio.run(several)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert len(seen) == 120
    assert max(seen) == 3
    assert places._taken == 0


def test_slots_are_given_in_the_order_of_asking() -> None:
    async def call() -> list[int]:
        places, order = Concurrency(1), list[int]()

        async def ask(number: int) -> None:
            await places.acquire()
            order.append(number)
            await anyio.sleep(0)
            places.release()

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(ask, number)
        return order

    assert anyio.run(call) == list(range(10))


def test_a_cancelled_wait_takes_no_place() -> None:
    async def call() -> None:
        places = Concurrency(1)
        await places.acquire()
        for _ in range(3):
            with anyio.move_on_after(0.001):
                await places.acquire()
        waiting = asyncio.ensure_future(places.acquire())
        await anyio.sleep(0)
        places.release()  # grants the place in the same moment as the wait is cancelled
        waiting.cancel()
        await asyncio.wait([waiting])
        with anyio.fail_after(1):
            await places.acquire()

    anyio.run(call)


def test_a_loop_that_is_gone_takes_no_place() -> None:
    places = Concurrency(1)

    async def take() -> None:
        await places.acquire()

    anyio.run(take)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(take())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    places.release()
    anyio.run(take)
    del waiting


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_starts_with_free_slots() -> None:
    places = limits(max_concurrency=1)

    async def fork() -> int:
        await places.slots.acquire()
        child = os.fork()
        if child == 0:
            os._exit(0 if places.slots._taken == 0 else 1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert anyio.run(fork) == 0


def test_the_number_of_slots_halves_at_once_and_grows_back_slowly() -> None:
    state = limits(max_concurrency=16)
    for _ in range(5):  # refused all at once: this counts as one
        state.pause(0.01)
    assert state.slots.limit == 8
    for _ in range(30):
        state.answered()
    assert 10 <= state.slots.limit < 16
    for _ in range(200):
        state.answered()
    assert state.slots.limit == 16


def test_a_pause_holds_everybody_back() -> None:
    async def call() -> list[float]:
        state = limits()
        state.pause(0.1)
        begun, waited = monotonic(), list[float]()

        async def one() -> None:
            await state.wait([], None)
            waited.append(monotonic() - begun)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)
        return waited

    waited = anyio.run(call)
    assert min(waited) >= 0.1
    assert max(waited) - min(waited) > 0.02  # not all in the same moment


def test_a_rate_lets_a_second_through_at_once_and_the_rest_evenly() -> None:
    rate = Rate(600)  # ten a second
    waits = [rate.reserve(1) for _ in range(40)]
    assert waits[:10] == [0.0] * 10
    assert waits[-1] == pytest.approx(2.9, abs=0.1)
    assert Rate(None).reserve(10**9) == 0.0


def test_tokens_are_corrected_to_what_was_spent() -> None:
    async def call() -> tuple[float, float]:
        state = limits(tokens_per_minute=60_000)  # a thousand a second
        prompt = [{"role": "user", "content": "x" * 400}]
        booked = await state.wait(prompt, 900)  # type: ignore[arg-type]
        assert booked == 1000
        state.answered(booked, Usage(100, 20))
        spent = state._tokens._owed
        return spent, await state.wait(prompt, 900)  # type: ignore[arg-type]

    spent, booked = anyio.run(call)
    assert spent == pytest.approx(120, abs=20)
    assert booked == 120  # the next completion is expected to be as long as the last one


def test_a_refused_request_is_an_answer_of_the_engine() -> None:
    state = limits()
    state.failed(ServerError("x"))
    assert (state.failures, state.answered_at) == (1, None)
    state.failed(RequestError("x"))
    assert state.failures == 0
    assert state.answered_at is not None


def test_slots_do_not_leak_however_their_holders_end() -> None:
    places = Concurrency(2)

    async def some() -> None:
        async def one(number: int) -> None:
            with anyio.move_on_after(0.001 * (number % 4)):
                await places.acquire()
                try:
                    await anyio.sleep(0.002)
                finally:
                    places.release()

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(one, number)

    threads = [threading.Thread(target=anyio.run, args=(some,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert places._taken == 0
    assert not places._waiting

"""Slots for requests in flight: how their number follows what a server answers in time."""

from __future__ import annotations

import anyio
import pytest
from chainette.engine.limits import concurrency
from chainette.engine.limits.concurrency import Concurrency, Sending
from hypothesis import given
from hypothesis import strategies as st


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(concurrency, "monotonic", clock)
    return clock


async def fill(slots: Concurrency) -> list[Sending]:
    """Send a request with every slot that is free."""
    sent: list[Sending] = []
    while slots._taken < slots.limit:
        await slots.acquire()
        sent.append(slots.send())
    return sent


async def limits_after(slots: Concurrency, clock: Clock, seconds: float, rounds: int) -> list[int]:
    """The numbers of slots when full rounds are answered after some seconds each."""
    limits: list[int] = []
    sent: list[Sending] = []
    for _ in range(rounds):
        sent += await fill(slots)
        clock.now += seconds
        for sending in sent:
            slots.answer(sending, clock.now)
            slots.release(sending)
        sent.clear()
        limits.append(slots.limit)
    return limits


def first_slots(maximum: int = 64, timeout: float = 60.0) -> Concurrency:
    slots = Concurrency(maximum, timeout=timeout)
    slots.begin_with(8)
    return slots


@pytest.mark.parametrize(
    ("seconds", "limits"),
    [
        (0.1, [64, 64]),  # 64 in line would be answered in time
        (5.0, [16, 64]),
        (20.0, [16, 32, 64]),
        (35.0, [11, 16, 23, 33, 48, 64]),
        (55.0, [8, 8]),
    ],
)
def test_slots_grow_as_far_as_answers_stay_in_time(
    seconds: float, limits: list[int], clock: Clock
) -> None:
    assert anyio.run(limits_after, first_slots(), clock, seconds, len(limits)) == limits


def test_an_explicit_number_is_used_from_the_start_and_is_never_passed(clock: Clock) -> None:
    assert Concurrency(40).limit == 40
    assert first_slots(4).limit == 4
    assert anyio.run(limits_after, first_slots(20), clock, 1.0, 2) == [20, 20]


def test_slots_that_are_not_used_do_not_grow(clock: Clock) -> None:
    async def call() -> int:
        slots = first_slots()
        for _ in range(50):
            await slots.acquire()
            sending = slots.send()
            slots.answer(sending, clock.now)
            slots.release(sending)
        return slots.limit

    assert anyio.run(call) == 8


def test_a_queue_leaves_one_request_until_it_is_answered(clock: Clock) -> None:
    async def call() -> None:
        slots = Concurrency(64, timeout=5.0)
        sent = await fill(slots)
        for sending in sent[:12]:
            clock.now += 0.4
            slots.answer(sending, clock.now)
            slots.release(sending)
        for sending in sent[12:]:
            lateness = slots.time_out(sending, 5.0, is_certain=True)
            slots.release(sending)
            assert lateness is not None
            assert lateness.was_queued is (sending[1] > 12)
        assert (slots.limit, slots.aim) == (1, 6)
        (probe,) = await fill(slots)
        slots.answer(probe, clock.now)
        assert slots.limit == 6

    anyio.run(call)


def test_a_request_that_others_overtake_lowers_nothing(clock: Clock) -> None:
    async def call() -> None:
        slots = Concurrency(4, timeout=5.0)
        slow, *sent = await fill(slots)
        for _ in range(10):
            for sending in sent:
                slots.answer(sending, clock.now)
                slots.release(sending)
            sent = await fill(slots)
        lateness = slots.time_out(slow, 5.0, is_certain=True)
        assert lateness is not None
        assert not lateness.was_queued
        assert slots.limit == 4

    anyio.run(call)


def test_silence_leaves_as_many_as_at_the_start(clock: Clock) -> None:
    async def call() -> None:
        slots = Concurrency(64, timeout=5.0)
        for sending in await fill(slots):
            lateness = slots.time_out(sending, 5.0, is_certain=True)
            assert lateness is not None
            assert not lateness.was_queued
            slots.release(sending)
        assert slots.limit == 8

    anyio.run(call)


def test_a_connection_that_breaks_early_says_nothing_of_a_queue(clock: Clock) -> None:
    async def call() -> None:
        slots = Concurrency(8, timeout=5.0)
        first, second, *others = await fill(slots)
        assert slots.time_out(others[-1], 0.1, is_certain=False) is None
        clock.now += 2.0
        slots.answer(first, clock.now)
        assert slots.time_out(others[-1], 1.9, is_certain=False) is None
        assert slots.time_out(others[-1], 2.1, is_certain=False) is not None
        slots.answer(second, clock.now)
        assert slots.limit == 1

    anyio.run(call)


STEPS = st.lists(
    st.tuples(st.sampled_from(["send", "answer", "late", "closed", "refused"]), st.integers(0, 9)),
    max_size=200,
)


@given(st.integers(1, 20), st.booleans(), STEPS)
def test_any_answers_leave_between_one_and_all_slots(
    maximum: int, is_first: bool, steps: list[tuple[str, int]]
) -> None:
    async def call() -> None:
        slots = Concurrency(maximum, timeout=5.0)
        if is_first:
            slots.begin_with(8)
        sent: list[Sending] = []
        for step, place in steps:
            if step == "send" and slots._taken < slots.limit:
                await slots.acquire()
                sent.append(slots.send())
            elif step == "refused":
                slots.shrink()
            elif sent:
                sending = sent.pop(place % len(sent))
                if step == "answer":
                    slots.answer(sending, sending[3] + place / 2)
                else:
                    slots.time_out(sending, place / 2, is_certain=step == "late")
                slots.release(sending)
            assert 1 <= slots.limit <= slots.aim <= maximum
            assert len(sent) == slots._taken == slots._in_flight
        with anyio.fail_after(1):  # everything that waits gets its turn
            for sending in sent:
                slots.release(sending)
            for _ in range(2 * maximum):
                await slots.acquire()
                sending = slots.send()
                slots.answer(sending, sending[3])
                slots.release(sending)

    anyio.run(call)

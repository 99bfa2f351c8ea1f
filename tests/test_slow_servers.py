"""Servers that cannot keep up: no row fails for a queue, and no queue is sent twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from chainette import Chain, Step, apply, register_engine
from chainette.engine.client import retry
from chainette.engine.client.base import BaseClient
from chainette.errors import EngineTimeoutError, RateLimitError
from chainette.testing import faults
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from chainette.types import Message
from pydantic import BaseModel

SLOT, TIMEOUT = 0.02, 0.25
"""Seconds of one answer, and of the timeout: as 0.4 s and 5 s, so that 12 answers are in time."""


class Row(BaseModel):
    n: int


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.025)
    monkeypatch.setattr(retry, "LONGEST", 0.25)


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(lambda _: Reply("fine", delay=SLOT)) as server:
        server.slots = 1
        yield server


def engine_on(server: FakeOpenAI, name: str = "e", **fields: Any) -> BaseClient:
    fields = {"timeout": TIMEOUT, "api": "chat", "api_key": "none"} | fields
    config = register_engine(name, backend="openai", model="m", endpoint=server.endpoint, **fields)
    return config.engine  # type: ignore[return-value]


def errors(engine: BaseClient, prompts: list[str]) -> list[Exception]:
    return [output.error for output in engine.generate(prompts) if output.error is not None]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]


def is_about(messages: list[Message], word: str) -> bool:
    return word in messages[-1]["content"]


@pytest.mark.parametrize(("fields", "most"), [({}, 80), ({"max_concurrency": 64}, 144)], ids=str)
def test_a_server_of_one_slot_answers_64_rows_without_a_second_queue(
    fields: dict[str, Any], most: int, server: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    assert errors(engine_on(server, **fields), ["row"] * 64) == []
    assert len(server.requests) <= most
    found = warnings(caplog)  # a busy machine may answer none of them in time, and then has none
    assert len(found) <= 1
    assert all("with 64 in flight; going on with" in it for it in found)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("fields", "most"), [({}, 70), ({"max_concurrency": 64}, 128)], ids=str)
def test_a_real_timeout_is_kept_by_64_rows(
    fields: dict[str, Any], most: int, server: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    server.set_answers(lambda _: Reply("fine", delay=0.4))
    assert errors(engine_on(server, timeout=5.0, **fields), ["row"] * 64) == []
    assert len(server.requests) <= most
    if fields:
        (warning,) = warnings(caplog)
        assert "with 64 in flight; going on with" in warning


def test_many_slots_are_found(server: FakeOpenAI) -> None:
    server.slots = None
    server.set_answers(lambda _: Reply("fine", delay=0.02))
    engine = engine_on(server, timeout=60)
    assert errors(engine, ["row"] * 200) == []
    assert server.peak == engine.limits.slots.limit == 64


def test_single_requests_say_nothing_of_many(server: FakeOpenAI) -> None:
    engine = engine_on(server, timeout=60)
    for _ in range(12):
        errors(engine, ["row"])
    assert engine.limits.slots.limit == 8


def test_a_row_that_is_slow_by_itself_fails_and_slows_nothing_else(server: FakeOpenAI) -> None:
    server.slots = None
    server.set_answers({"huge": faults.slow(60), "": Reply("fine", delay=0.02)})
    engine = engine_on(server, max_retries=0, timeout=1.5)
    (error,) = errors(engine, ["huge row", *["row"] * 600])
    assert type(error) is EngineTimeoutError
    assert "others were answered meanwhile, so this one is too slow by itself" in str(error)
    assert engine.limits.slots.limit == 64
    assert sum(is_about(it.messages, "huge") for it in server.requests) == 1


def test_a_huge_row_in_a_queue_fails_alone(server: FakeOpenAI) -> None:
    def answer(messages: list[Message]) -> Reply:
        return Reply("fine", delay=60 if is_about(messages, "huge") else 0.01)

    server.set_answers(answer)
    engine = engine_on(server, max_retries=1, timeout=0.25)
    prompts = ["row"] * 24
    prompts[5] = "huge row"
    (error,) = errors(engine, prompts)
    assert type(error) is EngineTimeoutError
    assert sum(is_about(it.messages, "huge") for it in server.requests) <= 5


def test_without_retries_a_queue_is_named(server: FakeOpenAI) -> None:
    server.set_answers(lambda _: Reply("fine", delay=0.05))  # 20 of 40 are in time
    engine = engine_on(server, timeout=1.0, max_concurrency=40, max_retries=0)
    failed = errors(engine, ["row"] * 40)
    assert any("it waited in the server's queue (max_concurrency)" in str(it) for it in failed)


def test_concurrency_comes_back_with_the_server(server: FakeOpenAI) -> None:
    server.slots = 20
    server.set_answers(lambda _: Reply("fine", delay=0.01))
    engine = engine_on(server, max_concurrency=64, timeout=0.25)
    assert errors(engine, ["row"] * 80) == []
    server.set_answers(lambda _: Reply("fine", delay=0.15))  # 20 of 64 are in time
    assert errors(engine, ["row"] * 64) == []
    assert engine.limits.slots.limit < 64
    server.set_answers(lambda _: Reply("fine", delay=0.01))
    assert errors(engine, ["row"] * 300) == []
    assert engine.limits.slots.limit == 64


@pytest.mark.exhaustive
def test_a_stuck_replica_fails_no_row(server: FakeOpenAI) -> None:
    server.slots, turns = None, iter(range(10_000))
    server.set_answers(
        lambda _: faults.slow(60) if next(turns) % 8 == 0 else Reply("a", delay=0.02)
    )
    engine = engine_on(server, max_concurrency=32, timeout=0.3)
    assert errors(engine, ["row"] * 100) == []
    assert len(server.requests) < 130, "one of eight is sent twice"


def test_a_proxy_that_ends_long_requests_is_a_timeout(server: FakeOpenAI) -> None:
    """It answers 504, though the engine would wait for a minute."""
    server.slots = None

    def answer(_: list[Message]) -> Reply:
        waiting = server._active
        late = Reply(status=504, message="upstream timed out", delay=TIMEOUT)
        return late if waiting > 10 else Reply("fine", delay=SLOT * waiting)

    server.set_answers(answer)
    engine = engine_on(server, max_concurrency=40, max_retries=1, timeout=60)
    assert errors(engine, ["row"] * 40) == []
    assert len(server.requests) <= 2 * 40


def test_a_full_queue_asks_for_fewer_requests(server: FakeOpenAI) -> None:
    busy = Reply(status=503, message="server busy, please try again.  maximum pending requests")

    def answer(_: list[Message]) -> Reply:
        return busy if server._active > 4 else Reply("fine", delay=0.01)

    server.slots = 2
    server.set_answers(answer)
    engine = engine_on(server, max_retries=1)
    assert errors(engine, ["row"] * 40) == []
    server.set_answers(lambda _: busy)
    (error,) = errors(engine_on(server, max_retries=0), ["row"])
    assert type(error) is RateLimitError


def test_a_silent_server_has_timed_out(server: FakeOpenAI) -> None:
    server.set_answers(lambda _: faults.slow(60))
    (error,) = errors(engine_on(server, timeout=0.1, max_retries=2), ["row"])
    assert type(error) is EngineTimeoutError
    assert str(error).endswith("no whole answer within 0.1 s (timeout=0.1 s)")
    assert len(server.requests) == 3


def test_a_chain_of_two_engines_and_batches_ends(server: FakeOpenAI) -> None:
    with FakeOpenAI(lambda _: Reply("fine", delay=0.001)) as other:
        engine_on(server, "slow", max_concurrency=32)
        engine_on(other, "fast")

        def same(rows: list[Row]) -> list[Row]:
            return rows

        one = Step(id="one", input_model=Row, engine_name="fast", user_prompt="{{ n }}")
        two = Step(id="two", input_model=str, engine_name="slow", user_prompt="{{ one }}")
        chain = Chain(name="c", steps=apply(same, batch=7) >> one >> two)
        run = chain.run(Row(n=n) for n in range(24))
    assert run.counts.ok == 24
    assert len(server.requests) <= 48


@pytest.mark.exhaustive
def test_rows_of_many_callers_share_what_the_engine_learns(server: FakeOpenAI) -> None:
    engine_on(server)
    step = Step(id="s", input_model=Row, engine_name="e", user_prompt="{{ n }}")
    chain = Chain(name="c", steps=step)

    async def call() -> None:
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(chain.arun_one, {"n": n})

    anyio.run(call)
    assert len(server.requests) <= 25

"""Single rows of a chain: their values, errors, limits and connections."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Branch, Chain, Step, apply, register_engine
from chainette.errors import (
    AuthenticationError,
    ChainError,
    DroppedRowError,
    InputError,
    RequestError,
    UnknownEngineError,
)
from chainette.events import Event
from chainette.run.schedule import single
from chainette.testing import fake_engine
from chainette.testing.faults import slow, status
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel


class Row(BaseModel):
    n: int


class Word(BaseModel):
    text: str


def chain(**options: Any) -> Chain[Row, Word]:
    step = Step(
        id="say", input_model=Row, output_model=Word, engine_name="e", user_prompt="say {{ n }}"
    )
    return Chain(name="c", steps=step, **options)


def echo(messages: Any) -> str:
    return f'{{"text": "{messages[-1]["content"]}"}}'


@pytest.mark.parametrize("row", [{"n": 3}, Row(n=3)], ids=["mapping", "model"])
def test_a_row_becomes_its_value(row: Any) -> None:
    with fake_engine("e", echo):
        assert chain().run_one(row) == Word(text="say 3")
        result = chain().run_one(row, full=True)
    assert (result.row_id, result.ok, result["say"]) == (0, True, Word(text="say 3"))


def test_a_row_runs_inside_a_running_loop_and_in_a_thread_of_its_own() -> None:
    async def both() -> tuple[Word, Word]:
        one = chain()
        return await one.arun_one({"n": 1}), one.run_one({"n": 2})

    with fake_engine("e", echo):
        assert anyio.run(both) == (Word(text="say 1"), Word(text="say 2"))


def test_the_error_of_the_row_is_raised() -> None:
    with fake_engine("e", [RequestError("too long"), RequestError("too long")]):
        with pytest.raises(RequestError, match="engine 'e': too long"):
            chain().run_one({"n": 1})
        result = chain().run_one({"n": 1}, full=True)
    assert isinstance(result.error, RequestError)


def test_an_engine_that_refuses_its_key_is_the_error() -> None:
    with fake_engine("e", [AuthenticationError("no")]), pytest.raises(AuthenticationError):
        chain().run_one({"n": 1}, full=True)


def test_a_row_that_does_not_fit_names_the_field() -> None:
    with fake_engine("e"), pytest.raises(InputError, match="the row: 'n' is missing"):
        chain().run_one({"m": 1})


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(UnknownEngineError, match="'e'"):
        chain().run_one({"n": 1})


def test_a_dropped_row_has_no_value() -> None:
    drop = Chain(name="c", steps=[apply(lambda row: None, id="drop")])
    with pytest.raises(DroppedRowError, match="a function dropped it"):
        drop.run_one({"n": 1})
    assert drop.run_one({"n": 1}, full=True).dropped


def test_a_batch_is_not_waited_for_and_a_batch_of_all_rows_is_refused() -> None:
    def double(rows: list[Row]) -> list[Row]:
        return [Row(n=2 * row.n) for row in rows]

    assert Chain(name="c", steps=[apply(double, batch=5)]).run_one({"n": 2}) == Row(n=4)
    with pytest.raises(ChainError, match="'double' has batch='all'"):
        Chain(name="c", steps=[apply(double, batch="all")]).run_one({"n": 2})


def test_a_split_row_has_the_list_of_its_items() -> None:
    def count(row: Row) -> list[Row]:
        return [Row(n=n) for n in range(row.n)]

    assert Chain(name="c", steps=apply(count)).run_one({"n": 2}) == [Row(n=0), Row(n=1)]


def test_branches_run_beside_the_row_and_join_it() -> None:
    def square(row: Row) -> Row:
        return Row(n=row.n**2)

    def add(row: Row, names: Any) -> Row:
        return Row(n=row.n + names["squared"].n)

    branch = Branch(name="square", steps=apply(square)).join("squared")
    assert Chain(name="c", steps=[branch, apply(add)]).run_one(Row(n=3)) == Row(n=12)


def test_earlier_answers_are_used_again(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    with fake_engine("e", echo) as engine:
        one = chain()
        first = one.run_one({"n": 1}, cache=tmp_path)
        assert one.run_one({"n": 1}, cache=tmp_path) == first
    assert len(engine.requests) == 1


def test_listeners_receive_the_events_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    monkeypatch.setattr(single, "with_plugins", lambda: events.append)
    with fake_engine("e", echo):
        chain().run_one({"n": 1})
    assert [type(event).__name__ for event in events] == [
        "RunStarted",
        "RowStarted",
        "NodeStarted",
        "NodeFinished",
        "RowFinished",
        "RunClosed",
    ]


def test_calls_at_the_same_time_share_connections_and_limits() -> None:
    with FakeOpenAI() as server:
        server.set_answers(echo)
        register_engine("e", backend="openai", model="m", endpoint=server.endpoint,
                        max_concurrency=4)  # fmt: skip

        async def calls() -> list[Word]:
            one = chain()
            words = await asyncio.gather(*(one.arun_one({"n": n}) for n in range(40)))
            await one.arun_one({"n": 41})
            await one.aclose()
            return words

        words = anyio.run(calls)
        assert words == [Word(text=f"say {n}") for n in range(40)]
        assert server.connections <= 4
        assert server.peak <= 4


def test_a_cancelled_call_cancels_its_request() -> None:
    with FakeOpenAI() as server:
        server.set_answers([slow(30)])
        register_engine("e", backend="openai", model="m", endpoint=server.endpoint)

        async def call() -> bool:
            one = chain()
            with anyio.move_on_after(0.5) as scope:
                await one.arun_one({"n": 1})
            await one.aclose()
            return scope.cancelled_caught

        assert anyio.run(call)


def test_failed_requests_are_retried_as_in_a_run() -> None:
    with FakeOpenAI() as server:
        server.set_answers([status(500), '{"text": "second"}'])
        register_engine("e", backend="openai", model="m", endpoint=server.endpoint)
        assert chain().run_one({"n": 1}) == Word(text="second")

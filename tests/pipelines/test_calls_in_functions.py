"""Functions that call engines through their run: accounted, durable, and stopped with it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import pytest
import typer
from chainette import (
    Branch,
    Calls,
    Chain,
    SamplingParams,
    Step,
    SyncCalls,
    apply,
    get_engine,
    register_engine,
)
from chainette.cli.commands.run import _show_prompts
from chainette.errors import (
    ApplyError,
    AuthenticationError,
    ChainError,
    EngineError,
    OutputDirError,
    OutputTruncatedError,
    QuotaError,
    StructuredOutputError,
    UnknownEngineError,
)
from chainette.events import CallFinished, Event, NodeFinished, NodeRetried
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.pipeline.graph import graph, mermaid
from chainette.run.dry_run import Rendered, Unknown, dry_run
from chainette.run.executor import Executor
from chainette.testing import fake_engine
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from chainette.types import Completion, LLMOutput, Message
from chainette.usage import Usage
from pydantic import AfterValidator, BaseModel, ValidationInfo, field_validator
from typing_extensions import Annotated, TypedDict  # noqa: UP035

PRICE = {"input": 0, "output": 1_000_000}
"""A dollar for every token that is written."""


class Row(BaseModel):
    n: int


class Score(BaseModel):
    n: int


class Scores(BaseModel):
    values: list[int]


def chain_of(fn: Callable[..., Any], *more: Any, **options: Any) -> Chain[Any, Any]:
    options = {"engines": ["judge"], **options}
    return Chain(name="c", steps=[apply(fn, **options), *more])


def judging(id: str) -> Step[Row, Row]:
    return Step(
        id=id, input_model=Row, output_model=Row, engine_name="judge", user_prompt="{{ n }}"
    )


def counted(start: int = 0) -> Callable[[list[Message]], dict[str, int]]:
    """Answers of which no two are equal."""
    numbers = itertools.count(start)
    return lambda messages: {"n": next(numbers)}


def echoed(messages: list[Message]) -> dict[str, int]:
    """The number at the end of the prompt."""
    return {"n": int(messages[-1]["content"].split()[-1])}


def lines_of(folder: Path, pattern: str) -> list[dict[str, Any]]:
    files = sorted(folder.glob(pattern))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def interrupted(folder: Path, calls: int, node: str) -> None:
    """Leave a run as it is when it is killed after some calls."""
    for file in (folder / "steps" / f"{node}.calls").glob("*.jsonl"):
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:calls]))
    for file in [*(folder / "steps" / node).glob("*.jsonl"), folder / "errors.jsonl"]:
        file.write_text("")
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(manifest | {"status": "running"}))


# What a function gets, and what is counted.


async def in_turn(row: Row, calls: Calls) -> Scores:
    judge = calls["judge"]
    return Scores(values=[(await judge.ask(f"{row.n}", output_model=Score)).n for _ in range(4)])


async def at_once(row: Row, calls: Calls) -> Scores:
    asked = [calls["judge"].ask(f"{row.n}", output_model=Score) for _ in range(4)]
    return Scores(values=[score.n for score in await asyncio.gather(*asked)])


async def generated(row: Row, *, calls: Calls) -> AsyncIterator[Score]:
    for _ in range(4):
        yield await calls["judge"].ask(f"{row.n}", output_model=Score)


def blocking(row: Row, calls: SyncCalls) -> Scores:
    judge = calls["judge"]
    return Scores(values=[judge.ask(f"{row.n}", output_model=Score).n for _ in range(4)])


def pooled(row: Row, calls: SyncCalls) -> Scores:
    def one(_: int) -> int:
        return calls["judge"].ask(f"{row.n}", output_model=Score).n

    with ThreadPoolExecutor(4) as pool:
        return Scores(values=[*pool.map(one, range(4))])


def blocking_generator(row: Row, calls: SyncCalls) -> Iterator[Score]:
    for _ in range(4):
        yield calls["judge"].ask(f"{row.n}", output_model=Score)


@wraps(in_turn)
def decorated(*args: Any, **kwargs: Any) -> Any:
    return in_turn(*args, **kwargs)


class Judge:
    async def __call__(self, row: Row, calls: Calls) -> Scores:
        return await in_turn(row, calls)


FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "in turn": (in_turn, {}),
    "at once": (at_once, {}),
    "a generator": (generated, {}),
    "a thread": (blocking, {"threaded": True}),
    "threads of its own": (pooled, {"threaded": True}),
    "a generator in a thread": (blocking_generator, {"threaded": True}),
    "a decorated function": (decorated, {"id": "decorated"}),
    "a partial function": (partial(in_turn), {"id": "part"}),
    "an object": (Judge(), {"id": "judged"}),
}
functions = pytest.mark.parametrize(
    ("fn", "options"), FUNCTIONS.values(), ids=[name.replace(" ", "-") for name in FUNCTIONS]
)


def values_of(result: Any) -> list[int]:
    value = result.unwrap()
    return [it.n for it in value] if isinstance(value, list) else value.values


@functions
def test_calls_are_counted_and_an_interrupted_function_asks_nothing_twice(
    fn: Callable[..., Any], options: dict[str, Any], tmp_path: Path
) -> None:
    chain = chain_of(fn, **options)
    (node,) = chain.nodes
    rows = [{"n": n} for n in range(3)]
    whole, folder = tmp_path / "whole", tmp_path / "run"
    with fake_engine("judge", counted(), price=PRICE, max_concurrency=4) as engine:
        first = chain.run(rows, output_dir=whole)
        assert sorted(itertools.chain(*map(values_of, first.results))) == list(range(12))
        assert (len(engine.requests), first.usage[node].completion_tokens) == (12, 24)
        assert first.cost == 24
    for kept in (0, 5, 12):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        interrupted(folder, kept, node)
        with fake_engine("judge", counted(100), price=PRICE, max_concurrency=4) as engine:
            resumed = chain.run(rows, output_dir=folder, resume=True)
        values = sorted(itertools.chain(*map(values_of, resumed.results)))
        assert len([value for value in values if value < 100]) == kept
        assert values[kept:] == list(range(100, 112 - kept))
        assert len(engine.requests) == 12 - kept
        assert (resumed.cost, resumed.usage[node].completion_tokens) == (24, 24)


class Doubled(BaseModel):
    n: int
    words: str = "x"

    @field_validator("n")
    @classmethod
    def twice(cls, value: int) -> int:
        return 2 * value

    @field_validator("words", mode="before")
    @classmethod
    def marked(cls, value: str) -> str:
        return f"<{value}>"


@dataclass
class Point:
    n: int


class Pair(TypedDict):
    n: int


Marked = Annotated[list[str], AfterValidator(lambda texts: [*texts, "!"])]
MODELS: dict[str, tuple[Any, Any, Any]] = {
    # the type, the engine's answer, and the value
    "text": (None, " as it is ", "as it is"),
    "half a pair": (None, "a\ud800b", "a\ufffdb"),
    "a model": (Score, {"n": 1}, Score(n=1)),
    "validators that change": (
        Doubled, {"n": 1, "words": "w"}, Doubled.model_construct(n=2, words="<w>"),
    ),
    "a list": (list[Score], [{"n": 1}], [Score(n=1)]),
    "a dict": (dict[str, int], {"n": 1}, {"n": 1}),
    "a dataclass": (Point, {"n": 1}, Point(1)),
    "a typed dict": (Pair, {"n": 1}, {"n": 1}),
    "a number": (Decimal, "1.50", Decimal("1.50")),
    "a set": (set[int], [1, 2], {1, 2}),
    "a validated text": (Marked, ["a"], ["a", "!"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_replayed_answer_equals_the_first(name: str, tmp_path: Path) -> None:
    model, answer, value = MODELS[name]
    seen: list[Any] = []

    async def ask(row: Row, calls: Calls) -> Row:
        seen.append(await calls["judge"].ask("?", output_model=model))
        return row

    text = answer if isinstance(answer, str) else json.dumps(answer)
    with fake_engine("judge", [text]):
        chain_of(ask).run([{"n": 1}], output_dir=tmp_path)
        interrupted(tmp_path, 1, "ask")
        chain_of(ask).run([{"n": 1}], output_dir=tmp_path, resume=True)
    assert seen == [value, value]
    assert type(seen[1]) is type(seen[0])


def test_a_failed_call_is_replayed_with_its_error(tmp_path: Path) -> None:
    caught: list[EngineError] = []

    async def ask(row: Row, calls: Calls) -> Row:
        try:
            await calls["judge"].ask("first", output_model=Score)
        except StructuredOutputError as error:
            caught.append(error)
        return Row(n=(await calls["judge"].ask("second", output_model=Score)).n)

    answers = ["no", "no", '{"n": 7}']
    with fake_engine("judge", answers, price=PRICE):
        first = chain_of(ask).run([{"n": 1}], output_dir=tmp_path)
        interrupted(tmp_path, 2, "ask")
        resumed = chain_of(ask).run([{"n": 1}], output_dir=tmp_path, resume=True)
    assert [run.results[0].unwrap() for run in (first, resumed)] == [Row(n=7)] * 2
    assert [str(error) for error in caught] == [str(caught[0])] * 2
    assert (caught[1].engine, caught[1].raw_text) == ("judge", "no")
    assert first.cost == resumed.cost == 4


class Quoting(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def known(cls, value: int, info: ValidationInfo) -> int:
        assert info.context is not None
        if value != info.context["chain_input"].n:
            raise ValueError(f"it is {info.context['chain_input'].n}")
        return value


def test_validators_see_the_names_and_an_invalid_answer_is_asked_again() -> None:
    async def ask(row: Row, names: Mapping[str, Any], calls: Calls) -> Quoting:
        assert names["chain_input"] == row
        return await calls["judge"].ask("?", output_model=Quoting)

    events: list[Event] = []
    with fake_engine("judge", ['{"n": 1}', '{"n": 5}'], price=PRICE):
        executor = Executor(chain_of(ask), [{"n": 5}], listeners=[events.append])
        run = anyio.run(executor.run)
    assert run.results[0].unwrap() == Quoting.model_construct(n=5)
    (retried,) = [event for event in events if isinstance(event, NodeRetried)]
    assert retried.node_id == "ask"
    (called,) = [event for event in events if isinstance(event, CallFinished)]
    assert (called.engine, called.cost, called.error) == ("judge", 4, None)
    (finished,) = [event for event in events if isinstance(event, NodeFinished)]
    assert (finished.cost, finished.usage and finished.usage.completion_tokens) == (4, 4)


def test_sampling_and_messages_reach_the_engine_and_can_be_changed_afterwards() -> None:
    history: list[Message] = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]

    async def talk(row: Row, calls: Calls) -> Row:
        asked = calls["judge"].ask(history, sampling={"temperature": 0})
        task = asyncio.create_task(asked)
        await asyncio.sleep(0)
        history.append({"role": "assistant", "content": "a"})
        history.append({"role": "user", "content": "and?"})
        await task
        await calls["judge"].ask(history, sampling=SamplingParams(max_tokens=9))
        return row

    with fake_engine("judge", ["a", "b"]) as engine:
        chain_of(talk).run_one({"n": 1})
    assert [len(messages) for messages in engine.requests] == [2, 4]


# Failures, retries and redoing.


async def stubborn(row: Row, calls: Calls) -> Row:
    first = await calls["judge"].ask(f"first {row.n}", output_model=Score)
    second = await calls["judge"].ask(f"second {row.n}", output_model=Score)
    if row.n == 2 and first.n < 50:
        raise ValueError("not good")
    return Row(n=first.n + second.n)


def test_a_retry_forgets_the_calls_of_a_failed_function_and_keeps_their_cost(
    tmp_path: Path,
) -> None:
    rows = [{"n": 1}, {"n": 2}]
    chain = chain_of(stubborn)
    with fake_engine("judge", counted(), price=PRICE) as engine:
        first = chain.run(rows, output_dir=tmp_path)
        assert (first.counts.failed, first.cost) == (1, 8)
        (line,) = lines_of(tmp_path, "errors.jsonl")
        assert (line["cost"], line["usage"]["completion_tokens"], line["calls"]) == (4, 4, 2)
        resumed = chain.run(rows, output_dir=tmp_path, resume=True)
        assert (resumed.cost, len(engine.requests)) == (8, 4)
        retried = chain.run(rows, output_dir=tmp_path, retry_errors=True)
        assert (retried.counts.failed, retried.cost, len(engine.requests)) == (1, 12, 6)
    with fake_engine("judge", counted(100), price=PRICE) as engine:
        good = chain.run(rows, output_dir=tmp_path, retry_errors=True)
        assert (good.counts.ok, good.cost, len(engine.requests)) == (2, 16, 2)
        # What is killed in a retry goes on with the calls of that retry.
        interrupted(tmp_path, 7, "stubborn")
        again = chain.run(rows, output_dir=tmp_path, resume=True)
    assert sorted(m[0]["content"] for m in engine.requests[2:]) == ["second 2"]
    assert (again.counts.ok, again.cost) == (2, 16)


def test_a_redo_runs_the_calls_again_and_keeps_their_cost(tmp_path: Path) -> None:
    rows = [{"n": 1}, {"n": 3}]
    step = judging("after")
    chain = chain_of(stubborn, step)
    with fake_engine("judge", counted(), price=PRICE) as engine:
        first = chain.run(rows, output_dir=tmp_path)
        assert (first.cost, len(engine.requests)) == (12, 6)
        redone = chain.run(rows, output_dir=tmp_path, redo=["stubborn"])
        assert (redone.cost, len(engine.requests)) == (24, 12)
        assert len(lines_of(tmp_path, "steps/stubborn.calls/*")) == 4
        after = chain.run(rows, output_dir=tmp_path, redo=["after"])
        assert (after.cost, len(engine.requests)) == (28, 14)


def test_another_engine_or_function_is_refused_until_it_is_redone(tmp_path: Path) -> None:
    with fake_engine("judge", echoed), fake_engine("other", echoed):
        chain_of(in_turn).run([{"n": 1}], output_dir=tmp_path)
        more = chain_of(in_turn, engines=["judge", "other"])
        with pytest.raises(OutputDirError, match="'in_turn' \\(engines\\)"):
            more.run([{"n": 1}], output_dir=tmp_path, resume=True)
        more.run([{"n": 1}], output_dir=tmp_path, redo=["in_turn"])
    with (
        fake_engine("judge", echoed, model="new"),
        fake_engine("other", echoed),
        pytest.raises(OutputDirError, match=r"engine 'judge' .*'in_turn' uses"),
    ):
        more.run([{"n": 1}], output_dir=tmp_path, resume=True)


def test_an_engine_error_that_the_function_lets_pass_is_that_of_the_row(tmp_path: Path) -> None:
    async def two(row: Row, calls: Calls) -> Row:
        await asyncio.gather(
            calls["judge"].ask("eins"), calls["judge"].ask("zwei", output_model=Score)
        )
        return row

    async def grouped(row: Row, calls: Calls) -> Row:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(calls["judge"].ask, "zwei", output_model=Score))
        return row

    answers = {"eins": "fine", "zwei": "no number"}
    for fn, cost in ((two, 5), (grouped, 4)):
        with fake_engine("judge", answers, price=PRICE, max_concurrency=1):
            run = chain_of(fn).run([{"n": 1}], output_dir=tmp_path / fn.__name__)
        (line,) = lines_of(tmp_path / fn.__name__, "errors.jsonl")
        assert (line["type"], line["node_id"]) == ("StructuredOutputError", fn.__name__)
        assert (line["engine"], line["raw_text"]) == ("judge", "no number")
        assert run.cost == cost  # what else was asked is paid for as well


def test_a_cut_text_and_a_long_prompt_are_errors() -> None:
    async def ask(row: Row, calls: Calls) -> Row:
        await calls["judge"].ask("x" * row.n)
        return row

    cut = LLMOutput([Completion("half a", finish_reason="length")], usage=Usage(1, 2))
    with fake_engine("judge", [cut]):
        with pytest.raises(OutputTruncatedError, match="judge"):
            chain_of(ask).run_one({"n": 1})
        with pytest.raises(ApplyError, match=r"1,000 characters \(max_prompt_chars=99\)"):
            chain_of(ask).run_one({"n": 1000}, max_prompt_chars=99)


# Stops.


async def careless(row: Row, calls: Calls) -> Row:
    for _ in range(50):
        try:
            await calls["judge"].ask(f"{row.n}", output_model=Score)
        except Exception:
            continue
    return Row(n=-1)


async def careless_at_once(row: Row, calls: Calls) -> Row:
    asked = [calls["judge"].ask(f"{row.n}", output_model=Score) for _ in range(50)]
    await asyncio.gather(*asked, return_exceptions=True)
    return Row(n=-1)


def careless_thread(row: Row, calls: SyncCalls) -> Row:
    for _ in range(50):
        try:
            calls["judge"].ask(f"{row.n}", output_model=Score)
        except Exception:
            continue
    return Row(n=-1)


CARELESS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "in turn": (careless, {}),
    "at once": (careless_at_once, {}),
    "in a thread": (careless_thread, {"threaded": True}),
}
careless_ones = pytest.mark.parametrize(("fn", "options"), CARELESS.values(), ids=[*CARELESS])


@careless_ones
def test_a_stop_passes_through_what_the_function_catches(
    fn: Callable[..., Any], options: dict[str, Any], tmp_path: Path
) -> None:
    chain, rows = chain_of(fn, **options), [{"n": n} for n in range(4)]
    answers = [{"n": 1}, {"n": 2}, QuotaError("nothing left")]
    with fake_engine("judge", answers, max_concurrency=1) as engine:
        run = chain.run(rows, output_dir=tmp_path)
    assert isinstance(run.stopped, QuotaError)
    assert (run.counts.rows, lines_of(tmp_path, "errors.jsonl")) == (0, [])
    assert len(engine.requests) == 3
    with fake_engine("judge", {"": AuthenticationError("no key")}, max_concurrency=1):
        with pytest.raises(AuthenticationError):
            chain.run(rows)
        with pytest.raises(AuthenticationError):
            chain.run_one(rows[0])
    with fake_engine("judge", {"": {"n": 3}}, max_concurrency=8):
        resumed = chain.run(rows, output_dir=tmp_path, resume=True)
    assert resumed.counts.ok == 4


@careless_ones
def test_max_cost_is_kept_within_a_function(
    fn: Callable[..., Any], options: dict[str, Any], tmp_path: Path
) -> None:
    rows = [{"n": n} for n in range(4)]
    with fake_engine("judge", {"": {"n": 3}}, max_concurrency=2, price=PRICE) as engine:
        run = chain_of(fn, **options).run(rows, max_cost=10, output_dir=tmp_path)
    assert "max_cost=10" in str(run.stopped)
    assert run.counts.rows == 0
    assert run.cost is not None
    assert 10 < run.cost == 2 * len(engine.requests) <= 16


def test_max_cost_is_kept_by_calls_at_the_same_time_and_what_was_sent_is_counted(
    tmp_path: Path,
) -> None:
    with FakeOpenAI() as server:
        server.set_answers(lambda _: Reply('{"n": 3}', delay=0.01))
        engine = {"backend": "openai", "model": "m", "endpoint": server.endpoint, "api_key": "k"}
        register_engine(
            "busy", **engine, max_concurrency=2, price=PRICE | {"output": 0, "request": 1}
        )
        run = chain_of(busy, engines=["busy"]).run([{"n": 1}], max_cost=5, output_dir=tmp_path)
        assert "max_cost=5" in str(run.stopped)
        assert run.counts.rows == 0
        assert 5 < len(server.requests) <= 6 + 2 * 2
        assert run.cost == len(server.requests) == len(lines_of(tmp_path, "steps/*.calls/*"))


async def busy(row: Row, calls: Calls) -> Row:
    asked = [calls["busy"].ask(f"{number}", output_model=Score) for number in range(50)]
    await asyncio.gather(*asked, return_exceptions=True)
    return Row(n=-1)


async def endless(row: Row, calls: Calls) -> Row:
    while True:
        try:
            await calls["judge"].ask("?")
            await asyncio.sleep(0)
        except Exception:
            continue


def endless_thread(row: Row, calls: SyncCalls) -> Row:
    while True:
        try:
            calls["judge"].ask("?")
        except Exception:
            continue


@pytest.mark.parametrize("fn", [endless, endless_thread])
def test_a_cancelled_run_ends_its_functions(fn: Callable[..., Any]) -> None:
    chain = chain_of(fn, threaded=fn is endless_thread)

    async def cancelled(engine: Any) -> None:
        task = asyncio.ensure_future(chain.arun([{"n": 1}]))
        while len(engine.requests) < 3:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with fake_engine("judge", {"": "text"}) as engine:
        anyio.run(cancelled, engine)


def test_a_call_that_is_left_running_is_paid_for_and_none_begins_after_the_end() -> None:
    kept: list[Any] = []

    async def hasty(row: Row, calls: Calls) -> Row:
        kept[:] = [calls, asyncio.create_task(calls["judge"].ask("?"))]
        await asyncio.sleep(0)
        return row

    async def run_and_ask() -> None:
        run = await chain_of(hasty).arun([{"n": 1}])
        assert run.usage["hasty"].completion_tokens == 1
        with pytest.raises(RuntimeError, match="after it has ended"):
            await kept[0]["judge"].ask("?")

    with fake_engine("judge", {"": "text"}):
        anyio.run(run_and_ask)


def parts(row: Row) -> list[Row]:
    return [Row(n=10 * row.n + part) for part in range(3)]


async def echo(row: Row, calls: Calls) -> Row:
    return await calls["judge"].ask(f"{row.n}", output_model=Row)


def test_items_and_branches_have_calls_of_their_own(tmp_path: Path) -> None:
    branch = Branch(name="b", steps=apply(echo, engines=["judge"])).join("other")
    chain = Chain(name="c", steps=[apply(parts), branch, judging("s")])
    with fake_engine("judge", echoed) as engine:
        first = chain.run([{"n": 1}, {"n": 2}], output_dir=tmp_path)
        assert len(engine.requests) == 12
        interrupted(tmp_path, 4, "echo")
        again = chain.run([{"n": 1}, {"n": 2}], output_dir=tmp_path, resume=True)
    assert len(engine.requests) == 14
    assert [it.unwrap() for it in again.results] == [it.unwrap() for it in first.results]
    assert {line["item"] for line in lines_of(tmp_path, "steps/echo.calls/*")} == {"0", "1", "2"}


# Building.


async def needs_calls(row: Row, calls: Calls) -> Row:
    return row


async def needs_sync(row: Row, calls: SyncCalls) -> Row:
    return row


def blocks(row: Row, calls: SyncCalls) -> Row:
    return row


def blocks_wrongly(row: Row, calls: Calls) -> Row:
    return row


async def without(row: Row) -> Row:
    return row


async def only_calls(calls: Row) -> Row:
    return calls


async def many(rows: list[Row], calls: Calls) -> list[Row]:
    return rows


async def more(row: Row, names: Mapping[str, Any], other: int, calls: Calls) -> Row:
    return row


REFUSED: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "no engines": (needs_calls, {}, "the function takes calls; name the engines"),
    "an empty list": (needs_calls, {"engines": []}, "the function takes calls; name the engines"),
    "no parameter": (without, {"engines": ["e"]}, "no parameter calls after its item"),
    "an item named so": (only_calls, {"engines": ["e"]}, "no parameter calls after its item"),
    "one name": (needs_calls, {"engines": "judge"}, r"as in engines=\['judge'\]"),
    "no names": (needs_calls, {"engines": [3]}, "engines has 3; give names"),
    "neither async nor threaded": (blocks, {"engines": ["e"]}, "async, or run with threaded=True"),
    "async with SyncCalls": (needs_sync, {"engines": ["e"]}, "an async function gets Calls"),
    "a thread with Calls": (
        blocks_wrongly, {"engines": ["e"], "threaded": True}, "a thread gets SyncCalls",
    ),
    "a batch": (many, {"engines": ["e"], "batch": 2}, "batch=2 it cannot call engines"),
    "all rows": (many, {"engines": ["e"], "batch": "all"}, "or use reduce.* without by"),
    "one parameter too many": (more, {"engines": ["e"]}, "the function needs row, names, other; "),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_called_is_refused_when_the_node_is_made(name: str) -> None:
    fn, options, message = REFUSED[name]
    with pytest.raises(ChainError, match=message):
        apply(fn, **options)


def test_engines_are_checked_before_the_first_request_and_shown() -> None:
    chain = chain_of(needs_calls, engines=["judge", "jury", "judge"], id="fn")
    assert chain.engine_names == ["judge", "jury"]
    (node,) = graph(chain)["nodes"]
    assert node["engines"] == ["judge", "jury"]
    assert 'fn[["fn<br/>judge, jury"]]' in mermaid(chain)
    with fake_engine("judge") as engine, pytest.raises(UnknownEngineError, match="'jury'"):
        chain.run([{"n": 1}])
    assert engine.requests == []


def test_a_name_that_was_not_given_is_a_key_error_with_the_names() -> None:
    async def ask(row: Row, calls: Calls) -> Row:
        assert ("judge" in calls, [*calls], calls.get("jury")) == (True, ["judge"], None)
        await calls["jury"].ask("?")
        return row

    with fake_engine("judge"), pytest.raises(ApplyError, match=r"has no engine 'jury' .*judge"):
        chain_of(ask).run_one({"n": 1})


MISUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no prompt": ([], {}, "an empty list"),
    "a number": (3, {}, "the prompt is a int"),
    "a role that there is not": ([{"role": "tool", "content": ""}], {}, "a message is a dict"),
    "a text in the list": (["hello"], {}, "a message is a dict"),
    "several samples": ("?", {"sampling": {"n": 2}}, "n=2 gives one answer"),
    "unknown sampling": ("?", {"sampling": {"temprature": 2}}, "unknown key 'temprature'"),
    "no sampling": ("?", {"sampling": 0.5}, "sampling is a float"),
}


@pytest.mark.parametrize("name", MISUSED)
def test_wrong_arguments_fail_the_row_and_send_nothing(name: str) -> None:
    prompt, options, message = MISUSED[name]

    async def ask(row: Row, calls: Calls) -> Row:
        await calls["judge"].ask(prompt, **options)
        return row

    with fake_engine("judge") as engine, pytest.raises(ApplyError, match=message):
        chain_of(ask).run_one({"n": 1})
    assert engine.requests == []


# Row ids.


def with_id(row: Row, row_id: int) -> Row:
    return Row(n=row_id)


def with_all(row: Row, row_id: int, names: Mapping[str, Any]) -> Row:
    return Row(n=row_id * names["chain_input"].n)


def by_position(row: Row, names: Mapping[str, Any], row_id: int, /) -> Row:
    return Row(n=row_id * names["chain_input"].n)


def by_keyword(row: Row, *, row_id: int = 7) -> Row:
    return Row(n=row_id)


def of_batch(rows: list[Row], row_id: list[int]) -> list[Row]:
    return [Row(n=n) for n in row_id]


def an_item(row_id: Row) -> Row:
    return row_id


def own_default(row: Row, calls: int = 3) -> Row:
    return Row(n=calls)


WITH_IDS: dict[str, tuple[Callable[..., Any], dict[str, Any], list[int]]] = {
    "an id": (with_id, {}, [0, 1]),
    "an id and the names": (with_all, {}, [0, 9]),
    "in order": (by_position, {}, [0, 9]),
    "by keyword": (by_keyword, {}, [0, 1]),
    "in a thread": (with_id, {"threaded": True}, [0, 1]),
    "of a batch": (of_batch, {"batch": "all"}, [0, 1]),
    "an item of that name": (an_item, {}, [8, 9]),
    "calls with a default": (own_default, {}, [3, 3]),
}


@pytest.mark.parametrize("name", WITH_IDS)
def test_a_function_may_take_the_id_of_its_row(name: str) -> None:
    fn, options, values = WITH_IDS[name]
    run = Chain(name="c", steps=apply(fn, **options)).run([{"n": 8}, {"n": 9}])
    assert [result.unwrap().n for result in run.results] == values


# Without a folder, dry, from YAML, and beside the run.


def test_a_single_row_and_a_stream_call_as_well() -> None:
    @apply(engines=["judge"])
    async def scored(row: Row, calls: Calls) -> Score:
        return await calls["judge"].ask(f"{row.n}", output_model=Score)

    chain = Chain(name="c", steps=scored)

    async def streamed() -> list[int]:
        rows = [{"n": 1}, {"n": 2}]
        return [result.unwrap().n async for result in chain.stream(rows, in_order=True)]

    with fake_engine("judge", echoed):
        assert chain.run_one({"n": 4}) == Score(n=4)
        assert anyio.run(streamed) == [1, 2]


def test_the_cache_answers_calls(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    with fake_engine("judge", counted(), price=PRICE) as engine:
        runs = [chain_of(at_once).run([{"n": 1}] * 2, cache=tmp_path / "c") for _ in range(2)]
    votes = [sorted(itertools.chain(*map(values_of, run.results))) for run in runs]
    assert votes[0] == votes[1] == list(range(8))
    assert (len(engine.requests), runs[1].cost) == (8, 0)


async def forked(row: Row, calls: Calls) -> Row:
    await asyncio.gather(calls["judge"].ask(f"a {row.n}"), calls["judge"].ask(f"b {row.n}"))
    raise AssertionError("it went on")


def forked_thread(row: Row, calls: SyncCalls) -> Row:
    calls["judge"].ask(f"a {row.n}")
    raise AssertionError("it went on")


def test_a_dry_run_stops_at_the_call_and_shows_its_prompts() -> None:
    step = judging("s")
    with fake_engine("judge") as engine:
        for fn, prompts in ((forked, ["a 1", "b 1"]), (forked_thread, ["a 1"])):
            chain = chain_of(fn, step, threaded=fn is forked_thread)
            shown = anyio.run(partial(dry_run, with_functions=True), chain, [{"n": 1}])
            rendered = [it for it in shown if isinstance(it, Rendered)]
            assert [it.messages[0]["content"] for it in rendered] == prompts
            assert {(it.step_id, it.engine) for it in rendered} == {(fn.__name__, "judge")}
            unknown = [(it.step_id, it.after.id) for it in shown if isinstance(it, Unknown)]
            assert unknown == [("s", fn.__name__)]
            assert len(shown) == len(prompts) + 1
            without = anyio.run(dry_run, chain, [{"n": 1}])
            assert [(it.step_id, it.after.id) for it in without if isinstance(it, Unknown)] == [
                (fn.__name__, fn.__name__), ("s", fn.__name__),
            ]  # fmt: skip
    assert engine.requests == []


STOPS: dict[str, tuple[bool, bool, str]] = {
    # whether a step follows, whether functions are called, and what is said
    "alone": (
        False, False,
        "stopped at function 'forked', which was not called (it may send something): it calls "
        "judge itself; to call it, add --with-functions",
    ),
    "in front of a step": (
        True, False,
        "stopped at function 'forked', which was not called (it may send something): it calls "
        "judge itself, and the prompt of step 's' depends on it; to call it, add --with-functions",
    ),
    "called": (
        True, True,
        "stopped at function 'forked', which calls an engine: the prompt of step 's' depends on "
        "its output",
    ),
    "called alone": (False, True, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", STOPS)
def test_the_command_line_says_where_a_dry_run_stopped(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_followed, with_functions, line = STOPS[name]
    step = judging("s")
    chain = chain_of(forked, *[step] * is_followed)
    (tmp_path / "rows.jsonl").write_text('{"n": 1}')
    with fake_engine("judge"), pytest.raises(typer.Exit):
        _show_prompts(chain, str(tmp_path / "rows.jsonl"), with_functions, {}, 3)
    shown = capsys.readouterr()
    assert shown.err.strip() == line
    assert ("b 1" in shown.out) is with_functions


YAML = """
name: c
steps:
  - apply: calling:judged
    engines: {engines}
"""
CODE = """
from chainette import Calls
from pydantic import BaseModel


class Row(BaseModel):
    n: int


async def judged(row: Row, calls: Calls) -> Row:
    return await calls["judge"].ask(f"{row.n}", output_model=Row)
"""


def test_yaml_names_the_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "calling.py").write_text(CODE)
    (tmp_path / "c.yaml").write_text(YAML.format(engines="[judge]"))
    with fake_engine("judge", echoed):
        assert load_yaml_chain(tmp_path / "c.yaml").chain.run_one({"n": 4}).n == 4
    for engines, message in (("[]", "takes calls; name the engines"), ("judge", "a list")):
        (tmp_path / "c.yaml").write_text(YAML.format(engines=engines))
        with pytest.raises(ChainError, match=rf"c\.yaml:\d+.*{message}"):
            load_yaml_chain(tmp_path / "c.yaml")


async def beside(row: Row) -> Row:
    output = await get_engine("judge").complete("?", output_model=Row)
    return output.outputs[0].parsed


async def several_beside(row: Row) -> Row:
    await get_engine("judge").agenerate(["?", "!"])
    return row


def beside_loop(row: Row) -> Row:
    get_engine("judge").generate(["?"])
    return row


def beside_batch(rows: list[Row]) -> list[Row]:
    return [beside_loop(row) for row in rows]


BESIDE: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "complete": (beside, {}),
    "agenerate": (several_beside, {}),
    "generate": (beside_loop, {}),
    "in a thread": (beside_loop, {"threaded": True}),
    "in a batch": (beside_batch, {"batch": 2}),
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_direct_request_gives_one_warning_that_names_the_way(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fn, options = BESIDE[name]
    with fake_engine("judge", {"": {"n": 1}}):
        Chain(name="c", steps=apply(fn, **options)).run([{"n": n} for n in range(4)])
        (record,) = caplog.records
        assert "calls engine 'judge' by itself" in record.message
        assert "engines=['judge']" in record.message


def test_requests_of_the_run_and_outside_of_functions_give_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    step = judging("s")
    inner = Chain(name="inner", steps=step)

    async def nested(row: Row, calls: Calls) -> Row:
        await calls["judge"].ask("?")
        return await inner.arun_one(row)

    with fake_engine("judge", {"": {"n": 1}}):
        chain_of(nested, step).run([{"n": 1}])
        chain_of(blocking, threaded=True).run([{"n": 1}])
        get_engine("judge").generate(["?"])
    assert caplog.records == []


# Kills.

DEBATE = """
import asyncio

from chainette import Calls, Chain, apply
from pydantic import BaseModel


class Row(BaseModel):
    n: int


class Score(BaseModel):
    n: int


async def debate(row: Row, calls: Calls) -> Row:
    judge, total = calls["judge"], 0
    for turn in range(3):
        asked = [judge.ask(f"{row.n} {turn} {side}", output_model=Score) for side in "ab"]
        total += sum(score.n for score in await asyncio.gather(*asked))
        last = await judge.ask(f"{row.n} {turn} so far {total}", output_model=Score)
        total = last.n
    return Row(n=total)


chain = Chain(name="debate", steps=apply(debate, engines=["judge"]))
"""
PROGRAM = """
import json
import sys

from chainette import register_engine
from debating import chain

register_engine(**json.loads(sys.argv[1]))
chain.run([{"n": n} for n in range(6)], output_dir=sys.argv[2])
"""


def test_a_function_that_is_killed_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "debating.py").write_text(DEBATE)
    monkeypatch.syspath_prepend(str(tmp_path))
    process: list[subprocess.Popen[bytes]] = []
    asked: Counter[str] = Counter()

    def answer(messages: Any) -> Reply:
        prompt = messages[-1]["content"]
        asked[prompt] += 1
        if sum(asked.values()) == 29:
            process[0].kill()
        return Reply(json.dumps({"n": sum(ord(letter) for letter in prompt) % 97}))

    with FakeOpenAI() as server:
        server.set_answers(answer)
        engine = {"name": "judge", "backend": "openai", "model": "m", "endpoint": server.endpoint}
        engine |= {"price": PRICE, "max_concurrency": 3, "api_key": "k"}
        program = [sys.executable, "-c", PROGRAM, json.dumps(engine), str(tmp_path / "run")]
        path = os.pathsep.join([str(tmp_path), *sys.path])
        process.append(subprocess.Popen(program, env=os.environ | {"PYTHONPATH": path}))
        assert process[0].wait(60) == -signal.SIGKILL
        register_engine(**engine)
        chain = import_module("debating").chain
        rows = [{"n": n} for n in range(6)]
        run = chain.run(rows, output_dir=tmp_path / "run", resume=True)
        assert len(asked) == 6 * 9
        assert sum(asked.values()) - len(asked) <= 3
        whole = chain.run(rows, output_dir=tmp_path / "whole")
    assert [it.unwrap() for it in run.results] == [it.unwrap() for it in whole.results]
    called = [
        {(line["row_id"], line["call"], line["text"]) for line in lines_of(path, "steps/*.calls/*")}
        for path in (tmp_path / "run", tmp_path / "whole")
    ]
    assert called[0] == called[1]
    assert run.cost == whole.cost


async def asks_five_times(row: Row, calls: Calls) -> Row:
    for number in range(5):
        await calls["judge"].ask(f"{row.n} {number}", output_model=Score)
    return row


def test_the_limits_of_a_row_hold_for_the_calls_of_its_functions(tmp_path: Path) -> None:
    chain = chain_of(asks_five_times)
    with fake_engine("judge", counted(), price=PRICE) as engine:
        run = chain.run([{"n": 1}, {"n": 2}], output_dir=tmp_path, max_requests_per_row=3)
        assert (run.counts.failed, len(engine.requests)) == (2, 6)
        assert "max_requests_per_row=3" in str(run.results[0].error)
        again = chain.run([{"n": 1}, {"n": 2}], output_dir=tmp_path, retry_errors=True,
                          max_requests_per_row=4)  # fmt: skip
        assert (again.counts.failed, len(engine.requests)) == (2, 8)

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Chain, LLMOutput, Step, register_engine
from chainette.engine.client import retry
from chainette.engine.client.request import Request
from chainette.errors import (
    AuthenticationError,
    FailedRowError,
    InputError,
    NotFoundError,
    OutputDirError,
    PluginError,
    ServerError,
    UnknownEngineError,
)
from chainette.reports.codec import flatten, unflatten
from chainette.types import Completion
from chainette.usage import Usage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field

Make = Callable[..., str]


class Row(BaseModel):
    number: int


class Out(BaseModel):
    number: int


def chain(*, steps: int = 2, engine: str = "e", output: Any = Out, **last: Any) -> Chain:
    nodes = []
    for index in range(steps):
        is_last = index == steps - 1
        nodes.append(
            Step(
                id=f"s{index}",
                input_model=Row if index == 0 else Out,
                output_model=output if is_last else Out,
                engine_name=engine,
                system_prompt=f"s{index}",
                user_prompt="{{ chain_input.number }}",
                **(last if is_last else {}),
            )
        )
    return Chain(name="c", steps=nodes)


async def echo(request: Request) -> LLMOutput:
    number = request.messages[-1]["content"]
    return LLMOutput([Completion(f'{{"number": {number}}}')], usage=Usage(3, 5))


def engine(scripted: Make, answer: Any = echo, **fields: Any) -> None:
    fields = {"max_retries": 0, **fields}
    config = register_engine("e", backend="scripted", **fields)
    sys.modules[type(config.engine).__module__].answer = answer  # type: ignore[attr-defined]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def rows(count: int) -> list[dict[str, int]]:
    return [{"number": index} for index in range(count)]


def test_results_are_in_input_order_and_typed(scripted: Make) -> None:
    async def slow_first(request: Request) -> LLMOutput:
        await anyio.sleep(0.02 if request.messages[-1]["content"] == "0" else 0)
        return await echo(request)

    engine(scripted, slow_first)
    run = chain().run([Row(number=0), {"number": 1}, {"number": 2}])
    assert [result.value for result in run.results] == [Out(number=n) for n in range(3)]
    assert [result.row_id for result in run.results] == [0, 1, 2]
    assert run.results[0].outputs == {"s0": Out(number=0), "s1": Out(number=0)}
    assert (run.counts.rows, run.counts.ok, run.counts.failed) == (3, 3, 0)
    assert run.usage == {"s0": Usage(9, 15), "s1": Usage(9, 15)}
    assert run.path is None


def test_a_run_on_disk_has_the_documented_files(scripted: Make, tmp_path: Path) -> None:
    async def answer(request: Request) -> LLMOutput:
        await anyio.sleep(0.01 if request.messages[-1]["content"] == "0" else 0)
        if [m["content"] for m in request.messages] == ["s1", "1"]:
            raise ServerError("boom", raw_text="half an answer")
        return await echo(request)

    engine(scripted, answer, model="m", headers={"X": "secret-header"})
    run = chain().run(rows(3), output_dir=tmp_path / "out")
    out = tmp_path / "out"
    assert run.path == out
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.json*")} == {
        "run.json", "graph.json", "errors.jsonl", "dropped.jsonl", "flattened/000000.jsonl",
        "steps/s0/000000.jsonl", "steps/s1/000000.jsonl",
    }  # fmt: skip
    journal = lines(tmp_path / "out/steps/s0")
    assert sorted(line["row_id"] for line in journal) == [0, 1, 2]
    fields = {"row_id", "output", "text", "usage", "cost", "latency", "at", "reasoning"}
    assert set(journal[0]) == fields
    assert lines(tmp_path / "out/flattened") == [
        {"row_id": 0, "number": 0, "s0.number": 0, "s1.number": 0},
        {
            "row_id": 1, "number": 1, "s0.number": 1, "error.node_id": "s1", "error.engine": "e",
            "error.type": "ServerError", "error.message": "engine 'e': boom",
        },
        {"row_id": 2, "number": 2, "s0.number": 2, "s1.number": 2},
    ]  # fmt: skip
    assert [json.loads(x) for x in (tmp_path / "out/errors.jsonl").read_text().splitlines()] == [
        {
            "row_id": 1, "node_id": "s1", "engine": "e", "type": "ServerError",
            "message": "engine 'e': boom", "raw_text": "half an answer",
            "inputs": {"number": 1},
        }
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "out/run.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["counts"] == {
        "rows": 3, "ok": 2, "partial": 0, "dropped": 0, "failed": 1, "tolerated": 0,
    }  # fmt: skip
    assert manifest["plugins"] == {"chainette-scripted": "1.2"}
    assert manifest["usage_by_step"]["s1"]["completion_tokens"] == 10
    assert "secret-header" not in (tmp_path / "out/run.json").read_text()


def test_results_read_from_disk_have_their_errors(scripted: Make, tmp_path: Path) -> None:
    async def answer(request: Request) -> LLMOutput:
        if request.messages[-1]["content"] == "1":
            return LLMOutput([Completion("no json")])
        return await echo(request)

    engine(scripted, answer)
    run = chain(steps=1).run(rows(4), output_dir=tmp_path / "out")
    assert len(run.results) == 4
    assert [r.ok for r in run.results] == [True, False, True, True]
    assert [r.ok for r in run.results] == [True, False, True, True], "can be read twice"
    (failed,) = run.errors
    with pytest.raises(FailedRowError, match="not a valid Out") as exc_info:
        failed.unwrap()
    assert exc_info.value.type == "StructuredOutputError"
    assert run.results[-1].unwrap() == Out(number=3)
    assert [r.row_id for r in run.results[1:3]] == [1, 2]
    with pytest.raises(IndexError):
        _ = run.results[4]


class Deep(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    day: date
    price: Decimal = Field(alias="thePrice")
    names: dict[str, list[Out]]
    maybe: Out | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> Decimal:
        return self.price * 2


class Listed(RootModel[list[Out]]):
    pass


@pytest.mark.parametrize(
    ("output", "text"),
    [
        (Deep, '{"day": "2026-01-31", "thePrice": "1.10", "names": {"a.b": [{"number": 1}]}}'),
        (Listed, '[{"number": 1}, {"number": 2}]'),
        (Listed, "[]"),
        (dict[str, int], '{"a": 1}'),
        (dict[str, int], "{}"),
        (list[str], '["x"]'),
        (int, "3"),
    ],
)
def test_results_read_from_disk_equal_those_in_memory(
    scripted: Make, tmp_path: Path, output: Any, text: str
) -> None:
    async def answer(request: Request) -> LLMOutput:
        return LLMOutput([Completion(text)])

    engine(scripted, answer)
    one_step = chain(steps=1, output=output)
    in_memory = one_step.run(rows(1)).results[0]
    on_disk = one_step.run(rows(1), output_dir=tmp_path / "out").results[0]
    assert on_disk == in_memory
    assert in_memory.ok


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,3}", fullmatch=True),
        st.one_of(
            st.dictionaries(st.text(max_size=4), st.integers()), st.lists(st.integers()), st.none()
        ),
    )
)
def test_flattening_is_lossless(outputs: dict[str, Any]) -> None:
    assert unflatten(flatten(outputs)) == outputs


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(st.sampled_from(["ok", "invalid", "s0", "s1", "defect"]), max_size=40),
    cap=st.integers(1, 5),
    delays=st.randoms(use_true_random=False),
)
def test_every_row_is_accounted_for_once_and_in_order(
    scripted: Make, plan: list[str], cap: int, delays: Any
) -> None:
    async def answer(request: Request) -> LLMOutput:
        await anyio.sleep(delays.random() / 1000)
        step_id, number = request.messages[0]["content"], request.messages[-1]["content"]
        if plan[int(number)] == step_id:
            raise ServerError("boom")
        if plan[int(number)] == "defect":
            raise KeyError("a defect")
        return await echo(request)

    engine(scripted, answer, max_concurrency=cap)
    inputs = [{} if outcome == "invalid" else {"number": i} for i, outcome in enumerate(plan)]
    with tempfile.TemporaryDirectory() as folder:
        run = chain().run(inputs, output_dir=Path(folder) / "out", max_lines_per_file=7)
        flat = lines(Path(folder) / "out/flattened")
        errors = [
            json.loads(line)
            for line in (Path(folder) / "out/errors.jsonl").read_text().splitlines()
        ]
        results = list(run.results)
    bad = [index for index, outcome in enumerate(plan) if outcome != "ok"]
    assert [line["row_id"] for line in flat] == list(range(len(plan)))
    assert Counter(line["row_id"] for line in errors) == Counter(bad)
    assert [result.row_id for result in results if not result.ok] == bad
    assert (run.counts.ok, run.counts.failed) == (len(plan) - len(bad), len(bad))


def test_rows_are_read_lazily_and_a_bounded_number_is_in_flight(scripted: Make) -> None:
    read = in_flight = max_in_flight = max_ahead = answered = 0

    async def answer(request: Request) -> LLMOutput:
        nonlocal in_flight, max_in_flight, answered
        in_flight += 1
        max_in_flight = max(max_in_flight, in_flight)
        await anyio.sleep(0.0005)
        in_flight -= 1
        answered += 1
        return await echo(request)

    def source() -> Iterator[dict[str, int]]:
        nonlocal read, max_ahead
        for row in rows(300):
            read += 1
            max_ahead = max(max_ahead, read - answered)
            yield row

    engine(scripted, answer, max_concurrency=4)
    run = chain(steps=1).run(source())
    assert run.counts.ok == 300
    assert max_in_flight == 4
    assert max_ahead <= 10


def test_another_row_takes_the_slot_of_one_that_waits_for_a_retry(
    scripted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry.random, "uniform", lambda _, longest: 0.3)
    started: list[str] = []

    async def answer(request: Request) -> LLMOutput:
        number = request.messages[-1]["content"]
        started.append(number)
        if started.count(number) == 1 and number in "01":
            raise ServerError("busy")
        await anyio.sleep(0.001)
        return await echo(request)

    engine(scripted, answer, max_concurrency=2, max_retries=1)
    run = chain(steps=1).run(rows(12))
    assert run.counts.ok == 12
    assert started[:2] == ["0", "1"]
    assert set(started[-2:]) == {"0", "1"}  # after all the others


def test_a_line_is_in_the_journal_before_its_row_continues(scripted: Make, tmp_path: Path) -> None:
    journals: list[list[int]] = []

    async def answer(request: Request) -> LLMOutput:
        if request.messages[0]["content"] == "s1":
            journals.append([line["row_id"] for line in lines(tmp_path / "out/steps/s0")])
        return await echo(request)

    engine(scripted, answer, max_concurrency=1)
    chain().run(rows(5), output_dir=tmp_path / "out")
    assert [row_ids[-1] for row_ids in journals] == [0, 1, 2, 3, 4]


def test_a_bounded_number_of_rows_finish_before_a_slow_one(scripted: Make) -> None:
    release = anyio.Event()
    answered = 0

    async def answer(request: Request) -> LLMOutput:
        nonlocal answered
        if request.messages[-1]["content"] == "0":
            await release.wait()
        else:
            answered += 1
        return await echo(request)

    async def run() -> int:
        engine(scripted, answer, max_concurrency=2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chain(steps=1).arun, rows(200))
            for _ in range(200):
                await anyio.sleep(0)
            finished_before = answered
            release.set()
        return finished_before

    assert asyncio.run(run()) <= 16 + 2
    assert answered == 199


def test_async_inputs_and_a_running_loop_are_supported(scripted: Make) -> None:
    engine(scripted)

    async def source() -> AsyncIterator[Row]:
        for index in range(5):
            yield Row(number=index)

    async def notebook() -> tuple[int, int]:
        first = await chain().arun(source(), limit=3)
        second = chain().run(rows(2))
        return first.counts.ok, second.counts.ok

    assert asyncio.run(notebook()) == (3, 2)


def test_files_roll_over_and_hidden_outputs_are_not_in_the_table(
    scripted: Make, tmp_path: Path
) -> None:
    engine(scripted)
    two_steps = chain()
    two_steps.steps[0].yield_output = False
    run = two_steps.run(rows(5), output_dir=tmp_path / "out", max_lines_per_file=2)
    assert len(list((tmp_path / "out/flattened").iterdir())) == 3
    assert lines(tmp_path / "out/flattened")[4] == {"row_id": 4, "number": 4, "s1.number": 4}
    assert len(lines(tmp_path / "out/steps/s0")) == 5
    assert [result.value for result in run.results] == [Out(number=n) for n in range(5)]


def test_an_engine_that_never_answers_ends_the_run_with_one_error(
    scripted: Make, tmp_path: Path
) -> None:
    requests = 0

    async def answer(request: Request) -> LLMOutput:
        nonlocal requests
        requests += 1
        await anyio.sleep(0)
        raise AuthenticationError("key refused")

    engine(scripted, answer, max_concurrency=3)
    with pytest.raises(AuthenticationError, match="engine 'e': key refused"):
        chain().run(rows(1000), output_dir=tmp_path / "out")
    assert requests <= 2 * 3
    assert json.loads((tmp_path / "out/run.json").read_text())["status"] == "failed"
    engine(scripted)  # once it is fixed, the same folder can be used
    assert chain().run(rows(2), output_dir=tmp_path / "out").counts.ok == 2


def test_an_engine_that_fails_later_fails_only_its_rows(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        if request.messages[-1]["content"] != "0":
            raise NotFoundError("no such model")
        return await echo(request)

    engine(scripted, answer, max_concurrency=1)
    run = chain(steps=1).run(rows(4))
    assert (run.counts.ok, run.counts.failed) == (1, 3)


def test_an_unknown_engine_or_backend_is_refused_before_anything_is_written(
    scripted: Make, tmp_path: Path
) -> None:
    with pytest.raises(UnknownEngineError, match="'e'"):
        chain().run(rows(1), output_dir=tmp_path / "out")
    with pytest.raises(PluginError):
        register_engine("e", backend="nothing")
    assert not (tmp_path / "out").exists()


def test_an_output_dir_that_is_not_empty_is_refused(scripted: Make, tmp_path: Path) -> None:
    engine(scripted)
    out = tmp_path / "out"
    chain().run(rows(1), output_dir=out)
    with pytest.raises(OutputDirError, match="already holds a run"):
        chain().run(rows(1), output_dir=out)
    (out / "mine.txt").write_text("x")
    assert chain().run(rows(2), output_dir=out, overwrite=True).counts.ok == 2
    assert (out / "mine.txt").exists()
    with pytest.raises(OutputDirError, match="is a file"):
        chain().run(rows(1), output_dir=out / "mine.txt")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x").write_text("x")
    with pytest.raises(OutputDirError, match="does not hold a run"):
        chain().run(rows(1), output_dir=tmp_path / "other", overwrite=True)


def run_file(folder: Path, name: str, content: str | bytes) -> Any:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return chain(steps=1).run(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"number": 1}\n\n{"number": 2}\n'),
        ("a.jsonl", b'\xef\xbb\xbf{"number": 1}\r\n{"number": 2}'),
        ("a.ndjson", '{"number": 1}\n{"number": 2}\n'),
        ("a.json", '[{"number": 1}, {"number": 2}]'),
        ("a.csv", "number,other\n1,x\n2,\n"),
        ("a.CSV", b"\xef\xbb\xbfnumber\r\n1\r\n2\r\n"),
    ],
)
def test_inputs_are_read_from_files(
    scripted: Make, tmp_path: Path, name: str, content: str | bytes
) -> None:
    engine(scripted)
    run = run_file(tmp_path, name, content)
    assert [result.value.number for result in run.results] == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "location", "message"),
    [
        ("a.jsonl", '{"number": 1}\nnot json\n{"number": 3}\n', "a.jsonl:2", "not JSON"),
        ("a.jsonl", b'{"number": 1}\n\xff\xfe\n{"number": 3}\n', "a.jsonl:2", "not UTF-8"),
        ("a.jsonl", '{"number": 1}\n{"numbr": 2}\n{"number": 3}\n', "a.jsonl:2", "'number' is"),
        ("a.jsonl", '{"number": 1}\n"x"\n{"number": 3}\n', "a.jsonl:2", "dictionary"),
        ("a.json", '[{"number": 1}, {"number": "x"}, {"number": 3}]', "row 1", "number: "),
        ("a.csv", "number\n1\n2,9\n3\n", "a.csv:3", "more values than the 1 columns"),
        ("a.csv", "number,b\n1,2\n,2\n3,2\n", "a.csv:3", "'number' is empty"),
    ],
)
def test_only_the_unreadable_row_fails_and_its_location_is_named(
    scripted: Make, tmp_path: Path, name: str, content: str | bytes, location: str, message: str
) -> None:
    engine(scripted)
    run = run_file(tmp_path, name, content)
    assert [result.ok for result in run.results] == [True, False, True]
    error = run.results[1].error
    assert isinstance(error, InputError)
    assert location in str(error)
    assert message in str(error)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{}", "expected a JSON array"),
        ("a.json", '[{"number": 1},\n oops]', "a.json:2: not JSON"),
        ("a.txt", "", "unknown format '.txt'"),
    ],
)
def test_an_unreadable_file_is_one_error(
    scripted: Make, tmp_path: Path, name: str, content: str, message: str
) -> None:
    engine(scripted)
    with pytest.raises(InputError) as exc_info:
        run_file(tmp_path, name, content)
    assert message in str(exc_info.value)


def test_inputs_of_other_types_are_refused(scripted: Make, tmp_path: Path) -> None:
    engine(scripted)
    with pytest.raises(InputError, match="expected rows"):
        chain().run(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is a directory"):
        chain().run(tmp_path)


def test_an_error_in_the_users_generator_is_propagated(scripted: Make) -> None:
    def source() -> Iterator[dict[str, int]]:
        yield {"number": 1}
        raise ZeroDivisionError("mine")

    engine(scripted)
    with pytest.raises(ZeroDivisionError, match="mine"):
        chain().run(source())


def test_half_a_surrogate_pair_in_an_answer_is_kept(scripted: Make, tmp_path: Path) -> None:
    async def answer(request: Request) -> LLMOutput:
        return LLMOutput([Completion('{"text": "\\ud800"}' if "1" in str(request) else "\ud800")])

    engine(scripted, answer)
    run = chain(steps=1).run(rows(2), output_dir=tmp_path / "run")
    assert run.counts.rows == 2
    assert len(list(run.results)) == 2
    assert (tmp_path / "run/errors.jsonl").read_bytes()

"""Runs that stop before their last row and are resumed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Chain, EngineConfig, Step, apply
from chainette.errors import BudgetError, EngineDownError, OutputDirError, QuotaError, RequestError
from chainette.registry import engines as registry
from chainette.testing import FakeClient, fake_engine
from pydantic import BaseModel


class Row(BaseModel):
    n: int


def chain() -> Chain:
    step = Step(id="a", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ n }}")
    return Chain(name="c", steps=[step])


def rows(count: int = 200) -> list[dict[str, int]]:
    return [{"n": n} for n in range(count)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def failing(every: int) -> Any:
    """Fail one row out of `every`."""

    def answer(messages: Any) -> Any:
        n = int(messages[-1]["content"])
        return RequestError("no") if n % every == 0 else Row(n=n)

    return answer


def test_too_many_errors_stop_a_run_that_can_be_resumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    with fake_engine("e", failing(2), max_concurrency=4) as engine:
        run = chain().run(rows(), output_dir=folder, max_errors=10)
    assert isinstance(run.stopped, BudgetError)
    assert "max_errors=10" in str(run.stopped)
    assert "stopped" in caplog.text
    assert 11 <= run.counts.failed <= 11 + 8
    assert run.counts.rows < 200
    assert len(engine.requests) == run.counts.rows, "rows in flight are finished and kept"
    manifest = json.loads((folder / "run.json").read_text())
    assert manifest["status"] == "stopped"
    assert "max_errors" in manifest["stopped"]
    with fake_engine("e") as engine:
        again = chain().run(rows(), output_dir=folder, retry_errors=True)
    assert again.stopped is None
    assert (again.counts.ok, again.counts.failed) == (200, 0)
    assert len(engine.requests) == 200 - run.counts.ok
    assert [line["row_id"] for line in lines(folder / "flattened/000000.jsonl")] == [*range(200)]


@pytest.mark.parametrize(
    ("max_errors", "stops"), [(0.4, True), (0.6, False), (100, False), (99, True)]
)
def test_max_errors_is_a_number_or_a_share(max_errors: float, stops: bool) -> None:
    with fake_engine("e", failing(2), max_concurrency=1):
        run = chain().run(rows(), max_errors=max_errors)
    assert (run.stopped is not None) is stops


def test_a_share_of_errors_is_ignored_in_the_first_rows() -> None:
    with fake_engine("e", failing(100), max_concurrency=1):  # row 0 is one of them
        assert chain().run(rows(90), max_errors=0.1).stopped is None


class Hosted(FakeClient):
    """A fake that looks like a hosted model with a price."""

    offline = False

    def __init__(self, config: EngineConfig, answers: Any = None) -> None:
        super().__init__(config, answers)
        self.base_url = "https://api.openai.com/v1"
        self.model = "gpt-4o"


def test_a_run_stops_at_its_maximum_cost() -> None:
    config = EngineConfig(name="e", backend="fake", max_concurrency=1)
    with registry.replaced(Hosted(config)):
        run = chain().run(rows(), max_cost=0.001)
    assert isinstance(run.stopped, BudgetError)
    assert run.cost is not None
    assert 0.001 < run.cost < 0.0015
    assert 10 < run.counts.rows < 150


@pytest.mark.parametrize("error", [QuotaError, EngineDownError])
def test_an_unusable_engine_stops_the_run_with_one_message(
    error: type[Exception], tmp_path: Path
) -> None:
    def answer(messages: Any) -> Any:
        n = int(messages[-1]["content"])
        return error("nothing left") if n >= 50 else Row(n=n)

    folder = tmp_path / "run"
    with fake_engine("e", answer, max_concurrency=8) as engine:
        run = chain().run(rows(), output_dir=folder)
    assert isinstance(run.stopped, error)
    assert len(engine.requests) < 100
    assert run.counts.failed == 0
    assert not lines(folder / "errors.jsonl")
    with fake_engine("e") as engine:
        again = chain().run(rows(), output_dir=folder, resume=True)
    assert (again.counts.ok, again.counts.failed) == (200, 0)
    assert len(engine.requests) == 150


def test_a_stopped_stream_raises_its_error() -> None:
    results = []

    async def consume() -> None:
        async for result in chain().stream(rows(), max_errors=5):
            results.append(result)

    with fake_engine("e", failing(2), max_concurrency=1), pytest.raises(BudgetError):
        anyio.run(consume)
    assert 10 <= len(results) < 20


def test_retries_are_counted_in_the_manifest(tmp_path: Path) -> None:
    with fake_engine("e", ["no JSON", '{"n": 1}', '{"n": 2}'], max_concurrency=1):
        chain().run(rows(2), output_dir=tmp_path / "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["retries"] == {"a": 1}


def test_a_run_that_finishes_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    with fake_engine("e"), caplog.at_level(logging.WARNING):
        assert chain().run(rows(5), max_errors=1, max_cost=1.0).stopped is None
    assert not caplog.records


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Limit the size of files, so that writing fails as on a full disk."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("rows", [300, 3000])
def test_a_full_disk_ends_the_run_with_one_message_and_it_can_be_resumed(
    tmp_path: Path, rows: int
) -> None:
    def same(row: Row) -> Row:
        return row

    chain = Chain(name="c", steps=[apply(same, id="same")])
    inputs = [{"n": n} for n in range(rows)]
    with small_files(2_000), pytest.raises(OutputDirError, match=r"cannot be written.*resume=True"):
        chain.run(inputs, output_dir=tmp_path / "out")
    run = chain.run(inputs, output_dir=tmp_path / "out", resume=True)
    assert run.counts.ok == rows
    assert [line["row_id"] for line in run.lines()] == list(range(rows))

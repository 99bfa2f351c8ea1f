"""Runs in the hands of schedulers and impatient people."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Branch, Chain, Step, apply
from chainette.errors import OutputDirError, RequestError
from chainette.folder import lock
from chainette.testing import fake_engine
from pydantic import BaseModel

PROGRAM = str(Path(sys.executable).with_name("chainette"))
RUN = ("run", "numbers_chain.py:chain", "-i", "rows.jsonl", "-e", "engines.yml", "-o", "out")


class Row(BaseModel):
    n: int


def step(id: str = "a", engine: str = "e") -> Step[Row, Row]:
    return Step(id=id, input_model=Row, output_model=Row, engine_name=engine, user_prompt="{{ n }}")


def chain(*steps: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=list(steps or [step()]))


def inputs(folder: Path, count: int = 20) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(count)))
    return path


def manifest(folder: Path) -> Any:
    return json.loads((folder / "run.json").read_text())


def table(folder: Path) -> list[Any]:
    files = sorted((folder / "flattened").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


class Held:
    """A fake server whose answers wait, except for the first."""

    def __init__(self, server: Any) -> None:
        self.reached, self.release = threading.Event(), threading.Event()
        self._server = server
        server.reply = self.reply

    def reply(self, body: dict[str, Any]) -> tuple[int, Any]:
        if body["messages"][-1]["content"] != "Say 0":
            self.reached.set()
            self.release.wait(20)
        answer: tuple[int, Any] = self._server.say(body)
        return answer


@pytest.fixture
def held(project: Path, openai_server: Any) -> Iterator[Held]:
    engines = (project / "engines.yml").read_text() + "  max_concurrency: 1\n"
    (project / "engines.yml").write_text(engines)
    server = Held(openai_server)
    yield server
    server.release.set()


@contextmanager
def started(project: Path, held: Held, *more: str, before: Any = None) -> Iterator[Any]:
    """A run of the program that has one row done, and one in flight."""
    process = subprocess.Popen(
        [PROGRAM, *RUN, *more], cwd=project, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, preexec_fn=before,
    )  # fmt: skip
    try:
        assert held.reached.wait(30)
        yield process
    finally:
        held.release.set()
        process.kill()
        process.communicate()


# The check of plugins


def test_the_check_of_a_plugin_ignores_the_options_of_the_environment(in_process: Any) -> None:
    for name, value in (("PYTEST_ADDOPTS", "--no-such-option"), ("PYTEST_ADDOPTS", "-k nothing"),
                        ("PYTEST_PLUGINS", "no_such_module")):  # fmt: skip
        outcome = in_process("plugins", "check", "openai", env={name: value})
        assert outcome.returncode == 0, outcome.stderr
        assert outcome.stdout.count("ok ") > 10


def test_a_check_that_cannot_run_is_an_error(
    in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytest, "main", lambda *_, **__: pytest.ExitCode.USAGE_ERROR)
    outcome = in_process("plugins", "check", "openai")
    assert outcome.returncode == 2
    assert "could not be checked" in outcome.stderr


def test_the_fake_server_of_a_plugin_can_be_in_the_current_folder(
    in_process: Any, tmp_path: Path
) -> None:
    (tmp_path / "my_fake_server.py").write_text(
        "from chainette.testing.servers import FakeOpenAI\n\nclass Mine(FakeOpenAI):\n    pass\n"
    )
    outcome = in_process("plugins", "check", "openai", "--server", "my_fake_server:Mine")
    assert outcome.returncode == 0, outcome.stderr
    outcome = in_process("plugins", "check", "openai", "--server", "my_fake_server:Other")
    assert outcome.returncode == 2
    assert "no fake server" in outcome.stderr


# Rows that split into many items


def same(messages: Any) -> Row:
    return Row(n=int(messages[-1]["content"]))


async def pause(row: Row) -> Row:
    await anyio.sleep(0.001)
    return row


def split(count: int, id: str = "split") -> Any:
    def many(row: Row) -> list[Row]:
        return [Row(n=n) for n in range(count)]

    return apply(many, id=id)


def counted(id: str, counter: dict[str, int]) -> Any:
    def enter(row: Row) -> Row:
        counter["now"] = counter.get("now", 0) + 1
        counter["most"] = max(counter.get("most", 0), counter["now"])
        return row

    return apply(enter, id=id)


def left(id: str, counter: dict[str, int]) -> Any:
    def leave(row: Row) -> Row:
        counter["now"] -= 1
        return row

    return apply(leave, id=id)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("rows", [1, 5])
def test_the_items_of_a_row_take_room_as_rows_do(nested: bool, rows: int) -> None:
    counter: dict[str, int] = {}
    first = [split(10, "outer"), split(50, "inner")] if nested else [split(500)]
    nodes = [*first, counted("in", counter), apply(pause), step(), left("out", counter)]
    with fake_engine("e", same, max_concurrency=4):
        run = chain(*nodes).run([{"n": 0}] * rows)
    assert run.counts.ok == rows
    assert counter["most"] <= 2 * 4 + rows * (10 if nested else 1)
    for result in run.results:
        numbers = [value.n for value in result.value]
        assert numbers == ([*range(50)] * 10 if nested else [*range(500)])


@pytest.mark.parametrize("batch", [7, 300, "all"])
@pytest.mark.parametrize("nested", [False, True])
def test_items_that_wait_in_a_batch_make_room_for_others(batch: Any, nested: bool) -> None:
    sizes = []

    def together(rows: list[Row]) -> list[Row]:
        sizes.append(len(rows))
        return rows

    first = [split(10, "outer"), split(50, "inner")] if nested else [split(500)]
    nodes = [*first, step(), apply(together, id="together", batch=batch), step("b")]
    with fake_engine("e", same, max_concurrency=4):
        run = chain(*nodes).run([{"n": 0}] * 2)
        assert run.counts.ok == 2
        if batch != "all":
            sizes.clear()
            assert len(chain(*nodes).run_one({"n": 0})) == 500
            assert sum(sizes) == 500
            assert len([size for size in sizes if size < batch]) <= 1


def test_items_wait_for_a_branch_that_waits_in_a_batch() -> None:
    def together(rows: list[Row]) -> list[Row]:
        return rows

    side = Branch(name="side", steps=[apply(together, id="together", batch=100)]).join("other")

    def add(row: Row, context: Any) -> Row:
        return Row(n=row.n + context["other"].n)

    with fake_engine("e", same, max_concurrency=4):
        run = chain(side, split(100), step(), apply(add, id="add")).run([{"n": 1}] * 3)
    assert [len(result.value) for result in run.results] == [100] * 3


def test_an_error_of_one_item_leaves_the_others() -> None:
    def answer(messages: Any) -> Any:
        n = int(messages[-1]["content"])
        return RequestError("no") if n == 300 else Row(n=n)

    with fake_engine("e", answer, max_concurrency=4) as engine:
        run = chain(split(500), step()).run([{"n": 1}])
    assert (run.counts.failed, len(engine.requests)) == (1, 500)

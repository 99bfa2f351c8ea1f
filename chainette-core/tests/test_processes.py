"""Engines in programs of all kinds: threads, event loops, forks and notebooks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
from chainette import Chain, Step, register_engine
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGINT")


class Row(BaseModel):
    n: int


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(
        lambda messages: Reply(json.dumps({"n": int(messages[-1]["content"])}))
    ) as server:
        yield server


def chain(server: FakeOpenAI) -> Chain:
    register_engine("e", backend="openai", model="m", endpoint=server.endpoint, max_concurrency=4)
    step = Step(id="a", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ n }}")
    return Chain(name="c", steps=[step])


def numbers(chain: Chain, start: int, count: int = 20) -> list[int]:
    run = chain.run([{"n": n} for n in range(start, start + count)])
    return [result.unwrap().n for result in run.results]


def test_one_chain_runs_in_eight_threads(server: FakeOpenAI) -> None:
    shared = chain(server)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda t: numbers(shared, 100 * t), range(8)))
    assert results == [list(range(100 * t, 100 * t + 20)) for t in range(8)]
    assert server.peak <= 4


def test_several_runs_share_one_event_loop(server: FakeOpenAI) -> None:
    shared = chain(server)

    async def call() -> list[int]:
        counts: list[int] = []

        async def run(start: int) -> None:
            run = await shared.arun([{"n": n} for n in range(start, start + 30)])
            counts.append(run.counts.ok)

        async with anyio.create_task_group() as tasks:
            for start in range(4):
                tasks.start_soon(run, 10 * start)
        return counts

    assert anyio.run(call) == [30] * 4
    assert server.peak <= 4


@posix
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_an_engine_works_in_the_child_of_a_fork(server: FakeOpenAI) -> None:
    shared = chain(server)
    assert numbers(shared, 0) == list(range(20))
    child = os.fork()
    if child == 0:
        results = numbers(shared, 50)
        os._exit(0 if results == list(range(50, 70)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert numbers(shared, 10) == list(range(10, 30))


NOTEBOOK = """
import asyncio, sys, threading, time
from chainette import Chain, Step, register_engine
from pydantic import BaseModel

class Row(BaseModel):
    n: int

register_engine(
    "e", backend="openai", model="m", endpoint=sys.argv[1], max_concurrency=64
)
step = Step(id="a", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ n }}")
chain = Chain(name="c", steps=[step])

async def cell():  # a notebook runs its cells in its own loop
    print("running", flush=True)
    try:
        chain.run([{"n": n} for n in range(100)], output_dir="run")
    except KeyboardInterrupt:
        time.sleep(0.5)
        print("interrupted", *(t.name for t in threading.enumerate()), flush=True)

asyncio.new_event_loop().run_until_complete(cell())
"""


@posix
def test_ctrl_c_in_a_notebook_cell_ends_the_run(server: FakeOpenAI, tmp_path: Path) -> None:
    server.set_answers(
        lambda messages: Reply('{"n": 1}', delay=0.0 if "7" in str(messages) else 60)
    )
    running = subprocess.Popen(
        [sys.executable, "-c", NOTEBOOK, server.endpoint],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while len(server.requests) < 64 and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=30)
    assert output.splitlines() == ["running", "interrupted MainThread"], errors
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    assert (tmp_path / "run/steps/a/000000.jsonl").read_text().count("\n") > 3

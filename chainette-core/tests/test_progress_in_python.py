"""The progress that `run`, `arun` and `stream` show: where, what, and nowhere else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Chain, EngineConfig, Step, apply
from chainette.errors import ConfigError
from chainette.messages.numbers import dollars, duration
from chainette.registry import engines as registry
from chainette.run.executor import Executor
from chainette.run.progress.displays import listeners
from chainette.run.progress.stats import RunStats
from chainette.testing import FakeClient
from pseudo_terminal import Terminal
from pydantic import BaseModel

HEAD = """
import asyncio, sys, threading
from chainette import Chain, apply

async def wait(row):
    await asyncio.sleep(0.25)
    return row

chain = Chain(name="c", steps=[apply(wait, id="wait")])
rows = [{"n": n} for n in range(100)]
"""
MANY = """
chain.run(rows, progress=progress)
async def read():
    async for result in chain.stream(rows, progress=progress):
        print("row", result.row_id)
        break
    await asyncio.sleep(0.1)
    await asyncio.gather(chain.arun(rows, progress=progress), chain.arun(rows, progress=progress))
    chain.run(rows[:9], progress=progress)  # in a loop that runs: a thread of its own
    print(chain.run_one(rows[0]))
asyncio.run(read())
thread = threading.Thread(target=chain.run, args=(rows[:9],), kwargs={"progress": progress})
thread.start()
thread.join()
"""


class Row(BaseModel):
    n: int


def on_a_terminal(script: str, folder: Path) -> tuple[str, str]:
    """What a script writes to a terminal as its standard error, and to a pipe."""
    with Terminal() as terminal:
        outcome = subprocess.run(
            [sys.executable, "-c", script],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=terminal.end,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
            timeout=60,
            check=False,
        )
    assert outcome.returncode == 0, terminal.screen
    return terminal.screen, outcome.stdout.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of its own needs pty")
def test_on_a_terminal_a_run_shows_bars_and_prints_stay_where_they_go(tmp_path: Path) -> None:
    screen, printed = on_a_terminal(HEAD + "progress='auto'\n" + MANY, tmp_path)
    assert re.search(r"wait +━+ +100/100", screen)
    assert re.search(r"rows +━+ +100/100", screen)
    assert printed == "row 0\n{'n': 0}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of its own needs pty")
def test_what_is_switched_off_shows_nothing_on_a_terminal(tmp_path: Path) -> None:
    assert on_a_terminal(HEAD + "progress=False\n" + MANY, tmp_path)[0] == ""


def test_nothing_is_shown_without_a_terminal_unless_it_is_asked_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    chain = Chain(name="c", steps=[apply(lambda row: row, id="same", input_model=dict)])
    chain.run([{"n": 1}])
    assert capfd.readouterr() == ("", "")
    chain.run([{"n": 1}], progress=True)
    out, error = capfd.readouterr()
    assert (out, error.splitlines()[0]) == ("", "c: same")
    assert error.splitlines()[-1].startswith("1/1 row, 0 failed")


@pytest.mark.parametrize("stream", [None, "closed", "odd"])
def test_a_program_may_have_no_standard_error(stream: str | None, tmp_path: Path) -> None:
    for_tests: dict[Any, Any] = {None: None, "odd": object()}
    old = sys.stderr
    try:
        if stream == "closed":
            with (tmp_path / "log").open("w") as file:
                sys.stderr = file
        else:
            sys.stderr = for_tests[stream]
        assert listeners("auto") == ()
    finally:
        sys.stderr = old


@pytest.mark.parametrize("value", ["always", None, 1, 0, "True"])
def test_other_values_are_refused_by_name(value: Any) -> None:
    chain = Chain(name="c", steps=[apply(lambda row: row, id="same", input_model=dict)])
    with pytest.raises(ConfigError, match=r"^progress=.*: expected 'auto', True or False$"):
        chain.run([{"n": 1}], progress=value)


class Watched(FakeClient):
    """A fake that calls a function in the middle of every request."""

    look: Any = staticmethod(lambda: None)

    async def _chat(self, request: Any) -> Any:
        await anyio.sleep(0.002)
        self.look()
        return await super()._chat(request)


def test_no_more_is_in_flight_than_the_limit_of_the_engine() -> None:
    stats, seen = RunStats(), list[tuple[int, int]]()

    def look() -> None:
        at_nodes = sum(node.in_flight for node in stats.nodes.values())
        seen.append((sum(stats.in_flight.values()), at_nodes))

    steps = [
        Step(id=id, input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ n }}")
        for id in ("a", "b")
    ]
    client = Watched(EngineConfig(name="e", backend="fake", max_concurrency=4), {"": Row(n=1)})
    client.look = look
    with registry.replaced(client):
        rows = [{"n": n} for n in range(40)]
        chain = Chain(name="c", steps=steps)
        anyio.run(Executor(chain, rows, listeners=(stats,)).run)
    assert max(sent for sent, _ in seen) == 4
    assert all(sent <= items for sent, items in seen)


@pytest.mark.parametrize(
    ("options", "start"),
    [({}, "30 rows, "), ({"limit": 20}, "20/20 rows, "), ({"sample": 10}, "10/10 rows, ")],
)
def test_rows_of_csv_have_a_total_only_where_it_is_known(
    options: dict[str, Any], start: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("n\n" + "1\n" * 30)
    stats = RunStats()
    chain = Chain(name="c", steps=[apply(lambda row: row, id="same", input_model=Row)])
    anyio.run(Executor(chain, path, listeners=(stats,), **options).run)
    assert stats.line().startswith(start)


def test_durations_are_in_the_unit_that_suits_them() -> None:
    texts = [duration(it) for it in (0, 0.4, 7, 99, 100, 5400, 9000)]
    assert texts == ["0 s", "0.4 s", "7 s", "99 s", "2 min", "90 min", "2.5 h"]
    texts = [dollars(it) for it in (0, 0.00001, 0.0042, 1, 1234.5)]
    assert texts == ["$0.00", "less than $0.0001", "$0.0042", "$1.00", "$1,234.50"]

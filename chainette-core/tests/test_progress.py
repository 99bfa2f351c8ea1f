"""The progress of a run on a terminal, in plain lines and in JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, EngineConfig, Step, apply
from chainette.cli.progress import JsonProgress
from chainette.events import Event, Listener, NodeStarted
from chainette.messages.numbers import plural, rate
from chainette.registry import engines as registry
from chainette.run.api import run_until_interrupted
from chainette.run.executor import Executor
from chainette.run.progress.lines import PlainProgress
from chainette.run.progress.stats import RunStats
from chainette.testing import FakeClient
from pseudo_terminal import Terminal
from pydantic import BaseModel


class Row(BaseModel):
    n: int


class Hosted(FakeClient):
    """A fake that seems to be a model with a price."""

    offline = False

    def __init__(self, config: EngineConfig, answers: Any = None) -> None:
        super().__init__(config, answers)
        self.base_url = "https://api.openai.com/v1"
        self.model = "gpt-4o"


class Lines:
    """Keeps the line of the stats after every node."""

    def __init__(self, stats: RunStats) -> None:
        self.stats, self.lines = stats, list[str]()

    def __call__(self, event: Event) -> None:
        if isinstance(event, NodeStarted):
            self.lines.append(self.stats.line())


def run(chain: Chain, rows: list[Any], *listeners: Listener) -> None:
    import anyio

    async def call() -> None:
        executor = Executor(chain, rows, listeners=listeners)
        await run_until_interrupted(executor)

    anyio.run(call)


def hosted(answers: Any = None) -> Any:
    return registry.replaced(Hosted(EngineConfig(name="e", backend="fake"), answers))


def chain() -> Chain:
    step = Step(id="a", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ n }}")
    return Chain(name="c", steps=[step])


def test_a_line_says_how_far_the_run_is_and_what_it_has_cost() -> None:
    stats = RunStats()
    lines = Lines(stats)
    with hosted({"7": "no JSON", "": Row(n=1)}):
        run(chain(), [{"n": n} for n in range(9)], stats, lines)
        at_the_end = stats.line()
    assert re.fullmatch(r"0/9 rows, 0 failed, 0 rows/s", lines.lines[0])
    last = r"9/9 rows, 1 failed, 1 retried, [\d.]+ rows/s, \d+ tokens, [\d.]+ tokens/s, \$0\.\d{4}"
    assert re.fullmatch(last, at_the_end)
    assert stats.nodes["a"].usage.prompt_tokens > 0
    assert (stats.nodes["a"].done, stats.nodes["a"].failed, stats.nodes["a"].in_flight) == (8, 1, 0)


def test_rates_have_about_two_digits_and_one_row_is_a_row() -> None:
    counts = [(0, 9.0), (1, 27.0), (1, 1.0), (37, 10.0), (99, 2.0), (4321, 1.0)]
    assert [rate(*it) for it in counts] == ["0", "0.037", "1", "3.7", "50", "4321"]
    assert [plural(count, "row") for count in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def test_json_lines_say_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    stats = RunStats()
    with hosted():
        run(chain(), [{"n": 1}], stats, JsonProgress(stats))
    events = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["run_started", "run_closed"]
    node = events[1]["nodes"]["a"]
    assert (node["in_flight"], node["done"], node["failed"]) == (0, 1, 0)


def test_plain_lines_begin_and_end_a_run(capfd: pytest.CaptureFixture[str]) -> None:
    stats = RunStats()
    step = apply(lambda row: row, id="same", input_model=Row, output_model=Row)
    run(Chain(name="c", steps=[step]), [{"n": 1}], stats, PlainProgress(stats))
    first, last = capfd.readouterr().err.splitlines()
    assert first == "c: same"
    assert last.startswith("1/1 row, 0 failed, ")


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of its own needs pty")
def test_a_terminal_gets_a_bar_for_every_node(tmp_path: Path) -> None:
    (tmp_path / "chains.py").write_text(
        "import asyncio\n"
        "from chainette import Chain, apply\n"
        "async def wait(row):\n"
        "    await asyncio.sleep(0.3)\n"
        "    return row\n"
        "def odd(row):\n"
        "    assert row['n'] % 2\n"
        "    return row\n"
        "chain = Chain(name='c', steps=[apply(wait, id='wait'), apply(odd, id='odd')])\n"
    )
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(100)))
    program = Path(sys.executable).with_name("chainette")
    command = [program, "run", "chains.py:chain", "-i", "rows.jsonl"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with Terminal() as terminal:
        outcome = subprocess.run(
            command,
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=terminal.end,
            env=environment,
            timeout=60,
        )
    text = terminal.screen
    assert outcome.returncode == 1
    assert "64 in flight" in text
    assert re.search(r"wait +━+ +100/100", text)
    assert re.search(r"odd +━+ +100/100 .*50 failed", text)
    assert re.search(r"rows +━+ +100/100 .*50 failed", text)

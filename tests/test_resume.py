"""Runs on the command line that are killed and resumed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chainette.testing import faults
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI

Chainette = Callable[..., subprocess.CompletedProcess[str]]
ROWS = 120
IN_FLIGHT = 8
CHAIN = """
from chainette import Branch, Chain, Step, apply
from pydantic import BaseModel

class Row(BaseModel):
    number: int

class Answer(BaseModel):
    text: str

def halves(row: Row) -> list[Row]:
    return [Row(number=row.number), Row(number=-row.number)]

def step(id, takes, prompt):
    return Step(id=id, input_model=takes, output_model=Answer, engine_name="e", user_prompt=prompt)

chain = Chain(name="numbers", steps=[
    Branch(name="side", steps=[step("aside", Row, "aside {{ number }}")]).join("other"),
    apply(halves),
    step("say", Row, "say {{ number }}"),
    step("again", Answer, "again {{ text }} {{ other.text }} {{ halves.number }}"),
])
"""


def answer(messages: Any) -> Reply:
    prompt = messages[-1]["content"]
    if "say 13" in prompt:
        return faults.status(400, "unlucky")
    return Reply(json.dumps({"text": prompt.split()[1]}), delay=0.005)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "numbers_chain.py").write_text(CHAIN)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"number": {n}}}\n' for n in range(ROWS)))
    return tmp_path


def engines(folder: Path, server: FakeOpenAI) -> None:
    engine = {"name": "e", "backend": "openai", "model": "m", "endpoint": server.endpoint}
    (folder / "engines.yml").write_text(json.dumps([engine | {"max_concurrency": IN_FLIGHT}]))


def command(out: str) -> list[str]:
    program = str(Path(sys.executable).with_name("chainette"))
    return [program, "run", "numbers_chain.py", "-i", "rows.jsonl", "-e", "engines.yml", "-o", out]


def flattened(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "flattened").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_run_that_is_killed_repeatedly_ends_with_the_results_of_a_clean_one(folder: Path) -> None:
    rng = random.Random(7)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
    with FakeOpenAI(answer) as server:
        engines(folder, server)
        clean = subprocess.run(command("clean"), cwd=folder, env=environment, capture_output=True)
        assert clean.returncode == 1
        prompts = {request.messages[-1]["content"] for request in server.requests}
        clean_requests = len(server.requests)
        server.set_answers(answer)
        kills = finished = 0
        for _ in range(30):
            before = len(server.requests)
            process = subprocess.Popen(
                [*command("killed"), "--resume"],
                cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip
            while process.poll() is None and len(server.requests) == before:
                time.sleep(0.01)  # a run that has not started has nothing to lose
            try:
                process.wait(rng.random() * 0.4 if kills < 4 else 60)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
                ended = json.loads((folder / "killed/run.json").read_text())["status"]
                finished += ended == "finished"  # killed as it was about to exit
            finally:
                assert process.stderr is not None
                process.stderr.close()
        assert process.returncode == 1
        assert kills >= 1
        requests = Counter(request.messages[-1]["content"] for request in server.requests)
    assert flattened(folder / "killed") == flattened(folder / "clean")
    assert (folder / "killed/graph.json").read_bytes() == (folder / "clean/graph.json").read_bytes()
    assert sum(requests.values()) <= clean_requests + kills * IN_FLIGHT
    assert set(requests) == prompts
    errors = (folder / "killed/errors.jsonl").read_text().splitlines()
    assert len(errors) == 1
    assert json.loads(errors[0])["node_id"] == "say"
    manifest = json.loads((folder / "killed/run.json").read_text())
    counts = manifest["counts"]
    assert (counts["rows"], counts["ok"], counts["partial"]) == (ROWS, ROWS - 1, 1)
    assert len(manifest["resumed"]) == kills - finished


def test_an_interrupted_run_says_how_to_resume(folder: Path) -> None:
    with FakeOpenAI(lambda _: Reply('{"text": "x"}', delay=0.05)) as server:
        engines(folder, server)
        process = subprocess.Popen(
            command("run"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not server.requests:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "--resume" in errors
        resumed = subprocess.run([*command("run"), "--resume"], cwd=folder, capture_output=True)
        assert resumed.returncode == 0
    assert len(flattened(folder / "run")) == 2 * ROWS


def test_a_run_that_cannot_be_resumed_is_refused(folder: Path, in_process: Chainette) -> None:
    with FakeOpenAI(answer) as server:
        engines(folder, server)
        arguments = command("run")[1:]
        assert in_process(*arguments, "--limit", "3").returncode == 0
        assert "--resume" in in_process(*arguments).stderr
        (folder / "rows.jsonl").write_text('{"number": 5}\n')
        result = in_process(*arguments, "--resume")
        assert result.returncode == 2
        assert "changed since: the inputs" in result.stderr
        assert "Traceback" not in result.stderr
        assert in_process(*arguments, "--resume", "--overwrite").returncode == 2
        assert in_process(*arguments[:-2], "--resume").returncode == 2


def test_only_errors_are_retried(folder: Path, in_process: Chainette) -> None:
    with FakeOpenAI(answer) as server:
        engines(folder, server)
        assert in_process(*command("run")[1:]).returncode == 1
        server.set_answers(lambda messages: {"text": messages[-1]["content"].split()[1]})
        result = in_process(*command("run")[1:], "--retry-errors")
        assert result.returncode == 0, result.stderr
        prompts = [request.messages[-1]["content"] for request in server.requests]
    assert prompts == ["say 13", "again 13 13 13"]


def test_events_are_written_as_json_lines(folder: Path, in_process: Chainette) -> None:
    with FakeOpenAI(answer) as server:
        engines(folder, server)
        result = in_process(*command("run")[1:], "--json-logs")
    assert result.stdout == "".join(
        path.read_text() for path in sorted((folder / "run/flattened").iterdir())
    )
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert events[0]["event"] == "run_started"
    assert events[0]["rows"] == ROWS
    (failed,) = [event for event in events if event["event"] == "failed"]
    assert (failed["row_id"], failed["item"], failed["node_id"]) == (13, "0", "say")
    assert events[-1] == {"event": "run", "path": "run"}
    assert events[-2]["event"] == "run_closed"
    assert events[-2]["nodes"]["halves"] == {
        "in_flight": 0,
        "done": ROWS,
        "failed": 0,
        "tokens": 0,
    }


def test_a_dry_run_shows_prompts_without_sending_them(folder: Path, in_process: Chainette) -> None:
    with FakeOpenAI(answer) as server:
        engines(folder, server)
        result = in_process(*command("run")[1:], "--dry-run", "--with-functions", "--limit", "1")
        assert server.requests == []
    assert result.returncode == 0, result.stderr
    assert "--- row 0, step aside, engine e\n[user]\naside 0\n" in result.stdout
    assert "say 0" in result.stdout
    sample_output = in_process(
        *command("run")[1:], "--dry-run", "--sample", "2", "--columns", "number"
    ).stdout
    assert sample_output.count("step aside") == 2
    missing_column = in_process(*command("run")[1:], "--dry-run", "--columns", "number=nr")
    assert missing_column.returncode == 2
    assert "no column 'nr'" in missing_column.stderr
    assert not (folder / "run").exists()

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
from chainette.errors import ChainError, OutputDirError, QuotaError, RequestError
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


# One run in a folder


@pytest.mark.parametrize("option", [(), ("--resume",), ("--overwrite",), ("--retry-errors",)])
def test_a_second_run_in_the_folder_is_refused_with_the_process_of_the_first(
    project: Path, held: Held, in_process: Any, option: tuple[str, ...]
) -> None:
    with started(project, held) as first:
        second = in_process(*RUN, *option)
        assert second.returncode == 2
        assert f"out: another run is writing to this folder (process {first.pid} on " in (
            second.stderr
        )
        held.release.set()
        first.communicate(timeout=30)
        assert first.returncode == 0
    assert [line["row_id"] for line in table(project / "out")] == [0, 1, 2, 3, 4]
    assert not (project / "out" / lock.LOCK).exists()


def test_two_runs_of_one_process_do_not_share_a_folder(tmp_path: Path) -> None:
    async def both(options: dict[str, Any]) -> list[Any]:
        ends: list[Any] = []

        async def one() -> None:
            try:
                ends.append(await waiting.arun([{"n": 1}], output_dir=tmp_path / "out", **options))
            except OutputDirError as error:
                ends.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
        return ends

    async def slow(row: Row) -> Row:
        await anyio.sleep(0.1)
        return row

    waiting = chain(apply(slow, id="slow"))
    with fake_engine("e"):
        for options in ({}, {"overwrite": True}, {"resume": True}):
            ends = anyio.run(both, options)
            assert sum(isinstance(end, OutputDirError) for end in ends) == 1, ends
            shutil.rmtree(tmp_path / "out")


def test_two_threads_do_not_share_a_folder(tmp_path: Path) -> None:
    inside, ends = threading.Event(), []

    def wait(row: Row) -> Row:
        inside.set()
        time.sleep(0.3)
        return row

    waiting = chain(apply(wait, id="wait"))
    thread = threading.Thread(
        target=lambda: ends.append(waiting.run([{"n": 1}], output_dir=tmp_path / "out"))
    )
    thread.start()
    assert inside.wait(10)
    with pytest.raises(OutputDirError, match=f"process {os.getpid()} on "):
        waiting.run([{"n": 1}], output_dir=tmp_path / "out", overwrite=True)
    thread.join()
    assert ends[0].counts.ok == 1


def test_a_run_that_cannot_start_leaves_the_folder_free(tmp_path: Path) -> None:
    with fake_engine("e"):
        chain().run(inputs(tmp_path, 2), output_dir=tmp_path / "out")
        for _ in range(2):
            with pytest.raises(OutputDirError, match="already holds a run"):
                chain().run(inputs(tmp_path, 2), output_dir=tmp_path / "out")
        assert chain().run(inputs(tmp_path, 3), output_dir=tmp_path / "out", overwrite=True)


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with fake_engine("e"), pytest.raises(OutputDirError, match="does not hold a run"):
        chain().run([{"n": 1}], output_dir=tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_system_without_locks_is_only_warned_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with fake_engine("e"):
        assert chain().run([{"n": 1}], output_dir=tmp_path / "out").counts.ok == 1
    assert "cannot be locked (No locks available)" in caplog.text


def test_a_killed_run_is_called_killed_and_its_lock_is_free(
    project: Path, held: Held, in_process: Any
) -> None:
    with started(project, held) as first:
        assert manifest(project / "out")["status"] == "running"
        first.kill()
        first.wait()
    assert "already holds a run (killed)" in in_process(*RUN).stderr
    again = in_process(*RUN, "--resume")
    assert again.returncode == 0, again.stderr
    assert "resuming a run that was killed" in again.stderr
    assert manifest(project / "out")["resumed_from"] == "killed"


# Signals


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_ends_a_run_as_ctrl_c_does(
    project: Path, held: Held, name: str, code: int, times: int
) -> None:
    with started(project, held) as process:
        for _ in range(times):
            process.send_signal(getattr(signal, name))
            time.sleep(0.4)
        if times == 1:
            assert process.poll() is None, "the request in flight has its time"
            held.release.set()
        _, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert "--resume" in errors
    assert manifest(project / "out")["status"] == "interrupted"
    assert len(table(project / "out")) == manifest(project / "out")["counts"]["rows"] < 5


def test_a_signal_that_nohup_ignores_stays_ignored(project: Path, held: Held) -> None:
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with started(project, held, before=ignore) as process:
        process.send_signal(signal.SIGHUP)
        held.release.set()
        process.communicate(timeout=20)
    assert process.returncode == 0


PROGRAM_WITH_A_RUN = """
import os, signal, sys, threading
from chainette import Chain, apply

def fn(row: dict[str, int]) -> dict[str, int]:
    if row["n"] == 3:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    return row

Chain(name="c", steps=apply(fn)).run([{"n": n} for n in range(50_000)], output_dir="out")
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_program_that_runs_a_chain_ends_with_the_code_of_the_signal(
    tmp_path: Path, name: str, code: int
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM_WITH_A_RUN, name], cwd=tmp_path, capture_output=True
    )
    assert ended.returncode == code, ended.stderr
    assert manifest(tmp_path / "out")["status"] == "interrupted"


@pytest.mark.parametrize("way", ["arun", "stream", "run_one"])
def test_only_a_whole_run_listens_to_signals(way: str) -> None:
    seen = []

    def look(row: Row) -> Row:
        seen.append(signal.getsignal(signal.SIGTERM))
        return row

    looking = chain(apply(look, id="look"))

    async def stream() -> None:
        async for _ in looking.stream([{"n": 1}]):
            pass

    ways: dict[str, Callable[[], Any]] = {
        "arun": lambda: anyio.run(looking.arun, [{"n": 1}]),
        "stream": lambda: anyio.run(stream),
        "run_one": lambda: looking.run_one({"n": 1}),
    }
    ways[way]()
    assert seen == [signal.SIG_DFL]


# Exit codes


def refusing(openai_server: Any, *numbers: int) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        if int(body["messages"][-1]["content"].split()[1]) in numbers:
            return 400, {"error": {"message": "unlucky"}}
        answer: tuple[int, Any] = openai_server.say(body)
        return answer

    openai_server.reply = reply


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), 1),
        (("--limit", "1"), 0),
        (("--limit", "3"), 1),
        (("--sample", "5"), 1),
        (("--allow-errors", "2"), 0),
        (("--allow-errors", "0.4"), 0),
        (("--allow-errors", "1"), 1),
        (("--allow-errors", "0.3"), 1),
        (("--max-errors", "1"), 3),
        (("--max-errors", "1", "--allow-errors", "5"), 3),
    ],
)
def test_the_exit_code_says_whether_a_run_is_complete(
    in_process: Any, project: Path, openai_server: Any, options: tuple[str, ...], code: int
) -> None:
    refusing(openai_server, 1, 2)
    outcome = in_process(*RUN, *options)
    assert outcome.returncode == code, outcome.stderr
    assert ("--resume" in outcome.stderr) is (code == 3)


def test_an_account_without_credit_stops_a_run_with_3(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    engines = (project / "engines.yml").read_text() + "  max_concurrency: 1\n"
    (project / "engines.yml").write_text(engines)

    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        if body["messages"][-1]["content"] == "Say 0":
            answer: tuple[int, Any] = openai_server.say(body)
            return answer
        return 402, {"error": {"message": "nothing left"}}

    openai_server.reply = reply
    outcome = in_process(*RUN)
    assert outcome.returncode == 3, outcome.stderr
    openai_server.reply = openai_server.say
    assert in_process(*RUN, "--resume").returncode == 0


def test_a_limit_on_the_cost_stops_a_run_with_3(
    in_process: Any, project: Path, openai_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "  max_concurrency: 1\n  price: {input: 1000, output: 1000}\n"
    engines = (project / "engines.yml").read_text() + more
    (project / "engines.yml").write_text(engines)

    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        code, answer = openai_server.say(body)
        return code, answer | {"usage": {"prompt_tokens": 1000, "completion_tokens": 0}}

    openai_server.reply = reply
    outcome = in_process(*RUN, "--max-cost", "2")
    assert outcome.returncode == 3, outcome.stderr
    assert "(--max-cost 2" in outcome.stderr
    assert "--resume" in outcome.stderr
    assert 2 <= len(table(project / "out")) < 5
    assert in_process(*RUN, "--resume", "--max-cost", "9").returncode == 0


def test_an_engine_that_goes_away_stops_a_run_with_3(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    more = "  max_concurrency: 1\n  give_up_after: 0.2\n"
    engines = (project / "engines.yml").read_text() + more
    (project / "engines.yml").write_text(engines)

    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        if body["messages"][-1]["content"] == "Say 0":
            answer: tuple[int, Any] = openai_server.say(body)
            return answer
        return 503, {"error": {"message": "down"}}

    openai_server.reply = reply
    outcome = in_process(*RUN)
    assert outcome.returncode == 3, outcome.stderr
    assert manifest(project / "out")["counts"]["failed"] == 0
    openai_server.reply = openai_server.say
    assert in_process(*RUN, "--resume").returncode == 0


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("rows.jsonl", None),
        ("rows.jsonl", '{"Numbre": 1}\n'),
        ("engines.yml", "- name: e\n\tbackend: openai\n"),
        ("engines.yml", "- {name: other, backend: openai, model: m}\n"),
        ("numbers_chain.py", "chain = 1 / 0\n"),
        ("out", ""),
    ],
)
def test_a_run_that_cannot_start_ends_with_2_and_one_message(
    in_process: Any, project: Path, openai_server: Any, file: str, content: str | None
) -> None:
    openai_server.reply = lambda body: pytest.fail("a request")
    if content is None:
        (project / file).unlink()
    else:
        (project / file).write_text(content)
    outcome = in_process(*RUN)
    assert outcome.returncode == 2, outcome.stderr
    assert outcome.stderr.count("error: ") == 1
    assert not (project / "out").is_dir()


@pytest.mark.parametrize(("numbers", "code"), [((), 0), ((1,), 1)])
@pytest.mark.parametrize("limits", [(None, None), (None, "2"), ("3", "3"), ("3", "2"), ("9", None)])
def test_resuming_a_complete_run_does_nothing_and_gives_its_code(
    in_process: Any, project: Path, openai_server: Any, numbers: tuple[int, ...], code: int,
    limits: tuple[str | None, str | None],
) -> None:  # fmt: skip
    refusing(openai_server, *numbers)
    first, second = (("--limit", limit) if limit else () for limit in limits)
    assert in_process(*RUN, *first).returncode == code
    before = {path: path.stat() for path in (project / "out").rglob("*") if path.is_file()}
    openai_server.reply = lambda body: pytest.fail("a request")
    again = in_process(*RUN, *second, "--resume")
    assert again.returncode == code
    assert "nothing to do" in again.stderr
    assert again.stdout == (project / "out/flattened/000000.jsonl").read_text()
    assert "run: out" in again.stderr
    after = {path: path.stat() for path in (project / "out").rglob("*") if path.is_file()}
    assert {path: it.st_mtime_ns for path, it in after.items()} == {
        path: it.st_mtime_ns for path, it in before.items()
    }


def test_resuming_a_complete_run_returns_it(tmp_path: Path) -> None:
    rows = inputs(tmp_path, 3)
    with fake_engine("e"):
        first = chain().run(rows, output_dir=tmp_path / "out")
    with fake_engine("e") as engine:
        again = chain().run(rows, output_dir=tmp_path / "out", resume=True)
        assert engine.requests == []
    assert again.nothing_to_do
    assert (again.counts, again.usage, again.cost) == (first.counts, first.usage, first.cost)
    assert [it.value for it in again.results] == [it.value for it in first.results]


def test_resuming_with_more_rows_or_failed_ones_goes_on(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    refusing(openai_server, 1)
    assert in_process(*RUN, "--limit", "2").returncode == 1
    assert len(table(project / "out")) == 2
    assert in_process(*RUN, "--resume").returncode == 1
    assert len(table(project / "out")) == 5
    openai_server.reply = openai_server.say
    assert in_process(*RUN, "--retry-errors").returncode == 0


# Broken files, full disks, folders that go away


def broken(kind: str, line: str) -> str:
    return {
        "garbled": line[:20] + "\x00\x00" + line[22:],
        "cut": line[:20] + "\n",
        "joined": line[:20],
        "another value": "17\n",
        "empty": "\n",
    }[kind]


@pytest.mark.parametrize("kind", ["garbled", "cut", "joined", "another value", "empty"])
@pytest.mark.parametrize("name", ["steps/a", "flattened"])
def test_a_broken_line_is_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, name: str
) -> None:
    rows, out = inputs(tmp_path), tmp_path / "out"
    with fake_engine("e", max_concurrency=1):
        chain().run(rows, output_dir=out)
    whole, file = table(out), out / name / "000000.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    lines[7] = broken(kind, lines[7])
    file.write_text("".join(lines))
    with fake_engine("e") as engine:
        again = chain().run(rows, output_dir=out, resume=True)
    lost = {"steps/a": 2 if kind == "joined" else 1, "flattened": 0}[name]
    assert len(engine.requests) == lost
    assert again.counts.ok == 20
    assert [line["row_id"] for line in table(out)] == [line["row_id"] for line in whole]
    assert len([it for it in caplog.records if f"{file}:8: broken line" in it.message]) == (
        name == "steps/a"
    )


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_broken_manifest_is_one_message(tmp_path: Path, content: str) -> None:
    rows, out = inputs(tmp_path, 3), tmp_path / "out"
    with fake_engine("e"):
        chain().run(rows, output_dir=out)
        (out / "run.json").write_text(content)
        with pytest.raises(OutputDirError, match=r"run\.json: cannot be read"):
            chain().run(rows, output_dir=out, resume=True)
        with pytest.raises(OutputDirError, match="already holds a run"):
            chain().run(rows, output_dir=out)
        assert chain().run(rows, output_dir=out, overwrite=True).counts.ok == 3


def test_a_broken_line_of_the_table_is_named_when_it_is_read(tmp_path: Path) -> None:
    with fake_engine("e"):
        run = chain().run(inputs(tmp_path, 3), output_dir=tmp_path / "out")
    file = tmp_path / "out/flattened/000000.jsonl"
    file.write_text(file.read_text().replace('"row_id":1', '"row_id":'))
    with pytest.raises(OutputDirError, match=r"000000.jsonl:2: the line is broken.*resume=True"):
        list(run.results)


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def make_read_only(folder: Path) -> None:
    """Also for root: a file is in the place of the folder of the tables."""
    shutil.rmtree(folder / "flattened")
    (folder / "flattened").write_text("")


@pytest.mark.parametrize("harm", [delete, make_read_only])
def test_a_folder_that_goes_away_stops_the_run_with_one_message(
    project: Path, held: Held, harm: Callable[[Path], None]
) -> None:
    (project / "rows.jsonl").write_text("".join(f'{{"number": {n}}}\n' for n in range(300)))
    with started(project, held, "--max-lines-per-file", "1") as process:
        harm(project / "out")
        held.release.set()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    assert errors.count("error: ") == 1


@pytest.mark.exhaustive
def test_a_full_disk_stops_the_run_with_3_and_what_is_done_stays(
    project: Path, in_process: Any
) -> None:
    resource = pytest.importorskip("resource")
    (project / "rows.jsonl").write_text("".join(f'{{"number": {n}}}\n' for n in range(300)))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    ended = subprocess.run(
        [PROGRAM, *RUN], cwd=project, capture_output=True, text=True, preexec_fn=limit
    )
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.count("error: ") == 1
    assert manifest(project / "out")["status"] == "stopped"
    again = in_process(*RUN, "--resume")
    assert again.returncode == 0, again.stderr
    assert [line["row_id"] for line in table(project / "out")] == [*range(300)]


# What reaches the terminal

EVIL = "\x1b[2Jgone\x1b]0;title\x07\x9b31m\u202e"


def test_answers_and_errors_do_not_control_the_terminal(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        if body["messages"][-1]["content"] == "Say 1":
            return 400, {"error": {"message": EVIL}}
        text = json.dumps({"text": EVIL})
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    openai_server.reply = reply
    outcome = in_process(*RUN)
    assert "\\u001b[2Jgone" in outcome.stdout
    for character in "\x1b\x07\x9b\u202e":
        assert character not in outcome.stdout + outcome.stderr
    stored = (project / "out/steps/say/000000.jsonl").read_text()
    assert json.loads(stored.splitlines()[0])["output"]["text"] == EVIL, "files keep it"


PROMPTS = """
from chainette import Chain, Step
from pydantic import BaseModel

class Row(BaseModel):
    text: str

chain = Chain(name="c", steps=[Step(
    id="say", input_model=Row, output_model=Row, engine_name="e", user_prompt="{{ text }}",
)])
"""


def test_dry_runs_and_errors_do_not_control_the_terminal(in_process: Any, project: Path) -> None:
    (project / "prompts.py").write_text(PROMPTS)
    (project / "rows.jsonl").write_text(json.dumps({"text": EVIL}) + "\n")
    dry = in_process("run", "prompts.py", *RUN[2:], "--dry-run")
    assert "\\u001b[2Jgone" in dry.stdout, dry.stderr
    wrong = in_process("engines", "check", EVIL, "-e", "engines.yml")
    missing = in_process("run", "prompts.py", "-i", f"{EVIL}.jsonl", "-o", "out")
    for outcome in (dry, wrong, missing):
        for character in "\x1b\x07\x9b\u202e":
            assert character not in outcome.stdout + outcome.stderr


def test_the_check_of_an_engine_does_not_control_the_terminal(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    choice = {"message": {"content": EVIL}, "finish_reason": "stop"}
    openai_server.reply = lambda body: (200, {"choices": [choice]})
    outcome = in_process("engines", "check", "e", "-e", "engines.yml")
    for character in "\x1b\x07\x9b\u202e":
        assert character not in outcome.stdout + outcome.stderr


def test_the_summary_groups_errors_by_what_they_say(
    in_process: Any, project: Path, openai_server: Any
) -> None:
    lines = ["not json\n"] * 3 + ['{"number": 1}\n', '{"numbr": 3}\n']
    (project / "rows.jsonl").write_text("".join(lines))
    message = "unlucky (request req_011ab, 550e8400-e29b-41d4-a716-446655440000)"
    openai_server.reply = lambda body: (400, {"error": {"message": message}})
    assert "most frequent error (3 of 5): InputError: rows.jsonl:1: not JSON" in (
        in_process(*RUN).stderr
    )


@pytest.mark.parametrize(
    "message",
    [
        "unlucky (request req_{n:05x}ab)",
        "unlucky: 550e8400-e29b-41d4-a716-44665544{n:04d}",
        "line {n} of {n} is unlucky",
        "unlucky in {n}.{n} s at 0x7f{n:04x}",
    ],
)
def test_errors_that_differ_only_in_ids_and_numbers_are_one_group(
    in_process: Any, project: Path, openai_server: Any, message: str
) -> None:
    def reply(body: dict[str, Any]) -> tuple[int, Any]:
        number = int(body["messages"][-1]["content"].split()[1])
        return 400, {"error": {"message": message.format(n=number + 10)}}

    openai_server.reply = reply
    assert "most frequent error (5 of 5): RequestError: " in in_process(*RUN).stderr


# The check of plugins, as a program: pytest within pytest would share its modules


@pytest.mark.exhaustive
def test_the_check_of_a_plugin_ignores_the_options_of_the_environment(chainette: Any) -> None:
    options = {"PYTEST_ADDOPTS": "-k nothing --no-such-option", "PYTEST_PLUGINS": "no_such_module"}
    outcome = chainette("plugins", "check", "openai", env=options)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert outcome.stdout.count("ok ") > 10


def test_a_check_that_cannot_run_is_an_error(
    in_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytest, "main", lambda *_, **__: pytest.ExitCode.USAGE_ERROR)
    outcome = in_process("plugins", "check", "openai")
    assert outcome.returncode == 2
    assert "could not be checked" in outcome.stderr


@pytest.mark.exhaustive
def test_the_fake_server_of_a_plugin_can_be_in_the_current_folder(
    chainette: Any, tmp_path: Path
) -> None:
    (tmp_path / "my_fake_server.py").write_text(
        "from chainette.testing.servers import FakeOpenAI\n\nclass Mine(FakeOpenAI):\n    pass\n"
    )
    outcome = chainette("plugins", "check", "openai", "--server", "my_fake_server:Mine")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    outcome = chainette("plugins", "check", "openai", "--server", "my_fake_server:Other")
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
    assert (run.counts.partial, len(engine.requests)) == (1, 500)


MEMORY = """
import sys
from pathlib import Path
from chainette import Chain, apply

def split(row: dict[str, int]) -> list[int]:
    return [*range(int(sys.argv[1]))]

def double(number: int) -> int:
    return 2 * number

chain = Chain(name="c", steps=[apply(split)])
rows, folder = [{"n": n} for n in range(6)], Path(sys.argv[2])
assert chain.run(rows, output_dir=folder).counts.ok == 6
(folder / "run.json").write_text((folder / "run.json").read_text().replace("finished", "killed"))
run = chain.run(rows, output_dir=folder, resume=True)
assert run.counts.ok == 6 and not run.nothing_to_do
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
"""Prints the peak of its own memory; that of `getrusage` begins with the parent's."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.exhaustive
def test_memory_does_not_grow_with_the_items_of_a_row(tmp_path: Path) -> None:
    def peak(items: int) -> int:
        command = [sys.executable, "-c", MEMORY, str(items), str(tmp_path / f"{items}")]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    few, many = peak(1000), peak(4000)
    assert many / few < 1.15, f"{few // 1024} MB and {many // 1024} MB"


@pytest.mark.parametrize("typed", [True, False])
def test_rows_split_one_after_another(typed: bool) -> None:
    """Until all items of one have started, the next one is not in memory."""
    held: set[int] = set()
    most = [0]

    def many(row: Row) -> list[Row]:
        held.add(row.n)
        most.append(len(held))
        return [Row(n=1000 * row.n + n) for n in range(200)]

    if not typed:
        many.__annotations__.pop("return")

    def end(row: Row) -> Row:
        if row.n % 1000 == 199:
            held.remove(row.n // 1000)
        return row

    with fake_engine("e", same, max_concurrency=4):
        run = chain(apply(many), step(), apply(end)).run([{"n": n} for n in range(30)])
    assert run.counts.ok == 30
    assert max(most) <= 2


def test_functions_that_wait_split_rows_beside_each_other() -> None:
    counter: dict[str, int] = {}

    async def many(row: Row) -> list[Row]:
        counter["now"] = counter.get("now", 0) + 1
        counter["most"] = max(counter.get("most", 0), counter["now"])
        await anyio.sleep(0.01)
        counter["now"] -= 1
        return [row] * 3

    with fake_engine("e", same, max_concurrency=4):
        run = chain(apply(many), step()).run([{"n": n} for n in range(30)])
    assert run.counts.ok == 30
    assert counter["most"] >= 4


def late(slow: set[int]) -> Any:
    """A function that keeps some items back, and lets the others pass."""

    async def wait(row: Row) -> Row:
        for _ in range(100 if row.n in slow else 1):
            await anyio.sleep(0.001)
        return row

    return apply(wait, id="late")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_items_are_written_in_their_order(tmp_path: Path, nested: bool, rows: int) -> None:
    first = [split(4, "outer"), split(50, "inner")] if nested else [split(200)]
    nodes = [*first, late({0, 7, 49}), *([split(2, "last")] if nested else [])]
    run = chain(*nodes).run([{"n": 0}] * rows, output_dir=tmp_path / "out", max_lines_per_file=30)
    items = [
        f"{outer}.{inner}.{last}" for outer in range(4) for inner in range(50) for last in range(2)
    ]
    wanted = items if nested else [str(n) for n in range(200)]
    lines = table(tmp_path / "out")
    assert [line["item"] for line in lines] == wanted * rows
    assert [line["row_id"] for line in lines] == [n for n in range(rows) for _ in wanted]
    assert len(run.results) == len(list(run.results)) == rows


def test_few_ends_wait_for_a_slow_item(tmp_path: Path) -> None:
    started, ended = [], []

    def enter(row: Row) -> Row:
        started.append(row.n)
        return row

    async def wait(row: Row) -> Row:
        if row.n == 0:
            for _ in range(50):
                await anyio.sleep(0.001)
            ended.append(len(started))
        return row

    nodes = [split(1000), apply(enter), apply(wait), step()]
    with fake_engine("e", same, max_concurrency=4):
        chain(*nodes).run([{"n": 0}] * 2, output_dir=tmp_path / "out")
    assert len(started) == 2000
    assert ended[0] <= (8 + 2) * 4 + 1


@pytest.mark.parametrize("stopped_at", [1, 100])
@pytest.mark.parametrize("lines_each", [7, 1000])
def test_no_items_are_left_of_a_row_that_was_given_up(
    tmp_path: Path, stopped_at: int, lines_each: int
) -> None:
    left = {"n": stopped_at}

    def answer(messages: Any) -> Any:
        n = int(messages[-1]["content"])
        return QuotaError("no credit") if n >= left["n"] else Row(n=n)

    def many(row: Row) -> list[Row]:
        return [Row(n=100 * row.n + n) for n in range(100)]

    options: Any = {"output_dir": tmp_path / "out", "max_lines_per_file": lines_each}
    nodes = chain(apply(many), step())
    rows = [{"n": 0}, {"n": 1}]
    with fake_engine("e", answer, max_concurrency=4):
        run = nodes.run(rows, **options)
        whole = run.counts.rows
        assert run.stopped is not None
        assert whole <= stopped_at // 100
        assert len(run.results) == len(list(run.results)) == whole
        assert [line["a.n"] for line in table(tmp_path / "out")] == [*range(100 * whole)]
        left["n"] = 1000
        run = nodes.run(rows, resume=True, **options)
    assert run.counts.ok == 2
    assert [line["a.n"] for line in table(tmp_path / "out")] == [*range(200)]
    assert [len(result.value or []) for result in run.results] == [100, 100]


def test_the_line_of_a_split_is_as_it_was(tmp_path: Path) -> None:
    def many(row: Row) -> list[Any]:
        return [1, "half \ud800 a pair", (2, 3), {"deep": [None, 1.5]}]

    def last(part: Any) -> str:
        seen.append(part)
        return ascii(part)

    seen: list[Any] = []
    nodes = chain(apply(many), apply(last))
    nodes.run([{"n": 0}], output_dir=tmp_path / "out")
    (path,) = (tmp_path / "out/steps/many").iterdir()
    assert json.loads(path.read_text()) == {
        "row_id": 0,
        "output": [1, "half \ufffd a pair", [2, 3], {"deep": [None, 1.5]}],
        "snapshot": [None, {"$text": '"half \\ud800 a pair"'}, {"$tuple": [2, 3]}, None],
        "kind": "split",
    }
    shutil.rmtree(tmp_path / "out/steps/last")
    parts, seen = seen, []
    (tmp_path / "out/run.json").write_text('{"status": "running"}')
    nodes.run([{"n": 0}], output_dir=tmp_path / "out", resume=True, force=True)
    assert seen == parts


# Branches


def test_a_branch_can_be_joined_under_the_id_of_one_of_its_steps() -> None:
    def add(row: Row, context: Any) -> Row:
        return Row(n=row.n + context["side"].n)

    def double(row: Row) -> Row:
        return Row(n=2 * row.n)

    side = Branch("side", [apply(double, id="side"), apply(double, id="again")]).join("side")
    run = chain(side, apply(add, id="add")).run([{"n": 1}])
    assert run.results[0].value == Row(n=5), "the output of the branch, not that of the step"


def test_a_branch_cannot_be_joined_under_the_id_of_another_step() -> None:
    with pytest.raises(ChainError, match="is joined as 'a', which is the id of a step"):
        chain(Branch("side", [step("b")]).join("a"), step("a"))
    first, second = (Branch(id, [step(id)]).join("b") for id in "bc")
    with pytest.raises(ChainError, match="is joined as 'b', which is the"):
        chain(first, second)
    with pytest.raises(ChainError, match="is joined as 'b', which is the"):
        chain(second, first)


def test_a_joined_list_is_a_list() -> None:
    seen = []

    def look(row: Row, context: Any) -> Row:
        seen.append(context["side"])
        return row

    side = Branch("side", [split(3)]).join("side")
    chain(side, apply(look, id="look")).run([{"n": 1}])
    assert seen == [[Row(n=0), Row(n=1), Row(n=2)]]
    assert isinstance(seen[0], list)


def test_a_joined_list_is_json_in_a_prompt() -> None:
    side = Branch("side", [split(2)]).join("side")
    last = Step(
        id="b", input_model=Row, output_model=Row, engine_name="e",
        user_prompt="{{ side | length }}: {{ side }}",
    )  # fmt: skip
    with fake_engine("e") as engine:
        chain(side, last).run([{"n": 1}])
    assert engine.requests[0][-1]["content"] == '2: [{"n":0},{"n":1}]'

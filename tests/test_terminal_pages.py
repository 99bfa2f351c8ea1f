"""What the command line shows: help that can be copied, the end of a run, dry runs and joins."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chainette import Branch, Chain, Step, apply
from chainette.cli.app import app
from chainette.cli.light import command
from chainette.cli.shown.help import EXAMPLES, GROUPS, OTHERS
from chainette.cli.tree import tree
from chainette.run.options import options_of
from pseudo_terminal import Terminal
from pydantic import BaseModel
from rich.console import Console

CHAIN = """
from chainette import Chain, Step, apply, register_engine
from pydantic import BaseModel

class Row(BaseModel):
    text: str
    n: int = 0

class Answer(BaseModel):
    label: str

def label(row: Row) -> Answer:
    return Answer(label=f"label of {row.text}")

chain = Chain(name="c", steps=[apply(label, id="label")])
register_engine("e", backend="openai", model="m", api_key="k", endpoint="http://127.0.0.1:9/v1")
asked = Chain(name="a", steps=[
    Step(id="s", input_model=Row, output_model=Answer, engine_name="e",
         user_prompt="Say {{ text }}"),
])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chains.py").write_text(CHAIN)
    rows = "".join(f'{{"text": "text {n}", "n": {n}}}\n' for n in range(20))
    (tmp_path / "rows.jsonl").write_text(rows)
    return tmp_path


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, group
    for name, inner in getattr(group, "commands", {}).items():
        yield from commands(inner, (*words, name))


COMMANDS = {" ".join(words): found for words, found in commands(command(app))}


def help_of(words: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> list[str]:
    monkeypatch.setenv("COLUMNS", "80")
    arguments = [*words.split(), "--help"]
    command(app).main(arguments, prog_name="chainette", standalone_mode=False)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("words", COMMANDS)
def test_help_begins_with_a_command_to_copy_and_cuts_no_word(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = help_of(words, capsys, monkeypatch)
    assert lines[0] == EXAMPLES[words]
    assert lines[1] == ""
    assert lines[2].startswith("Usage: chainette")
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines[3:]).replace("targets... <", "")  # there can be several
    assert not re.search(r"\w(…|\.\.\.)($| )", text, re.MULTILINE), "a word is cut"
    given = shlex.split(lines[0].partition(" > ")[0])[1:]
    path = [it for it in given[:2] if " ".join(given[: given.index(it) + 1]) in COMMANDS]
    flags = {flag for it in COMMANDS[" ".join(path)].params for flag in it.opts}
    assert {it for it in given if it.startswith("-")} <= flags
    assert words in ("", *(" ".join(path[:end]) for end in (1, 2)))


@pytest.mark.parametrize("words", ["run", "run-yaml"])
def test_the_options_of_a_run_are_in_groups(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = help_of(words, capsys, monkeypatch)
    titles = [line[:-1] for line in lines if re.fullmatch(r"[A-Z][\w ]+:", line)]
    assert titles == ["Arguments", *GROUPS, OTHERS]
    grouped = {name for names in GROUPS.values() for name in names}
    assert {option.name for option in options_of()} <= grouped
    text = "\n".join(lines)
    for name in grouped & {it.name for it in COMMANDS[words].params}:
        assert f"--{name.replace('_', '-')}" in text


def on_a_terminal(arguments: list[str], folder: Path, columns: int) -> str:
    """What a command writes to a terminal, without colours."""
    program = Path(sys.executable).with_name("chainette")
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    with Terminal() as terminal:
        subprocess.run(
            [program, *arguments],
            cwd=folder,
            stdout=terminal.end,
            stderr=terminal.end,
            env=environment,
            timeout=60,
        )
    return terminal.screen.replace("\r\n", "\n")


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of its own needs pty")
def test_a_run_ends_with_five_rows_the_path_and_the_next_commands(folder: Path) -> None:
    command = ["run", "chains.py:chain", "-i", "rows.jsonl", "-o", "runs/a b"]
    screen = on_a_terminal(command, folder, 80)
    assert [n for n in range(20) if f"label of text {n}" in " ".join(screen.split())] == [*range(5)]
    assert "and 15 more rows in the run's files" in " ".join(screen.split())
    assert screen.rstrip().splitlines()[-3:] == [
        "run: runs/a b",
        "next: chainette report 'runs/a b'",
        "      chainette export 'runs/a b' table.csv",
    ]
    assert max(len(line.rstrip()) for line in screen.split("row  ")[-1].splitlines()) <= 80


def test_a_pipe_receives_the_rows_as_json_lines_and_nothing_else(
    in_process: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for more in ((), ("--resume",), ("--overwrite", "--json-logs")):
        done = in_process("run", "chains.py:chain", "-i", "rows.jsonl", "-o", "out", *more)
        assert done.stdout == (folder / "out/flattened/000000.jsonl").read_text()
        assert "out" in done.stderr


@pytest.mark.parametrize(
    ("flags", "count"),
    [((), 3), (("--show", "1"), 1), (("--show", "7"), 7), (("--limit", "5"), 5)],
)
def test_a_dry_run_shows_so_many_prompts(
    flags: tuple[str, ...], count: int, in_process: Any, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    done = in_process("run", "chains.py:asked", "-i", "rows.jsonl", "--dry-run", *flags)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"Say text (\d+)", done.stdout) == [str(n) for n in range(count)]


def test_show_is_refused_without_a_dry_run(
    in_process: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = in_process("run", "chains.py:chain", "-i", "rows.jsonl", "--show", "2")
    assert (done.returncode, "--show belongs to --dry-run" in done.stderr) == (2, True)


class Row(BaseModel):
    text: str


def same(row: Row) -> Row:
    return row


def both(row: Row, names: dict[str, Any]) -> Row:
    return row


@pytest.mark.parametrize("last", [[], [apply(both, id="end")]])
def test_inspect_says_what_a_join_brings_and_who_uses_it(last: list[Any]) -> None:
    chain = Chain(
        name="c",
        steps=[
            Branch("one", apply(same, id="a")).join("used"),
            Branch("two", apply(same, id="b")).join("spare"),
            Branch("three", apply(same, id="c")),
            Step(
                id="ask",
                input_model=Row,
                output_model=Row,
                engine_name="e",
                user_prompt="{{ text }} {{ used.text }}",
            ),
            *last,
        ],
    )
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tree(chain, icons=False))
    shown = capture.get()
    seen = ", seen by end" if last else ""
    assert re.search(rf"branch one  joined as used: Row, used by ask{seen} *\n", shown)
    words = "seen by end" if last else "not used"
    assert re.search(rf"branch two  joined as spare: Row, {words} *\n", shown)
    assert re.search(r"ask  Row → Row  engine e  uses used *\n", shown)
    assert ("end  Row → Row  sees spare, used" in shown) is bool(last)
    assert re.search(r"branch three *\n", shown)

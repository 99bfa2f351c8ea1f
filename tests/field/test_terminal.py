"""Names, paths and words of servers that would control the terminal, in every command."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EVIL = "\x1b[2Jgone\x1b]0;title\x07\x9b31m\u202e\u2066\x08\r"
CONTROLS = "\x1b\x07\x08\x9b\u202e\u2066\r"
CHAIN = f"""
from chainette import Branch, Chain, Step, apply
from pydantic import BaseModel, create_model

EVIL = {EVIL!r}

class Row(BaseModel):
    number: int

Odd = create_model(EVIL, text=(str, ...))

def same(row: Row) -> Row:
    return row

def step(id, engine):
    return Step(id=id, name=EVIL, input_model=Row, output_model=Odd, engine_name=engine,
                user_prompt="{{{{ number }}}}", emoji=EVIL)

chain = Chain(name=EVIL, emoji=EVIL, steps=[
    step("say", EVIL),
])
branched = Chain(name=EVIL, steps=[
    apply(same, name=EVIL), Branch(name="b", steps=[step("say", EVIL)], emoji=EVIL).join("joined"),
])
"""
RUN = ("run", "evil.py:chain", "-i", "rows.jsonl", "-e", "evil.yml", "-o", "out")
CHECK = ("engines", "check", EVIL, "-e", "evil.yml")

COMMANDS: list[tuple[str, ...]] = [
    ("inspect", "evil.py:chain"),
    ("inspect", "evil.py:chain", "--no-icons"),
    ("inspect", "evil.py:branched"),
    ("inspect", "evil.py:branched", "--mermaid"),
    ("inspect", "evil.py:branched", "--json"),
    ("inspect", f"{EVIL}.py:chain"),
    ("inspect", f"evil.py:{EVIL}"),
    ("inspect", f"{EVIL}.yaml"),
    RUN,
    (*RUN, "--json-logs"),
    (*RUN, "--dry-run"),
    (*RUN[:-1], EVIL.replace("\r", "")),
    ("--debug", *RUN),
    ("run", "evil.py:chain", "-i", f"{EVIL}.jsonl", "-e", "evil.yml"),
    ("run", "evil.py:chain", "-i", "rows.jsonl", "-e", f"{EVIL}.yml"),
    (*RUN, "--fmt", EVIL),
    (*RUN, "--limit", EVIL),
    (*RUN, "--columns", EVIL),
    (*RUN, "--encoding", EVIL),
    (*RUN, EVIL),
    (*RUN, f"--{EVIL}"),
    (EVIL,),
    ("engines", EVIL),
    ("engines", "list", "-e", "evil.yml"),
    ("engines", "list", "-e", "evil.yml", "--json"),
    CHECK,
    ("--debug", *CHECK),
    ("engines", "check", f"{EVIL}x", "-e", "evil.yml"),
    ("engines", "warmup", EVIL, "-e", "evil.yml"),
    ("engines", "warmup", EVIL, "-e", "evil.yml", "--dry-run"),
    ("engines", "warmup", f"{EVIL}x", "-e", "evil.yml"),
    ("engines", "stop", EVIL),
    ("warmup", "evil.py:chain", "-e", "evil.yml"),
    ("ask", EVIL, "hello", "-e", "evil.yml"),
    ("ask", f"{EVIL}x", "hello", "-e", "evil.yml"),
    ("ask", EVIL, "hello", "--schema", f"evil.py:{EVIL}", "-e", "evil.yml"),
    ("plugins", "check", EVIL),
    ("plugins", "check", "openai", "--server", EVIL),
    ("plugins", "check", "openai", "--field", EVIL),
    ("plugins", "new", EVIL),
    ("plugins", "new", "acme", "--protocol", EVIL),
]
TALKS = [it for it in COMMANDS if {"run", "check", "warmup", "ask"} & {*it} and "evil.yml" in it]


@pytest.fixture
def evil(project: Path, openai_server: Any) -> Path:
    """A folder whose chain, engine, model and files have evil names."""
    (project / "evil.py").write_text(CHAIN)
    engine = {"name": EVIL, "backend": "openai", "model": EVIL, "endpoint": openai_server.url}
    (project / "evil.yml").write_text(json.dumps([engine]))
    return project


@pytest.mark.parametrize(
    ("words", "status"),
    [*((words, 200) for words in COMMANDS), *((words, 400) for words in TALKS)],
    ids=lambda it: it if isinstance(it, int) else " ".join(it).replace(EVIL, "EVIL"),
)
def test_no_command_lets_names_control_the_terminal(
    words: tuple[str, ...], status: int, evil: Path, in_process: Any, openai_server: Any
) -> None:
    message = {"content": json.dumps({"text": EVIL})}
    choice = {"message": message, "finish_reason": "stop"}
    openai_server.reply = lambda body: (
        (200, {"choices": [choice]}) if status == 200 else (status, {"error": {"message": EVIL}})
    )
    outcome = in_process(*words)
    is_answer = words[0] == "ask" and status == 200  # data, as it is where nobody sees it
    shown = outcome.stderr if is_answer else outcome.stdout + outcome.stderr
    assert not [character for character in CONTROLS if character in shown], repr(shown)
    if "--json" in words:
        assert EVIL in json.dumps(json.loads(outcome.stdout), ensure_ascii=False).replace(
            "\\u001b", "\x1b"
        ).replace("\\u0007", "\x07").replace("\\b", "\x08").replace("\\r", "\r")


@pytest.mark.parametrize("words", [("inspect", "evil.py:branched"), RUN])
def test_nothing_controls_a_real_terminal(
    words: tuple[str, ...], evil: Path, openai_server: Any
) -> None:
    choice = {"message": {"content": json.dumps({"text": EVIL})}, "finish_reason": "stop"}
    openai_server.reply = lambda body: (200, {"choices": [choice]})
    shown = on_a_terminal(evil, *words)
    assert "gone" in shown
    for sequence in ("\x1b[2J", "\x1b]0;", "\x07", "\x08", "\x9b", "\u202e", "\u2066"):
        assert sequence not in shown, repr(shown)


def on_a_terminal(folder: Path, *words: str) -> str:
    """The output of the program on a terminal."""
    ours, theirs = pty.openpty()
    program = str(Path(sys.executable).with_name("chainette"))
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    process = subprocess.Popen(
        [program, *words], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    output = b""
    try:
        while part := os.read(ours, 1 << 16):
            output += part
    except OSError:  # the program has ended
        pass
    process.wait()
    os.close(ours)
    return output.decode(errors="replace")

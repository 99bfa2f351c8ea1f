"""`chainette ask`: one prompt, one answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from chainette.testing import faults
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from chainette.text import escaped

MODELS = """
from typing import Literal
from pydantic import BaseModel

class City(BaseModel):
    name: str
    size: Literal["small", "big"]

Cities = list[City]
number = 3
unhashable = {}

def function(x): ...
"""
KEY = "sk-SENTINEL-0123456789"


@pytest.fixture
def server(tmp_path: Path) -> Any:
    """A server, its engine `e` in ./engines.yml, and types of answers in ./models.py."""
    (tmp_path / "models.py").write_text(MODELS)
    with FakeOpenAI() as server:
        (tmp_path / "engines.yml").write_text(
            f"- name: e\n  backend: openai\n  model: m\n  endpoint: {server.endpoint}\n"
            f"  max_retries: 1\n  api_key: {KEY}\n"
        )
        (tmp_path / "engines.yml").chmod(0o600)
        yield server


def messages(server: FakeOpenAI) -> Any:
    return server.requests[-1].messages


def test_a_text_is_printed_as_it_is(in_process: Any, server: FakeOpenAI) -> None:
    text = "\x1b[31mBonjour\x1b[0m, ça\u00a0va ?\r\n\tWell."
    server.set_answers([text])
    outcome = in_process("ask", "e", "Say hello.", "-e", "engines.yml")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, text + "\n", "")
    assert messages(server) == [{"role": "user", "content": "Say hello."}]


def test_a_prompt_is_not_a_template_and_can_come_from_stdin(
    in_process: Any, server: FakeOpenAI
) -> None:
    prompt = "What is {{ 7 * 7 }} {% raw %} in\nJinja?"
    for words, text in (((prompt,), ""), (("-",), f"{prompt}\n")):
        outcome = in_process("ask", "e", *words, "--system", "Be {{ kind }}.", input=text)
        assert outcome.returncode == 0, outcome.stderr
        assert outcome.stderr == "engines from ./engines.yml: e\n"
        assert messages(server) == [
            {"role": "system", "content": "Be {{ kind }}."},
            {"role": "user", "content": prompt},
        ]


@pytest.mark.parametrize("schema", ["models.py:City", "models:City"])
def test_an_answer_of_a_type_is_one_line_of_json(
    in_process: Any, server: FakeOpenAI, schema: str
) -> None:
    server.set_answers(['Here: {"name": "Łódź", "size": "big"}'])
    outcome = in_process("ask", "e", "A city?", "--schema", schema, "-e", "engines.yml")
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout == '{"name":"Łódź","size":"big"}\n'
    assert server.requests[-1].schema["required"] == ["name", "size"]


def test_any_type_that_pydantic_validates_is_a_schema(in_process: Any, server: FakeOpenAI) -> None:
    server.set_answers(['[{"name": "Ur", "size": "small"}]'])
    outcome = in_process("ask", "e", "Cities?", "--schema", "models.py:Cities")
    assert json.loads(outcome.stdout) == [{"name": "Ur", "size": "small"}]


@pytest.mark.parametrize(
    ("answer", "schema", "expected"),
    [
        ('{"name": "Ur"}', ("--schema", "models.py:City"), "'size' is missing"),
        (f"\x1b[2Jno json, {KEY}", ("--schema", "models.py:City"), "�[2Jno json, ***"),
        (faults.cut(), ("--schema", "models.py:City"), "set max_tokens"),
        (faults.refusal(), ("--schema", "models.py:City"), "no answer (refusal)"),
        (faults.refusal(), (), "the answer: I cannot help with that."),
        (faults.content_filter(), (), "no answer (content_filter)"),
        (" \n", (), "the answer is empty"),
    ],
)
def test_an_answer_that_cannot_be_used_is_exit_code_1(
    in_process: Any, server: FakeOpenAI, answer: Any, schema: tuple[str, ...], expected: str
) -> None:
    server.set_answers(lambda _: answer)
    outcome = in_process("ask", "e", "A city?", *schema, "-e", "engines.yml")
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("error: engine 'e': ")
    assert expected in outcome.stderr
    assert KEY not in outcome.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ee", "x"), "unknown engine 'ee' (did you mean 'e'?)"),
        (("ee", "x", "-e", "engines.yml"), "unknown engine 'ee' (did you mean 'e'?)"),
        (("e", "x", "-e", "no.yml"), "no.yml: cannot be read"),
        (("nokey", "x", "-e", "more.yml"), "environment variable OPENAI_API_KEY"),
        (("absent", "x", "-e", "more.yml"), "cannot connect"),
        (("e", "x", "--schema", "models.py:Cit"), "no 'Cit' (did you mean 'City'?)"),
        (("e", "x", "--schema", "models.py"), "expected module:name"),
        (("e", "x", "--schema", "none.py:City"), "there is no such file"),
        (("e", "x", "--schema", "no_such:City"), "ModuleNotFoundError"),
        (("e", "x", "--schema", "models.py:number"), "has no JSON schema"),
        (("e", "x", "--schema", "models.py:unhashable"), "has no JSON schema"),
        (("e", "x", "--schema", "models.py:function"), "is not a type"),
        (("e", " "), "the prompt is empty"),
        (("e", "-"), "the prompt is empty"),
        (("e", "\udcff"), "not UTF-8"),
        (("e",), "Missing argument"),
    ],
)
def test_what_cannot_be_asked_is_one_message_and_exit_code_2(
    in_process: Any, server: FakeOpenAI, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "more.yml").write_text(
        "- {name: nokey, backend: openai, model: m}\n"
        "- {name: absent, backend: openai, model: m, endpoint: 'http://127.0.0.1:9/v1'}\n"
    )
    outcome = in_process("ask", *words)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert expected in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert server.requests == []


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_an_engine_that_does_not_answer_is_exit_code_2(
    in_process: Any, server: FakeOpenAI, status: int
) -> None:
    server.set_answers(lambda _: faults.status(status, f"the key {KEY}"))
    outcome = in_process("ask", "e", "x", "-e", "engines.yml")
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert f"answered {status}" in outcome.stderr
    assert KEY not in outcome.stderr
    assert len(server.requests) == (2 if status == 500 else 1)


def test_failed_requests_are_retried_and_debug_tells_what_it_took(
    in_process: Any, server: FakeOpenAI
) -> None:
    server.set_answers([faults.status(503), "One two three."])
    outcome = in_process("--debug", "ask", "e", "Count to three.", "-e", "engines.yml")
    assert (outcome.returncode, outcome.stdout) == (0, "One two three.\n")
    assert "trying again in" in outcome.stderr
    assert "3 tokens in, 3 out, 0." in outcome.stderr


def test_the_cost_is_named_where_it_is_known(in_process: Any, server: FakeOpenAI) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.00012}
    choice = {"message": {"content": "One."}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice], "usage": usage}).encode()
    server.set_answers([Reply(body=body)])
    outcome = in_process("--debug", "ask", "e", "x", "-e", "engines.yml")
    assert "1 tokens in, 1 out, $0.000120, " in outcome.stderr


def test_a_text_that_was_cut_is_printed_with_a_warning(in_process: Any, server: FakeOpenAI) -> None:
    server.set_answers([Reply("Once upon", finish_reason="length")])
    outcome = in_process("ask", "e", "A tale?", "-e", "engines.yml")
    assert (outcome.returncode, outcome.stdout) == (0, "Once upon\n")
    assert "was cut" in outcome.stderr


class Terminal(TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_json_is_indented_and_controls_are_escaped(
    in_process: Any, server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(in_process.__globals__, "TextIOWrapper", Terminal)
    city = {"name": "U\x1br\x9b2J", "size": "big"}
    server.set_answers(["\x1b]0;title\x07One\r\n\ttwo\x9b", json.dumps(city)])
    outcome = in_process("ask", "e", "x", "-e", "engines.yml")
    assert outcome.stdout == "\\u001b]0;title\\u0007One\n\ttwo\\u009b\n"
    assert "1 tokens in, 2 out" in outcome.stderr
    outcome = in_process("ask", "e", "x", "-e", "engines.yml", "--schema", "models.py:City")
    assert outcome.stdout.count("\n  ") == 2
    assert outcome.stdout.isascii()
    assert json.loads(outcome.stdout) == city


def test_text_of_any_language_is_not_escaped() -> None:
    text = "Voilà\u00a0! 👩\u200d🚀 שלום\u200f\n\tนี่"
    assert escaped(text) == text
    assert escaped("a\u202eb\ud800") == "a\\u202eb\\ud800"


def test_the_program_answers_too(chainette: Any, server: FakeOpenAI) -> None:
    server.set_answers(["Hello."])
    outcome = chainette("ask", "e", "-", "-e", "engines.yml", input="Say hello.\n")
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "Hello.\n", "")


def test_ctrl_c_ends_the_request_and_is_exit_code_130(server: FakeOpenAI, tmp_path: Path) -> None:
    reached = threading.Event()

    def answer(_: Any) -> Reply:
        reached.set()
        return faults.slow(60)

    server.set_answers(answer)
    program = str(Path(sys.executable).with_name("chainette"))
    words = [program, "ask", "e", "x", "-e", "engines.yml"]
    asking = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert reached.wait(30)
    asking.send_signal(signal.SIGINT)
    out, errors = asking.communicate(timeout=30)
    assert (asking.returncode, out) == (130, b"")
    assert b"Traceback" not in errors

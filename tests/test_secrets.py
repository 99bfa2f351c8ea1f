"""Keys never appear in files, output, exceptions or logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SENTINEL = "sk-SENTINEL-0123456789"
COMMANDS = [
    ("run", "numbers_chain.py", "-i", "rows.jsonl", "-e", "engines.yml", "-o", "out"),
    ("inspect", "numbers_chain.py", "--json"),
    ("engines", "list", "-e", "engines.yml"),
    ("engines", "list", "-e", "engines.yml", "--json"),
    ("engines", "check", "e", "-e", "engines.yml"),
]

SETTINGS = {
    "environment": "  api_key_env: THE_KEY\n",
    "file": f"  api_key: {SENTINEL}\n",
    "mounted": "  api_key_file: key\n",
    "header": f"  headers: {{X-Api-Key: {SENTINEL}}}\n",
    "responses": f"  api: responses\n  api_key: {SENTINEL}\n  max_retries: 1\n",
    "sdk": f"  api: responses\n  client: sdk\n  api_key: {SENTINEL}\n  max_retries: 1\n",
    "expanded": "  api_key: ${THE_KEY}\n",
}


def reply_ok(body: dict[str, Any]) -> tuple[int, Any]:
    text = '{"text": "x"}'
    return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


def reply_echo(body: dict[str, Any]) -> tuple[int, Any]:
    return 401, {"error": {"message": f"Incorrect API key provided: {SENTINEL}"}}


def reply_in_answer(body: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"choices": [{"message": {"content": f"no json but {SENTINEL}"}}]}


def reply_garbage(body: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"odd": SENTINEL}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("reply", [reply_ok, reply_echo, reply_in_answer, reply_garbage])
def test_the_key_never_appears(
    in_process: Any, project: Path, openai_server: Any, setting: str, reply: Any
) -> None:
    openai_server.reply = reply
    (project / "key").write_text(SENTINEL)
    (project / "engines.yml").write_text((project / "engines.yml").read_text() + SETTINGS[setting])
    output = ""
    for command in COMMANDS[: None if reply is reply_ok else 1]:
        result = in_process("--debug", *command, env={"THE_KEY": SENTINEL})
        output += result.stdout + result.stderr
    assert SENTINEL not in output
    assert output
    files = [path for path in (project / "out").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert SENTINEL not in path.read_text(), path


def test_the_key_is_not_shown_by_programs_either(chainette: Any, project: Path) -> None:
    with (project / "engines.yml").open("a") as engines:
        engines.write(SETTINGS["file"])
    for command in COMMANDS:
        result = chainette("--debug", *command)
        assert result.stdout
        assert SENTINEL not in result.stdout + result.stderr


@pytest.mark.parametrize("field", ["api_kye: {}", "api_key: [{}]", "headers: [{}]", "timeout: {}"])
def test_a_misplaced_key_is_not_shown(in_process: Any, project: Path, field: str) -> None:
    wrong = f"  {field.format(SENTINEL)}\n"
    (project / "engines.yml").write_text((project / "engines.yml").read_text() + wrong)
    result = in_process("--debug", "engines", "list", "-e", "engines.yml")
    assert result.returncode == 2
    assert "engines.yml:5" in result.stderr
    assert SENTINEL not in result.stdout + result.stderr


@pytest.mark.parametrize("host", ["127.0.0.1:9", "{own}"])
def test_a_password_in_the_endpoint_never_appears(
    in_process: Any, project: Path, openai_server: Any, host: str
) -> None:
    host = host.format(own=f"127.0.0.1:{openai_server.server_address[1]}")
    (project / "engines.yml").write_text(
        f"- name: e\n  backend: openai\n  model: m\n  endpoint: http://me:{SENTINEL}@{host}/v1\n"
    )
    output = ""
    for command in COMMANDS:
        result = in_process("--debug", *command)
        output += result.stdout + result.stderr
    assert output
    assert SENTINEL not in output
    files = [path for path in (project / "out").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert SENTINEL not in path.read_text(), path

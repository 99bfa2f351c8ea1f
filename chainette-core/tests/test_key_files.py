"""API keys in files, as Kubernetes and Docker mount them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chainette import EngineConfig, load_engines, register_engine
from chainette.engine.client import retry
from chainette.errors import ConfigError, MissingAPIKeyError
from chainette.registry import engines as registry
from chainette.testing import faults
from chainette.testing.fake_server import FakeServer
from chainette.testing.servers import FakeOllama, FakeOpenAI

KEY = "sk-SENTINEL-0123456789"


def key_in(file: Path) -> str:
    config = EngineConfig(name="a", backend="x", api_key_file=file)
    key = config.secret_key("SOME_API_KEY")
    assert key is not None
    assert KEY not in repr(config) + str(config.public()) + config.model_dump_json()
    return key.get_secret_value()


CLIENTS: dict[str, dict[str, str]] = {
    "chat": {"api": "chat"},
    "responses": {"api": "responses"},
    "sdk": {"api": "responses", "client": "sdk"},
    "ollama": {"backend": "ollama_api"},
}


def engine(server: FakeServer, file: Path, **fields: str) -> EngineConfig:
    fields = {"backend": "openai", "model": "m", "endpoint": server.endpoint} | fields
    return register_engine("mounted", api_key_file=str(file), **fields)


@pytest.fixture(autouse=True)
def _own_registry_and_short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    monkeypatch.setattr(retry, "FIRST", 0.01)


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"{KEY}\n",
        f"{KEY}\r\n",
        f"  {KEY}  ",
        f"\n{KEY}\n\n",
        f'"{KEY}"\n',
        f"Bearer {KEY}\n",
        f"Authorization: {KEY}",
        f"\ufeff{KEY}",
    ],
)
def test_a_key_is_read_without_what_stands_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-of-the-environment")
    (tmp_path / "key").write_bytes(text.encode())
    assert key_in(tmp_path / "key") == KEY


def test_a_file_may_be_a_link_and_below_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data/key").write_text(KEY)  # as Kubernetes mounts a secret
    (tmp_path / "key").symlink_to(tmp_path / "..data/key")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_in(Path("~/key")) == KEY


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (f"{KEY}\n{KEY}\n".encode(), "holds white space or a placeholder"),
        (b"${OPENAI_API_KEY}", "holds white space or a placeholder"),
        (f"OPENAI_API_KEY={KEY}\n".encode(), "holds NAME=value; write the value alone"),
        (f"export OPENAI_API_KEY={KEY}\n".encode(), "holds NAME=value; write the value alone"),
        (b"sk-\x00abc", "holds a character that no key has"),
        ("sk-…".encode(), "holds a character that no key has"),
        (KEY.encode("utf-16"), "is not text in UTF-8"),
        (b"k" * 70_000, "is too long to be a key"),
    ],
)
def test_a_file_without_a_key_is_named_with_the_reason(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(MissingAPIKeyError) as caught:
        key_in(file)
    assert str(caught.value) == f"engine 'a': no API key: api_key_file {file} {reason}"


def test_a_folder_or_a_pipe_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(MissingAPIKeyError, match="is not a file"):
            key_in(path)


@pytest.mark.parametrize("other", ["api_key: abcdef", "api_key_env: SOME_KEY"])
def test_two_places_of_a_key_are_refused(tmp_path: Path, other: str) -> None:
    path = tmp_path / "engines.yml"
    path.write_text(f"- name: a\n  backend: openai\n  {other}\n  api_key_file: key\n")
    name = other.partition(":")[0]
    with pytest.raises(ConfigError) as caught:
        load_engines(path)
    assert "engines.yml:4: engine 'a': api_key_file: the engine has " + name in str(caught.value)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_key_that_is_replaced_while_engines_run_is_used(tmp_path: Path, client: str) -> None:
    file = tmp_path / "key"
    file.write_text("sk-first\n")
    answers = ["one", faults.status(401, "bad key sk-second"), "two"]
    with (FakeOllama if client == "ollama" else FakeOpenAI)(answers) as server:
        config = engine(server, file, **CLIENTS[client])
        assert config.engine.generate(["a"])[0].outputs[0].text == "one"
        file.write_text("sk-second\n")
        assert config.engine.generate(["b"])[0].outputs[0].text == "two"
    sent = [request.headers["authorization"] for request in server.requests]
    assert sent[-3:] == ["Bearer sk-first", "Bearer sk-first", "Bearer sk-second"]


def test_a_file_that_is_gone_leaves_the_key_and_the_refusal(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    with FakeOpenAI(["one", faults.status(401, f"bad key {KEY}"), "two"]) as server:
        config = engine(server, file)
        config.engine.generate(["a"])
        file.unlink()
        assert config.engine.generate(["b"])[0].outputs[0].text == "two"

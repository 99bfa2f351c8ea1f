from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from chainette import get_engine_config, load_engines
from chainette.errors import ConfigError
from chainette.registry.engines import engine_names

Make = Callable[..., str]
SENTINEL = "sk-SENTINEL-0123456789"


def write(folder: Path, text: str) -> Path:
    path = folder / "engines.yml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> list[str]:
    """The lines of the message about a file, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load_engines(write(folder, text))
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_a_name_is_expanded_before_engines_are_told_apart(
    scripted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGE", "test")
    text = "- {name: '${STAGE}-gpt', backend: scripted}\n"
    load_engines(write(tmp_path, text))
    assert get_engine_config("test-gpt").name == "test-gpt"
    (line,) = mistakes(tmp_path, text + "- {name: test-gpt, backend: scripted}\n")
    assert line == "engines.yml:2: engine 'test-gpt': a second engine of that name"


def test_one_mistake_made_twice_in_one_value_is_told_and_counted_once(
    scripted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    text = "- {name: a, backend: scripted, model: '${UNSET}-${UNSET}'}\n"
    (line,) = mistakes(tmp_path, text)
    assert line == "engines.yml:1: engine 'a': the environment variable UNSET is not set"
    assert mistakes(tmp_path, text + "- b\n")[0] == "engines.yml has 2 mistakes:"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("3: x", "3: expected a text as the key"),
        ("backend: [x]", "'backend' is missing"),
        ("headers: {A.b: [x]}", "headers.A.b: expected a text"),
        ("endpoint: 'http://[bad'", "an endpoint is a URL with a host"),
        ("endpoint: 'http://'", "an endpoint is a URL with a host"),
        ("endpoint: 'http://host:port'", "an endpoint is a URL with a host"),
        ("endpoint: host/v1", "an endpoint is a URL with a host"),
        ("max_concurrency: 0", "max_concurrency: expected a number of at least 1"),
        ("structured_output: yes", "structured_output: expected 'auto'"),
        ("apikey_env: X", "unknown key 'apikey_env' (did you mean 'api_key_env'?)"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_line_and_engine(
    scripted: Make, tmp_path: Path, fields: str, expected: str
) -> None:
    backend = "" if fields.startswith("backend") else "  backend: scripted\n"
    (line,) = mistakes(tmp_path, f"- name: a\n{backend}  {fields}\n")
    assert line.startswith(("engines.yml:1: engine 'a'", "engines.yml:3: engine 'a'"))
    assert expected in line


def test_a_file_with_a_mistake_registers_nothing(scripted: Make, tmp_path: Path) -> None:
    mistakes(tmp_path, "- {name: a, backend: scripted}\n- {name: b, backend: scripted, x: 1}\n")
    assert engine_names() == []


@pytest.mark.parametrize(
    "field",
    ["api_key: [{}]", "headers: {}", "headers: {{X: [{}]}}", "timeout: {}", "endpoint: '{}'"],
)
def test_no_mistake_shows_a_secret(scripted: Make, tmp_path: Path, field: str) -> None:
    text = f"- name: a\n  backend: scripted\n  {field.format(SENTINEL)}\n"
    assert SENTINEL not in "".join(mistakes(tmp_path, text))


def test_a_secret_may_stand_in_a_variable_and_is_shown_nowhere(
    scripted: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("THE_KEY", SENTINEL)
    text = (
        "- name: a\n  backend: scripted\n  api_key: ${THE_KEY}\n"
        "  endpoint: http://me:${THE_KEY}@host/v1\n  headers: {X-Key: 'Bearer ${THE_KEY}'}\n"
    )
    (config,) = load_engines(write(tmp_path, text))
    key = config.secret_key()
    assert key is not None
    assert key.get_secret_value() == SENTINEL
    texts = [repr(config), str(config), config.model_dump_json(), str(config.public())]
    assert not any(SENTINEL in text for text in [*texts, caplog.text])

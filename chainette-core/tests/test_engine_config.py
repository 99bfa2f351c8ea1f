from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from chainette import (
    EngineConfig,
    GuidedDecodingParams,
    Result,
    SamplingParams,
    get_engine_config,
    load_engines,
    register_engine,
)
from chainette.errors import (
    ChainError,
    ConfigError,
    MissingAPIKeyError,
    PluginError,
    UnknownEngineError,
)
from chainette.plugins import discovery
from chainette.usage import Usage
from chainette.yaml_source import expand, read_yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

Make = Callable[..., str]
SENTINEL = "sk-SENTINEL-0123456789"


def write(folder: Path, text: str) -> Path:
    path = folder / "engines.yml"
    path.write_text(text)
    return path


def test_an_engine_is_registered_and_found_by_name(scripted: Make) -> None:
    config = register_engine("a", backend="scripted", model="m", timeout=3)
    assert get_engine_config("a") is config
    assert (config.model, config.timeout, config.max_concurrency) == ("m", 3.0, 64)


def test_a_plain_config_gives_the_client_of_its_backend(scripted: Make) -> None:
    config = EngineConfig(name="a", backend="scripted", endpoint="http://x/v1", api_key=SENTINEL)
    assert config.engine is config.engine
    assert config.engine.config.endpoint == "http://x/v1"


def test_registering_anew_replaces_the_client(scripted: Make) -> None:
    first = register_engine("a", backend="scripted", model="one").engine
    assert register_engine("a", backend="scripted", model="two").engine is not first


def test_an_unknown_engine_names_the_closest_and_all_there_are(scripted: Make) -> None:
    register_engine("gpt4o", backend="scripted")
    with pytest.raises(UnknownEngineError, match=r"'gtp4o' \(did you mean 'gpt4o'\?\).*gpt4o"):
        get_engine_config("gtp4o")


def test_all_mistakes_of_an_engine_are_named_at_once(scripted: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        register_engine("a", backend="scripted", modle="m", timeout=0, endpoint="model-server:80")
    message = str(caught.value)
    assert "unknown key 'modle' (did you mean 'model'?)" in message
    assert "timeout" in message
    assert "http://" in message


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_concurrency", True, "max_concurrency: expected a number, not true"),
        ("timeout", True, "timeout: expected a number, not true"),
        ("max_retries", False, "max_retries: expected a number, not false"),
        ("connect_timeout", float("inf"), "connect_timeout: expected a finite number"),
    ],
)
def test_a_truth_value_is_no_number_and_no_connection_takes_for_ever(
    scripted: Make, field: str, value: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        register_engine("e", backend="scripted", **{field: value})


def test_reasoning_on_a_backend_without_it_is_warned_of_and_switched_off(
    scripted: Make, caplog: pytest.LogCaptureFixture
) -> None:
    assert register_engine("a", backend="scripted", enable_reasoning=True).enable_reasoning is False
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "reasoning" in caplog.text


def test_secrets_are_in_no_text_of_a_config(scripted: Make) -> None:
    config = register_engine(
        "a",
        backend="scripted",
        api_key=SENTINEL,
        headers={"X-Key": SENTINEL},
        endpoint=f"https://me:{SENTINEL}@host/v1?api_key={SENTINEL}",
    )
    texts = [repr(config), str(config), str(config.public()), repr(config.engine)]
    assert not any(SENTINEL in text for text in texts)
    assert config.public()["endpoint"] == "https://host/v1"


def test_a_wrong_secret_is_not_shown_in_the_error(scripted: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        register_engine("a", backend="scripted", api_key={"key": SENTINEL}, headers=[SENTINEL])
    assert SENTINEL not in str(caught.value)


def test_a_missing_key_names_the_variable(scripted: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    config = register_engine("a", backend="scripted", api_key_env="MY_KEY")
    with pytest.raises(MissingAPIKeyError, match="MY_KEY is not set"):
        config.secret_key()
    monkeypatch.setenv("MY_KEY", SENTINEL)
    key = config.secret_key()
    assert key is not None
    assert key.get_secret_value() == SENTINEL


@pytest.mark.parametrize("form", ["{list}", "engines:\n{list}"])
def test_a_file_is_a_list_or_has_one_under_engines(
    scripted: Make, tmp_path: Path, form: str
) -> None:
    engines = "- {name: a, backend: scripted}\n- {name: b, backend: scripted}\n"
    loaded = load_engines(write(tmp_path, form.format(list=engines)))
    assert [config.name for config in loaded] == ["a", "b"]
    assert get_engine_config("b").backend == "scripted"


def test_all_mistakes_of_a_file_come_at_once_with_line_and_engine(
    scripted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    path = write(
        tmp_path,
        "- name: a\n  backend: scriptd\n"
        "- name: b\n  backend: scripted\n  modle: m\n  timeout: soon\n"
        "- name: b\n  backend: scripted\n"
        "- backend: scripted\n"
        "- name: c\n  backend: scripted\n  model: ${NOT_SET}\n"
        "- name: d\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_engines(path)
    message = str(caught.value)
    assert f"{path} has 7 mistakes" in message, message
    for line, expected in [
        (2, "engine 'a': unknown backend 'scriptd' (did you mean 'scripted'?)"),
        (5, "engine 'b': unknown key 'modle' (did you mean 'model'?)"),
        (6, "engine 'b': timeout: expected a number"),
        (7, "engine 'b': a second engine of that name"),
        (9, "an engine is a mapping with a 'name'"),
        (12, "engine 'c': the environment variable NOT_SET is not set"),
        (13, "engine 'd': 'backend' is missing"),
    ]:
        assert f"{path}:{line}: {expected}" in message
    with pytest.raises(UnknownEngineError):
        get_engine_config("c")


def test_variables_are_expanded(
    scripted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST", "example.org")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    text = (
        "- name: a\n  backend: scripted\n  endpoint: http://${HOST}/v1\n"
        "  model: ${UNSET:-small}-${EMPTY:-b}\n  max_retries: ${UNSET:-2}\n"
        "  extra_body: {price: [$$5, '${HOST}']}\n"
    )
    (config,) = load_engines(write(tmp_path, text))
    assert config.endpoint == "http://example.org/v1"
    assert (config.model, config.max_retries) == ("small-b", 2)
    assert config.extra_body == {"price": ["$5", "example.org"]}


def test_an_engine_whose_backend_is_not_installed_hurts_only_itself(
    scripted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(discovery.OURS, "vllm_next", "chainette-vllm-next")
    text = "- {name: far, backend: vllm_next}\n- {name: near, backend: scripted}\n"
    assert [config.name for config in load_engines(write(tmp_path, text))] == ["near"]
    with pytest.raises(PluginError, match=r"engine 'far'.*pip install chainette-vllm-next"):
        get_engine_config("far")


def test_an_engine_whose_plugin_is_broken_hurts_only_itself(
    scripted: Make, make_plugin: Make, tmp_path: Path
) -> None:
    make_plugin("raise RuntimeError('no driver')", "bad")
    text = "- {name: far, backend: bad}\n- {name: near, backend: scripted}\n"
    load_engines(write(tmp_path, text))
    with pytest.raises(PluginError, match="no driver"):
        get_engine_config("far")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- name: a\n   backend: b\n", "engines.yml:2: not valid YAML"),
        ("a: [1\n", "not valid YAML"),
        ("engines: 3\n", "engines.yml:1: expected a list of engines"),
        ("other: []\n", "engines.yml:1: expected a list"),
        ("", "expected a list of engines"),
        ("- {name: a, name: b}\n", "the key 'name' appears twice"),
        ("- !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("- a\n", "an engine is a mapping"),
        ("- \x00\n", "not valid YAML"),
    ],
)
def test_a_bad_file_is_one_message_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=r"engines\.yml") as caught:
        load_engines(write(tmp_path, text))
    assert expected in str(caught.value)


@pytest.mark.parametrize("kind", ["missing", "directory", "binary"])
def test_a_file_that_cannot_be_read_is_one_message(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "engines.yml"
    if kind == "directory":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"engines\.yml: cannot be read"):
        load_engines(path)


def test_yaml_values_know_their_lines(tmp_path: Path) -> None:
    source = read_yaml(write(tmp_path, "a:\n  - x: 1\n    y: 2\n"), ChainError)
    assert source.place(("a", 0, "y")).endswith(":3")
    assert source.place(("a", 0, "z")).endswith(":2")
    assert source.place().endswith(":1")


@given(st.recursive(st.text().filter(lambda t: "$" not in t) | st.integers(), st.lists))
def test_values_without_a_dollar_sign_expand_to_themselves(value: object) -> None:
    assert expand(value, lambda *_: pytest.fail("reported")) == value


@given(st.text(), st.text())
def test_a_variable_s_own_text_is_never_expanded_again(before: str, value: str) -> None:
    value = value.replace("\0", "").encode(errors="ignore").decode() + "${HOME}$$"
    os.environ["CHAINETTE_TEST"] = value
    text = before.replace("$", "") + "${CHAINETTE_TEST}"
    assert expand(text, lambda *_: None) == before.replace("$", "") + value


def test_sampling_params_refuse_what_is_unknown_or_out_of_range() -> None:
    assert SamplingParams(stop="END").stop == ["END"]
    for wrong in ({"temprature": 1}, {"temperature": -1}, {"top_p": 2}, {"n": 0}):
        with pytest.raises(ValidationError):
            SamplingParams.model_validate(wrong)
    with pytest.raises(ConfigError, match="max_tokens: expected a number, not true"):
        SamplingParams(max_tokens=True)
    for empty in ("", [""], ["a", ""]):
        with pytest.raises(ConfigError, match="an empty text would end each answer"):
            SamplingParams(stop=empty)  # type: ignore[arg-type]


def test_guided_decoding_takes_exactly_one_constraint() -> None:
    assert GuidedDecodingParams(choice=["a", "b"]).choice == ["a", "b"]
    for wrong in ({}, {"regex": "a", "choice": ["b"]}):
        with pytest.raises(ConfigError, match="exactly one"):
            GuidedDecodingParams(**wrong)


def test_usages_add_up() -> None:
    assert Usage(1, 2, 3, 4) + Usage(10, 20, 30, 40) == Usage(11, 22, 33, 44)


def test_a_result_gives_its_value_or_raises_its_error() -> None:
    assert Result(0, value=3).unwrap() == 3
    failed: Result[int] = Result(1, error=ValueError("no"))
    assert not failed.ok
    with pytest.raises(ValueError, match="no"):
        failed.unwrap()


def test_sampling_params_can_be_pickled() -> None:
    params = SamplingParams(temperature=0.5, guided_decoding=GuidedDecodingParams(regex="a+"))
    assert pickle.loads(pickle.dumps(params)) == params


def test_a_plain_config_of_another_class_keeps_its_one_client(
    make_plugin: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Each access created and released a client of its own before: no limit on requests held."""
    make_plugin(
        """
        from chainette.engine.client.base import BaseClient
        from chainette.engine.config import EngineConfig
        from chainette.plugins.backend import Backend
        from chainette.plugins.hookspecs import hookimpl

        class Config(EngineConfig):
            extra_field: int = 3

        class Client(BaseClient):
            async def _chat(self, request):
                raise NotImplementedError

            def release(self):
                raise AssertionError("released while in use")

        @hookimpl
        def chainette_backends():
            return [Backend("special", Config, Client)]
        """,
        "special",
    )
    config = EngineConfig(name="a", backend="special", enable_reasoning=True)
    client = config.engine
    assert config.engine is client
    assert client.config.engine is client
    assert client.config.model_dump()["extra_field"] == 3
    assert client.config.enable_reasoning is False
    assert len(caplog.records) == 1


def test_reasoning_is_switched_off_for_a_plain_config_too(
    scripted: Make, caplog: pytest.LogCaptureFixture
) -> None:
    config = EngineConfig(name="a", backend="scripted", enable_reasoning=True)
    assert config.engine.config.enable_reasoning is False
    assert config.engine is config.engine
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_a_client_that_is_replaced_is_released(scripted: Make) -> None:
    released: list[str] = []
    client = register_engine("a", backend="scripted", model="one").engine
    client.release = lambda: released.append("one")  # type: ignore[method-assign]
    register_engine("a", backend="scripted", model="two")
    assert released == ["one"]


@pytest.mark.parametrize(
    "endpoint",
    ["http://[bad", "http:///", "https:///v1", "ftp://host", "http://host:99999", "http://u:p/w@h"],
)
def test_an_endpoint_that_is_not_a_url_is_refused_and_never_shown(endpoint: str) -> None:
    with pytest.raises(ConfigError, match="URL with a host") as caught:
        EngineConfig(name="a", backend="x", endpoint=endpoint)
    assert endpoint not in str(caught.value)


def test_secrets_are_in_no_json_of_a_config() -> None:
    config = EngineConfig.model_validate(
        {
            "name": "a",
            "backend": "x",
            "api_key": SENTINEL,
            "headers": {"X-Key": SENTINEL},
            "endpoint": f"https://me:{SENTINEL}@host:8000/v1/?key={SENTINEL}",
        }
    )
    assert SENTINEL not in config.model_dump_json() + str(config.model_dump(mode="json"))
    assert config.public()["endpoint"] == "https://host:8000/v1"
    assert config.public()["headers"] == ["X-Key"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "  "])
def test_a_key_that_was_read_from_a_file_loses_its_line_break(
    monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setenv("THE_KEY", SENTINEL + ending)
    for fields in ({"api_key": SENTINEL + ending}, {"api_key_env": "THE_KEY"}):
        key = EngineConfig.model_validate({"name": "a", "backend": "x", **fields}).secret_key()
        assert key is not None
        assert key.get_secret_value() == SENTINEL


def test_a_header_that_no_request_can_hold_is_refused() -> None:
    with pytest.raises(ValidationError, match="line break") as caught:
        EngineConfig.model_validate(
            {"name": "a", "backend": "x", "headers": {"X-Key": f"{SENTINEL}\nX-Other: b"}}
        )
    assert SENTINEL not in str(caught.value)

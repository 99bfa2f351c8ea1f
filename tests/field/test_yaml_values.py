"""Values in YAML that mean something else than their writer thinks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chainette import load_engines
from chainette.errors import ChainError, ConfigError
from chainette.loading.yaml_chain import load_yaml_chain

ENGINE = "- name: e\n  backend: openai\n  model: m\n"
CHAIN = """
name: c
models:
  In: {text: str}
  Out:
    FIELD
steps:
  - {id: s, engine_name: e, input_model: In, output_model: Out, user_prompt: "{{ text }}"}
"""


def schema(folder: Path, field: str) -> Any:
    (folder / "chain.yaml").write_text(CHAIN.replace("FIELD", field))
    chain = load_yaml_chain(folder / "chain.yaml").chain
    return chain.nodes["s"].output_model.model_json_schema()["properties"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("[yes, no, maybe]", ["yes", "no", "maybe"]),
        ("[DE, NO, SE]", ["DE", "NO", "SE"]),
        ("[on, Off]", ["on", "Off"]),
        ("[10:30, 12:45]", ["10:30", "12:45"]),
        ("[007, 010]", ["007", "010"]),
        ("[1_000, 2_000]", ["1_000", "2_000"]),
        ("[1, 2]", [1, 2]),
        ("[true, false]", [True, False]),
    ],
)
def test_the_values_to_choose_from_are_those_that_are_written(
    values: str, expected: list[Any], tmp_path: Path
) -> None:
    assert schema(tmp_path, f"a: {{enum: {values}}}")["a"]["enum"] == expected


def test_fields_can_have_the_names_of_old_words(tmp_path: Path) -> None:
    assert list(schema(tmp_path, "yes: str\n    no: str\n    on: bool")) == ["yes", "no", "on"]


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("{type: str, default: no}", "no"),
        ("{type: str, default: 0123}", "0123"),
        ("{type: bool, default: no}", False),
        ("{type: int, default: 12}", 12),
        ("{type: 'list[int]', default: [1]}", [1]),
    ],
)
def test_a_default_has_the_type_of_its_field(field: str, default: Any, tmp_path: Path) -> None:
    schema(tmp_path, f"a: {field}")
    model = load_yaml_chain(tmp_path / "chain.yaml").chain.nodes["s"].output_model
    assert model().a == default
    assert type(model().a) is type(default)


def test_a_default_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChainError, match=r"Out: a: default: expected a text"):
        schema(tmp_path, "a: {type: str, default: 1.10}")


@pytest.mark.parametrize(
    ("line", "field", "expected"),
    [
        ("lazy: no", "lazy", False),
        ("lazy: on", "lazy", True),
        ("max_retries: 010", "max_retries", 10),
        ("max_retries: 1_0", "max_retries", 10),
        ("timeout: 1e1", "timeout", 10.0),
        ("timeout: .5", "timeout", 0.5),
        ("extra_body: {a: 'no', b: 0x10, d: 1.5}", "extra_body", {"a": "no", "b": 16, "d": 1.5}),
    ],
)
def test_typed_values_of_engines_are_read_by_their_type(
    line: str, field: str, expected: Any, tmp_path: Path
) -> None:
    (tmp_path / "engines.yml").write_text(f"{ENGINE}  {line}\n")
    (engine,) = load_engines(tmp_path / "engines.yml")
    assert getattr(engine, field) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENGINE + "  timeout: 1:30\n", r":4: engine 'e': timeout: expected a number"),
        (ENGINE + "  extra_body: {think: no}\n", r":4: engine 'e': 'no' is not clear: write true"),
        (ENGINE + "  extra_body: {a: [010]}\n", r"'010' is not clear: write a plain number"),
        (ENGINE + "  headers: {X-Debug: yes}\n", r"'yes' is not clear"),
        (ENGINE + "  api_key: $MY_KEY\n", r"'\$MY_KEY' is not a variable: write \$\{NAME\}"),
        (ENGINE + "  api_key: ${env:KEY}\n", r"'\$\{env:KEY\}' is not a variable"),
        (ENGINE + "  api_key: ${KEY\n", r":4: engine 'e': '\$\{KEY' is not a variable"),
        ("- name: 1\n  backend: openai\n", r":1: the name 1 is not a text: put it in quotes"),
        ("- name: e\n\u00a0\u00a0backend: openai\n", r":2: not valid YAML: a no-break space"),
    ],
)
def test_what_can_mean_two_things_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "engines.yml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_engines(tmp_path / "engines.yml")


def test_a_dollar_that_is_no_variable_is_kept(tmp_path: Path) -> None:
    text = ENGINE + "  headers: {A: a$b, B: $$HOME, C: '5$', D: $5}\n"
    (tmp_path / "engines.yml").write_text(text)
    (engine,) = load_engines(tmp_path / "engines.yml")
    assert {key: it.get_secret_value() for key, it in engine.headers.items()} == {
        "A": "a$b",
        "B": "$HOME",
        "C": "5$",
        "D": "$5",
    }

"""Rows from nothing in YAML, and on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from chainette.cli import app
from chainette.errors import ChainError, InputError
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.loading.yaml_rows import YamlRows
from chainette.loading.yaml_spec import format_schema
from chainette.run.inputs.generated import Rows
from chainette.samplers import (
    boolean,
    choice,
    date,
    datetime,
    faker,
    integer,
    normal,
    number,
    optional,
    several,
    subset,
    switch,
    template,
    uuid,
)
from chainette.yaml_source import read_yaml
from typer.testing import CliRunner

FUNCTIONS = """
from chainette.samplers import integer
from pydantic import BaseModel

class Person(BaseModel):
    tone: str
    age: int = 0

class Text(BaseModel):
    text: str

def said(person: Person) -> Text:
    return Text(text=f"{person.tone} {person.age}")

def age(row, rng, row_id):
    return 100 * row_id + rng.randint(1, 9)

SMALL = integer(1, 2)
TEN = 10
"""
STEPS = "\nsteps:\n  - apply: yaml_people:said\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "yaml_people.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("yaml_people", None)


def chain(folder: Path, inputs: str) -> Path:
    path = folder / "chain.yml"
    path.write_text(f"name: people\ninputs: {inputs}{STEPS}")
    return path


def opened(folder: Path, inputs: str) -> Rows:
    found = load_yaml_chain(chain(folder, inputs)).inputs
    assert isinstance(found, YamlRows)
    return found.open()


SAME: dict[str, tuple[str, Any]] = {
    "value": ("dry", "dry"),
    "number of one digit": ("5", 5),
    "nothing": ("null", None),
    "constant": ("{constant: [1, 2]}", None),
    "choice": ("{choice: [dry, warm]}", choice("dry", "warm")),
    "answers": ("{choice: [yes, no]}", choice("yes", "no")),
    "weights": ("{choice: {dry: 3, warm: 1}}", choice({"dry": 3, "warm": 1})),
    "list of weights": (
        "{choice: [dry, warm], weights: [3, 1]}",
        choice("dry", "warm", weights=[3, 1]),
    ),
    "integer": ("{integer: [18, 90]}", integer(18, 90)),
    "keywords": ("{integer: {low: 18, high: 90}, step: 2}", integer(18, 90, step=2)),
    "number": ("{number: [0, 1], decimals: 2}", number(0, 1, decimals=2)),
    "normal": ("{normal: [5, 2], low: 0}", normal(5, 2, low=0)),
    "boolean": ("{boolean: 0.2}", boolean(0.2)),
    "coin": ("{boolean: }", boolean()),
    "date": ("{date: [2024-01-01, 2024-12-31]}", date("2024-01-01", "2024-12-31")),
    "datetime": (
        '{datetime: ["2024-01-01T08:00", 2024-12-31], step: hour}',
        datetime("2024-01-01T08:00", "2024-12-31", step="hour"),
    ),
    "uuid": ("{uuid: }", uuid()),
    "subset": ("{subset: [a, b, c], size: [1, 2]}", subset("a", "b", "c", size=(1, 2))),
    "several": ("{several: {integer: [1, 6]}, size: 3}", several(integer(1, 6), 3)),
    "optional": ("{optional: {choice: [a, b]}, p: 0.5}", optional(choice("a", "b"), 0.5)),
    "faker": ("{faker: name, locale: de_DE}", faker("name", locale="de_DE")),
    "argument of faker": ("{faker: pyfloat, positive: true}", faker("pyfloat", positive=True)),
    "template": ('"{{ t }} {{ row_id }}"', template("{{ t }} {{ row_id }}")),
    "template by name": ("{template: '{{ t }}'}", template("{{ t }}")),
    "switch": (
        "{switch: t, cases: {a: {integer: [1, 2]}, b: 'in {{ t }}'}, default: 3}",
        switch("t", {"a": integer(1, 2), "b": template("in {{ t }}")}, default=3),
    ),
    "sampler of Python": ("{function: 'yaml_people:SMALL'}", integer(1, 2)),
}


@pytest.mark.parametrize("name", SAME)
def test_a_file_says_the_same_as_python(name: str, folder: Path) -> None:
    from chainette import rows

    written, sampler = SAME[name]
    if name == "constant":
        from chainette.samplers import constant

        sampler = constant([1, 2])
    inputs = f"\n  rows: 20\n  seed: 7\n  t: {{choice: [a, b]}}\n  x: {written}\n"
    found = opened(folder, inputs)
    expected = rows(20, seed=7, t=choice("a", "b"), x=sampler)
    assert [*found] == [*expected]
    assert found.digest() == expected.digest()
    data = read_yaml(chain(folder, inputs), ChainError).data
    jsonschema.validate(json.loads(json.dumps(data, default=str)), format_schema())


def test_functions_and_data_come_from_files_beside_it(folder: Path) -> None:
    (folder / "towns.jsonl").write_text('{"town": "Ulm"}\n{"town": "Jena"}\n')
    inputs = (
        "{rows: 9, given: towns.jsonl, tone: '{{ town }}!', age: {function: 'yaml_people:age'}}"
    )
    found = opened(folder, inputs)
    assert {row["tone"] for row in found} == {"Ulm!", "Jena!"}
    assert [row["age"] // 100 for row in found] == list(range(9))
    assert [path.name for path in found.paths] == ["towns.jsonl"]


def test_a_dataset_is_named_as_on_the_command_line(folder: Path) -> None:
    assert load_yaml_chain(chain(folder, "hf:people:test")).inputs == Path("hf:people:test")
    assert load_yaml_chain(chain(folder, "people.csv")).inputs == folder / "people.csv"


def test_variables_of_the_environment_are_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNT", "3")
    found = opened(folder, "{rows: '${COUNT}', seed: '${SEED:-5}', tone: '${TONE:-dry} $$'}")
    assert [*found] == [{"tone": "dry $"}] * 3
    assert "seed 5" in repr(found)


MISTAKES: dict[str, tuple[str, int, str]] = {
    "no count": ("\n  seed: 7", 2, "inputs: a mapping of inputs needs 'rows'"),
    "negative": ("\n  rows: -1", 3, "inputs.rows: expected a number of at least 0"),
    "seed": ("\n  rows: 1\n  seed: x", 4, "inputs.seed: expected a whole number"),
    "list": (
        " [1]",
        2,
        "inputs: expected a text, the path of a file; or a mapping with the number of rows",
    ),
    "option": ("\n  rows: 1\n  seeds: 7", 4, "'seeds' is not an option (did you mean 'seed'?)"),
    "sampler": (
        "\n  rows: 1\n  a: {choic: [1]}",
        4,
        "inputs.a: 'choic' is not a sampler (did you mean 'choice'?); samplers: function, boolean",
    ),
    "nothing": ("\n  rows: 1\n  a: {}", 4, "inputs.a: it is empty; samplers:"),
    "values": ("\n  rows: 1\n  a: [1, 2]", 4, "inputs.a: it is a list; give a value, a template"),
    "order": ("\n  rows: 1\n  b: 1\n  a: {integer: [2, 1]}", 5, "low is 2, which is above high"),
    "too few": ("\n  rows: 1\n  a: {integer: [2]}", 4, "missing a required argument: 'high'"),
    "keyword": ("\n  rows: 1\n  a: {integer: [1, 2], stpe: 2}", 4, "(did you mean 'step'?)"),
    "inner": ("\n  rows: 1\n  a: {several: {choic: [1]}, size: 1}", 4, "'choic' is not a sampler"),
    "case": ("\n  rows: 1\n  a: {switch: b, cases: {x: {choic: 1}}}", 4, "'choic' is not a sampl"),
    "cases": ("\n  rows: 1\n  a: {switch: b, cases: [1]}", 4, "give a dict of samplers by value"),
    "bare function": ("\n  rows: 1\n  a: yaml_people:age", 4, "give {function: 'yaml_people:age'}"),
    "function": ("\n  rows: 1\n  a: {function: 'yaml_people:aeg'}", 4, "(did you mean 'age'?)"),
    "no function": ("\n  rows: 1\n  a: {function: 'yaml_people:TEN'}", 4, "is not a function"),
    "options": ("\n  rows: 1\n  a: {function: 'yaml_people:age', p: 1}", 4, "and nothing else"),
    "template": ("\n  rows: 1\n  a: '{{ b'", 4, "template, line 1"),
    "later": ("\n  rows: 1\n  a: '{{ b }}'\n  b: 1", 4, "which must come before it"),
    "variable": ("\n  rows: ${NO_SUCH_VARIABLE}", 3, "NO_SUCH_VARIABLE is not set"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_file_and_line(name: str, folder: Path) -> None:
    inputs, line, message = MISTAKES[name]
    with pytest.raises(ChainError) as caught:
        load_yaml_chain(chain(folder, inputs))
    assert f"chain.yml:{line}: " in str(caught.value)
    assert message in str(caught.value)


def test_all_mistakes_are_named_at_once(folder: Path) -> None:
    with pytest.raises(ChainError, match="has 2 mistakes"):
        load_yaml_chain(chain(folder, "\n  rows: 1\n  a: {choic: 1}\n  b: {integer: [2, 1]}"))


def test_data_is_read_when_it_is_needed(folder: Path) -> None:
    loaded = load_yaml_chain(chain(folder, "{rows: 2, given: none.jsonl, a: '{{ twon }}'}"))
    assert isinstance(loaded.inputs, YamlRows)
    with pytest.raises(InputError, match=r"none\.jsonl: No such file"):
        loaded.inputs.open()
    (folder / "none.jsonl").write_text('{"town": "Ulm"}\n')
    with pytest.raises(ChainError, match=r"chain\.yml:2: .*'twon'.*did you mean 'town'"):
        loaded.inputs.open()


def lines(folder: Path) -> list[str]:
    text = (folder / "flattened/000000.jsonl").read_text()
    return [json.loads(line)["said.text"] for line in text.splitlines()]


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app.app, ["run", "chain.yml", *arguments])


def test_the_command_line_runs_a_chain_on_them(folder: Path) -> None:
    inputs = "{rows: 5, tone: {choice: [dry, warm]}, age: {function: 'yaml_people:age'}}"
    chain(folder, inputs)
    assert invoke("-o", "all", "--json-logs").exit_code == 0
    assert len(lines(folder / "all")) == 5
    assert invoke("-o", "part", "--limit", "2").exit_code == 0
    assert lines(folder / "part") == lines(folder / "all")[:2]
    assert invoke("-o", "part", "--resume").exit_code == 0
    assert lines(folder / "part") == lines(folder / "all")
    chain(folder, inputs.replace("dry", "calm"))
    changed = invoke("-o", "part", "--resume")
    assert "changed since: the inputs" in str(changed.exception) or changed.exit_code == 2
    (folder / "one.jsonl").write_text('{"tone": "calm", "age": 1}\n')
    assert invoke("-i", "one.jsonl", "-o", "file").exit_code == 0
    assert lines(folder / "file") == ["calm 1"]


def test_progress_has_the_total(folder: Path) -> None:
    chain(folder, "{rows: 5, tone: dry}")
    started = invoke("-o", "all", "--json-logs").stderr.splitlines()[0]
    assert json.loads(started)["rows"] == 5


PROMPTED = """
name: people
engines: [{name: e, backend: openai, model: m, api_key: k}]
inputs: {rows: 1000, tone: {choice: [dry, warm]}}
models: {Person: {tone: str}, Text: {text: str}}
steps:
  - {id: s, engine_name: e, input_model: Person, output_model: Text, user_prompt: "{{ tone }}"}
"""


def test_a_dry_run_shows_the_prompts_of_the_first(folder: Path) -> None:
    (folder / "chain.yml").write_text(PROMPTED)
    shown = invoke("--dry-run")
    assert shown.exit_code == 0
    assert shown.stdout.count("--- row ") == 3
    assert {*shown.stdout.split()} & {"dry", "warm"}

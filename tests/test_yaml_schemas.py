"""The JSON Schemas of chain and engine files: current, shipped, and right about every file here."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from chainette import Branch, Chain, Step, distinct, filter, reduce, repeat, route, split, vote
from chainette.cli import main
from chainette.loading.yaml_schema import chain_schema, engines_schema
from chainette.loading.yaml_spec import (
    KINDS,
    RUN_SPEC,
    ApplySpec,
    BranchSpec,
    ChainSpec,
    DistinctSpec,
    FilterSpec,
    ReduceSpec,
    RepeatSpec,
    RouteSpec,
    SplitSpec,
    StepSpec,
    VoteSpec,
)
from chainette.pipeline.composites.repeat import Repeat
from chainette.pipeline.composites.route import Cases
from chainette.pipeline.nodes import options
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.run.options import options_of
from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
from schemas import texts  # noqa: E402

Draft = jsonschema.Draft202012Validator
CHAIN, ENGINES = Draft(chain_schema()), Draft(engines_schema())


@pytest.mark.parametrize("name", ["chain.schema.json", "engines.schema.json"])
def test_the_files_in_the_wheel_are_those_that_the_code_makes(name: str) -> None:
    shipped = files("chainette.loading") / "schemas" / name
    assert shipped.read_text(encoding="utf-8") == texts()[name], "run make docs"
    Draft.check_schema(json.loads(shipped.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("arguments", "schema"),
    [([], chain_schema()), (["chain"], chain_schema()), (["engines"], engines_schema())],
)
def test_the_command_prints_them(
    arguments: list[str],
    schema: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["chainette", "schema", *arguments])
    with contextlib.suppress(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(schema))


def written() -> Iterator[tuple[str, Any]]:
    """The chains and engines of this project: in examples, pages and seeds, with their places."""
    for path in sorted([*ROOT.glob("examples/*.y*ml"), *ROOT.glob("fuzz/seeds/yaml/*.y*ml")]):
        yield str(path.relative_to(ROOT)), yaml.safe_load(path.read_text())
    for page in sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md"]):
        text, block = page.read_text(), r"^```ya?ml[^\n]*\n(.*?)^```"
        blocks = re.findall(block, text, re.MULTILINE | re.DOTALL)
        for number, found in enumerate(blocks):
            yield f"{page.relative_to(ROOT)}-{number}", yaml.safe_load(found)


def kind_of(data: Any) -> jsonschema.protocols.Validator | None:
    if isinstance(data, dict) and {"name", "steps"} <= data.keys():
        return CHAIN
    entries = data.get("engines") if isinstance(data, dict) and len(data) == 1 else data
    is_engines = isinstance(entries, list) and all(
        isinstance(it, dict) and {"name", "backend"} <= it.keys() for it in entries
    )
    return ENGINES if is_engines else None


WRITTEN = {place: data for place, data in written() if kind_of(data) is not None}


def test_there_are_files_of_both_kinds() -> None:
    kinds = [kind_of(data) for data in WRITTEN.values()]
    assert min(kinds.count(CHAIN), kinds.count(ENGINES)) >= 4


@pytest.mark.parametrize("place", WRITTEN)
def test_every_file_is_valid(place: str) -> None:
    data = json.loads(json.dumps(WRITTEN[place], default=str))
    validator = kind_of(data)
    assert validator is not None
    assert [error.message for error in validator.iter_errors(data)] == []


NODES: dict[str, dict[str, Any]] = {
    "step": {"id": "a", "input_model": "M", "engine_name": "e", "user_prompt": "", "samples": 3},
    "apply": {"apply": "m:f", "batch": "all"},
    "split": {"split": "parts", "output_model": "M"},
    "filter": {"filter": "n > 3", "when": "n"},
    "distinct": {"distinct": ["a", "b"], "id": "d"},
    "vote": {"vote": None},
    "branch": {"branch": "b", "steps": [{"filter": "n"}], "join": "x"},
    "route": {"route": "r", "by": "n", "cases": {"a": None, "b": [{"filter": "n"}]}},
    "repeat": {"repeat": "r", "until": "n", "steps": [{"filter": "n"}], "max_rounds": 3},
    "reduce": {"reduce": "g", "by": ["a"], "steps": [{"apply": "m:f"}]},
    "use": {"use": "m:f"},
}
WRONG: dict[str, list[tuple[str, Any]]] = {
    "step": [("samples", 0), ("samples", "3"), ("smaples", 3), ("user_prompt", 3), ("id", None)],
    "apply": [("batch", 0), ("apply", ["m:f"]), ("threaded", "perhaps"), ("fn", "m:f")],
    "split": [("split", ["a"]), ("field", "a"), ("output_model", 3)],
    "filter": [("filter", 3), ("filter", None), ("filters", "n"), ("when", True)],
    "distinct": [("distinct", {"a": 1}), ("by", "a"), ("yield_output", 3)],
    "vote": [("vote", ["a"]), ("on", "a"), ("default", ...)],
    "branch": [("steps", []), ("jion", "x"), ("steps", [{"filtre": "n"}])],
    "route": [("cases", {}), ("by", None), ("defualt", [])],
    "repeat": [("max_rounds", 0), ("exhausted", "never"), ("until", 3)],
    "reduce": [("fold", 0), ("steps", []), ("key", "a")],
    "use": [("use", 3), ("id", "x")],
}


def chain(node: dict[str, Any]) -> dict[str, Any]:
    return {"name": "c", "steps": [node]}


def test_every_kind_of_node_is_in_the_schema() -> None:
    assert {*NODES} == {*KINDS, "step"} == {*WRONG}


@pytest.mark.parametrize("kind", NODES)
def test_a_node_is_valid_and_its_mistakes_are_not(kind: str) -> None:
    assert [it.message for it in CHAIN.iter_errors(chain(NODES[kind]))] == []
    for key, value in WRONG[kind]:
        if value is ...:
            continue
        node = deepcopy(NODES[kind]) | {key: value}
        assert not CHAIN.is_valid(chain(node)), (key, value)
        inner = {"branch": "b", "steps": [node]}
        assert not CHAIN.is_valid(chain(inner)), (key, value)


ENGINE = {"name": "e", "backend": "openai", "model": "m"}


@pytest.mark.parametrize(
    ("more", "is_valid"),
    [
        ({}, True),
        ({"price": {"input": 0.15, "output": "0.60"}}, True),
        ({"timeout": "${SECONDS:-60}", "lazy": "${LAZY}"}, True),
        ({"headers": {"x": "y"}, "extra_body": {"a": 1}}, True),
        ({"timeout": "long"}, False),
        ({"timout": 60}, False),
        ({"price": {"input": 1}}, False),
        ({"structured_output": "always"}, False),
        ({"max_concurrency": 0}, False),
        ({"backend": "another", "own": 1}, True),
        ({"backend": "another", "timeout": "long"}, False),
        ({"backend": 3}, False),
    ],
    ids=str,
)
def test_the_fields_of_engines_are_checked(more: dict[str, Any], is_valid: bool) -> None:
    engine = ENGINE | more
    assert ENGINES.is_valid([engine]) is is_valid
    assert ENGINES.is_valid({"engines": [engine]}) is is_valid
    assert CHAIN.is_valid(chain(NODES["use"]) | {"engines": [engine]}) is is_valid


@pytest.mark.parametrize(
    ("more", "is_valid"),
    [
        ({"run": {"fmt": "parquet", "limit": 3}}, True),
        ({"models": {"M": {"a": {"items": "str"}, "b": {"items": {"type": "int"}}}}}, True),
        ({"inputs": {"rows": 3, "tone": {"choice": ["a"]}}}, True),
        ({"run": {"fmt": "csv"}}, False),
        ({"run": {"limits": 3}}, False),
        ({"models": {"M": {"a": {"itmes": "str"}}}}, False),
        ({"models": {"M": {"a": {"items": 3}}}}, False),
        ({"inputs": {"tone": {"choice": ["a"]}}}, False),
        ({"step": []}, False),
    ],
    ids=str,
)
def test_the_rest_of_a_chain_is_checked(more: dict[str, Any], is_valid: bool) -> None:
    assert CHAIN.is_valid(chain(NODES["filter"]) | more) is is_valid


def keywords(*functions: Callable[..., Any]) -> set[str]:
    """The names of all parameters, those of `**options: Unpack[Options]` included."""
    found: set[str] = set()
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                typed = re.sub(r"^Unpack\[(\w+)\]$", r"\1", str(parameter.annotation))
                found |= {*getattr(options, typed).__annotations__} if typed != "Any" else set()
            elif name != "self":
                found.add(name)
    return found


SAID = {
    StepSpec: (keywords(Step.__init__), {}),
    ApplySpec: (keywords(ApplyNode.__init__), {"fn": "apply"}),
    SplitSpec: (keywords(split("a").__class__.__init__), {"field": "split"}),
    FilterSpec: (keywords(filter("a").__class__.__init__), {"keeps": "filter"}),  # type: ignore[misc]
    DistinctSpec: (keywords(distinct("a").__class__.__init__), {"by": "distinct"}),  # type: ignore[misc]
    VoteSpec: (keywords(vote("a").__class__.__init__), {"field": "vote"}),
    BranchSpec: (keywords(Branch.__init__, Branch.join), {"name": "branch", "alias": "join"}),
    RouteSpec: (
        keywords(Cases.__init__, route("a", id="r").case) - {"key", "arm"} | {"cases", "default"},
        {"id": "route"},
    ),
    RepeatSpec: (keywords(Repeat.__init__, repeat), {"body": "steps", "id": "repeat"}),
    ReduceSpec: (keywords(reduce), {"node": "steps", "id": "reduce"}),
    ChainSpec: (
        {"name", "steps", "emoji", "inputs"} | {"engines", "models", "run", "output_dir"},
        {},
    ),
    RUN_SPEC: ({it.name for it in options_of()}, {}),
}
"""What Python can say, and the keys under which YAML says it."""


@pytest.mark.parametrize("spec", SAID, ids=lambda it: it.__name__)
def test_yaml_can_say_what_python_can_say(spec: type[BaseModel]) -> None:
    said, names = SAID[spec]
    wanted = {names.get(name, name) for name in said - {"options"}}
    assert wanted - {*spec.model_fields} == set(), "keywords that no key stands for"
    only = {*spec.model_fields} - wanted
    assert only <= {"id"}, "keys that no keyword stands for"


def test_a_chain_has_no_other_arguments() -> None:
    assert keywords(Chain.__init__) <= {"name", "steps", "emoji"}

"""Values in prompts that have no text of their own, or another than was meant."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict, defaultdict
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from chainette import Chain, Step
from chainette.errors import ChainError
from chainette.pipeline.prompt import PromptTemplate
from chainette.testing import fake_engine
from pydantic import BaseModel


class NoText:
    pass


class Own(NoText):
    def __str__(self) -> str:
        return "own"

    def __call__(self) -> None:
        pass


def render(source: str, **values: Any) -> str:
    return PromptTemplate(source, "step 'a', user_prompt").render(values)


@pytest.mark.parametrize(
    ("source", "value", "message"),
    [
        ("{{ v.upper }}", "a", "'upper' is a function, not a text: call it, as upper"),
        ("{{ v.items }}", {"a": 1}, "'items' is a function"),
        ("{{ v }}", print, "'print' is a function"),
        ("{{ v | map('upper') }}", ["a"], r"add \| list, or \| join"),
        ("{{ v | select }}", [1], r"add \| list, or \| join"),
        ("{{ 'x' ~ v | map('upper') }}", ["a"], r"add \| list, or \| join"),
        ("{{ v }}", (it for it in "ab"), r"add \| list, or \| join"),
        ("{{ v }}", NoText(), "a value of the type NoText has no text"),
        ("{{ [v.upper] | join }}", "a", "'upper' is a function"),
        ("{{ v }}", b"\xff", "bytes that are not UTF-8"),
        ("{% macro m() %}{% endmacro %}{{ m }}{{ v }}", 1, "'m' is a function"),
    ],
)
def test_a_value_without_a_text_fails_its_row(source: str, value: Any, message: str) -> None:
    with pytest.raises(ChainError, match=f"step 'a', user_prompt: .*{message}"):
        render(source, v=value)


@pytest.mark.parametrize(
    ("source", "value", "expected"),
    [
        ("{{ v.upper() }}", "a", "A"),
        ("{{ v | map('upper') | join(', ') }}", ["a", "b"], "A, B"),
        ("{{ v | map('upper') | list }}", ["a"], "['A']"),
        ("{{ v }}", Own(), "own"),
        ("{{ v }}", b"caf\xc3\xa9", "café"),
        ("{{ v }}", OrderedDict(a=1), "{'a': 1}"),
        ("{{ v }}", defaultdict(list, a=[1]), "{'a': [1]}"),
        ("{{ v }}", frozenset({2, 1}), "{1, 2}"),
        ("{{ v }}", {"b", "a"}, "{'a', 'b'}"),
        ("{{ v }}", PurePosixPath("/a"), "/a"),
        ("{{ v | tojson }}", float("nan"), "null"),
        ("{{ v | tojson }}", [float("inf"), Decimal("1.10")], '[null,"1.10"]'),
        ("{{ v }}", "{{ secret }} {% raw %} {x} {# c #}", "{{ secret }} {% raw %} {x} {# c #}"),
    ],
)
def test_other_values_have_the_text_that_a_reader_expects(
    source: str, value: Any, expected: str
) -> None:
    assert render(source, v=value) == expected


@pytest.mark.parametrize("name", ["items", "keys", "values", "get", "copy", "pop", "update"])
def test_a_key_of_a_row_wins_over_a_method_of_dicts(name: str) -> None:
    assert render(f"{{{{ v.{name} }}}}", v={name: "mine"}) == "mine"
    assert render(f"{{{{ v.w.{name} }}}}", v={"w": {name: "mine"}}) == "mine"


def test_the_methods_of_dicts_can_still_be_called() -> None:
    row = {"items": [1], "get": 2, "a": 3}
    assert render("{% for k, v in v.items() %}{{ k }} {% endfor %}", v=row) == "items get a "
    assert render("{{ v.get('b', 4) }} {{ v.a.bit_length() }}", v=row) == "4 2"


@pytest.mark.parametrize(
    "source",
    ["{% include 'x' %}", "a\n{% import 'x' as y %}", "{% from 'x' import y %}", "{% extends x %}"],
)
def test_other_templates_are_refused_when_the_chain_is_built(source: str) -> None:
    with pytest.raises(ChainError, match=r"line [12]: a prompt cannot include other templates"):
        PromptTemplate(source, "here")


def test_prompts_with_sets_are_the_same_in_every_process(tmp_path: Path) -> None:
    code = (
        "from chainette.pipeline.prompt import PromptTemplate\n"
        "print(PromptTemplate('{{ v }}', 'here').render({'v': {*'abcdefgh'}}))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(texts) == 1


class Loose(BaseModel):
    text: str
    more: dict[str, Any]


def test_braces_in_values_are_not_rendered_again() -> None:
    step = Step(
        id="s", input_model=Loose, output_model=Loose, engine_name="e",
        user_prompt="{{ text }} {{ more.items }} {{ more.values | tojson }}",
    )  # fmt: skip
    row = {"text": "{{ more }}", "more": {"items": "{% for %}", "values": ["{{ 1 }}"]}}
    with fake_engine("e") as engine:
        assert Chain(name="c", steps=step).run([row]).counts.ok == 1
    assert engine.requests[0][-1]["content"] == '{{ more }} {% for %} ["{{ 1 }}"]'

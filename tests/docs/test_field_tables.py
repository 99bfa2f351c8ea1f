"""The tables of every field leave nothing out, and say what each field means."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any

import chainette
import pytest
from chainette.loading.yaml_spec import KINDS
from pages import ROOT

sys.path.append(str(ROOT / "docs"))
import fields

PAGE = (ROOT / "docs/reference/fields.md").read_text()
NOT_BUILDING = {"ApplyNode", "Calls", "Group", "SyncCalls", "pipe"}
"""Names of the pipeline that take no fields of their own, or that others make."""


def section(title: str) -> str:
    """The page from a heading to the next one."""
    return PAGE.partition(f"\n### {title}\n")[2].partition("\n###")[0].partition("\n## ")[0]


def names_in(text: str) -> list[str]:
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


def test_every_public_name_that_builds_a_chain_has_a_table() -> None:
    building = {name for name, home in chainette._HOMES.items() if home.startswith("pipeline.")}
    expected = building - NOT_BUILDING | {"Chain", "Code", "SamplingParams", "rows"}
    assert expected <= fields.parts().keys(), "docs/fields.py: add the home of the name to HOMES"


@pytest.mark.parametrize("name", fields.parts())
def test_a_part_is_on_the_page_with_all_its_arguments(name: str) -> None:
    value = fields.parts()[name]
    entries = fields.arguments(name, value)
    named = {it.name for it in entries}
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    taken = {k for k, it in inspect.signature(value).parameters.items() if it.kind in plain}
    assert taken <= named
    shown = names_in(section(f"`{name}`"))
    assert [it.name for it in entries] == shown[: len(entries)], "run `make docs`"
    assert [it.name for it in entries if not it.meaning] == [], "describe them under Args:"
    assert [it.name for it in entries if not it.kind] == []


def test_options_are_those_of_the_typed_dicts() -> None:
    """Options that come as keywords are found, too."""
    by_name = {it.name: it for it in fields.arguments("Step", chainette.Step)}
    assert by_name["reasks"].default == "1"
    assert by_name["engine_name"].default == "required"
    assert by_name["on_error"].kind == "`fail`, `none`"
    assert by_name["keep_reasoning"].kind == "true or false"
    repeat = {it.name: it for it in fields.arguments("repeat", chainette.repeat)}
    assert (repeat["until"].default, repeat["max_rounds"].default) == ("", "4")


def test_every_kind_of_node_of_yaml_has_a_table() -> None:
    assert set(fields.kinds_of_nodes()) == {"step", *KINDS}


@pytest.mark.parametrize("key", ["", *fields.kinds_of_nodes()])
def test_a_kind_of_node_is_on_the_page_with_all_its_fields(key: str) -> None:
    spec: Any = fields.kinds_of_nodes()[key] if key else fields.ChainSpec
    title = {"": "The file", "step": "A step"}.get(key, f"`{key}:`")
    entries = fields.fields(key, spec)
    assert [it.name for it in entries] == [*spec.model_fields] == names_in(section(title))
    assert [it.name for it in entries if not it.meaning] == [], (
        "describe them with Field(description=…), or as the arguments of Python's name"
    )

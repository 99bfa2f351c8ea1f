"""Mistakes in chains from YAML, described by the kinds and keys that there are."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError

from chainette.loading.inline_models import FieldSpec
from chainette.loading.yaml_spec import (
    KINDS,
    RUN_SPEC,
    ApplySpec,
    BranchSpec,
    ChainSpec,
    DistinctSpec,
    ExampleSpec,
    FilterSpec,
    ReduceSpec,
    RepeatSpec,
    RouteSpec,
    RowsSpec,
    SplitSpec,
    StepSpec,
    TurnSpec,
    UseSpec,
    VoteSpec,
)
from chainette.text import did_you_mean
from chainette.types import GuidedDecodingParams, SamplingParams
from chainette.validation import UNKNOWN, in_words, merged, without_tags
from chainette.yaml_source import Location


class _Section(NamedTuple):
    """A mapping of the format.

    Attributes:
        name: Its name in a message.
        place: The place where its keys belong.
        keys: Its keys.
        required: Those that it must have.
    """

    name: str
    place: str
    keys: tuple[str, ...]
    required: tuple[str, ...] = ()


def _section(name: str, place: str, spec: Any) -> _Section:
    fields = getattr(spec, "model_fields", None) or spec.__pydantic_fields__
    required = tuple(key for key, field in fields.items() if field.is_required())
    own = [key for key in fields if key in vars(spec).get("__annotations__", fields)]
    return _Section(name, place, tuple(dict.fromkeys((*own, *fields))), required)


_FILE = _section("a chain", "at the top of the file", ChainSpec)
_SECTIONS = {
    "run": _section("the options of a run", "under run", RUN_SPEC),
    "<rows>": _section("a mapping of inputs", "under inputs", RowsSpec),
    "<step>": _section("a step", "in a step", StepSpec),
    "<apply>": _section("a function", "in a node with apply", ApplySpec),
    "<split>": _section("a split", "in a node with split", SplitSpec),
    "<filter>": _section("a filter", "in a node with filter", FilterSpec),
    "<distinct>": _section("a distinct", "in a node with distinct", DistinctSpec),
    "<vote>": _section("a vote", "in a node with vote", VoteSpec),
    "<branch>": _section("a branch", "in a node with branch", BranchSpec),
    "<route>": _section("a route", "in a node with route", RouteSpec),
    "<repeat>": _section("a repeat", "in a node with repeat", RepeatSpec),
    "<reduce>": _section("a reduce", "in a node with reduce", ReduceSpec),
    "<use>": _section("a node with use", "in a node with use", UseSpec),
    "messages": _section("a message", "under messages of a step", TurnSpec),
    "<examples>": _section("an example", "under examples of a step", ExampleSpec),
    "sampling": _section("sampling", "under sampling of a step", SamplingParams),
    "guided_decoding": _section("guided decoding", "under guided_decoding", GuidedDecodingParams),
    "<field>": _section("a field", "in a field of a model", FieldSpec),
}
"""By the key, or the tag in Pydantic's locations, of each mapping below the file."""
_STEP = _SECTIONS["<step>"]
_NODE = (
    "a node is a step (id, input_model, output_model, engine_name, user_prompt, …), or has one of "
    f"the keys {', '.join(KINDS).replace('apply', 'apply (a function)', 1)}"
)
_EXPECTED = {
    "models": "a mapping of models by name, such as {Review: {text: str}}",
    "steps": "a list of nodes",
    "inputs": "a text, the path of a file; or a mapping with the number of rows: {rows: 100, …}",
}


def outline(data: Any) -> str:
    """The mistake in a file that is not a mapping."""
    keys = f"expected a mapping of keys and values; {_keys(_FILE)}"
    is_engines = isinstance(data, list) and any(
        isinstance(entry, dict) and "backend" in entry for entry in data
    )
    return f"{keys}; a file of engines is for load_engines(FILE)" if is_engines else keys


def mistakes_in(error: ValidationError) -> Iterator[tuple[Location, str]]:
    """The mistakes of a file, each with its location: one for a node, however many keys it lacks.

    Args:
        error: The validation error of `ChainSpec`.
    """
    items = merged(error)
    missing: dict[Location, list[str]] = {}
    for item in items:
        if item["type"] == "missing":
            missing.setdefault(item["loc"][:-1], []).append(str(item["loc"][-1]))
    meant: dict[Location, set[str]] = {}
    for item in items:
        location, place = item["loc"], without_tags(item["loc"])
        if item["type"] == "invalid_key" or location[-1:] == ("[key]",):
            *path, key = place[:-1] if location[-1] == "[key]" else place
            place = (*path, _yaml_key(key))
            yield place, f"{_dotted(place)}expected a text as the key; put it in quotes"
        elif item["type"] in UNKNOWN:
            section, key = _section_of(location[:-1]), str(location[-1])
            close = _closest(key, missing.get(location[:-1], ())) or _closest(key, section.keys)
            meant.setdefault(location[:-1], set()).add(close)
            yield place, _unknown(key, section, close)
        elif item["type"] != "missing":
            yield place, _described(item, place)
    for location, keys in missing.items():
        left = [key for key in keys if key not in meant.get(location, ())]
        if left:
            section, place = _section_of(location), without_tags(location)
            yield place, f"{_dotted(place)}{section.name} needs {_and(left)}; {_keys(section)}"


def _yaml_key(key: Any) -> str:
    """A key that is not a text, as it is written in a file."""
    return {"none": "null"}.get(str(key).lower(), str(key).lower())


def _section_of(location: Location) -> _Section:
    section = _FILE
    for part in location:
        if part in _SECTIONS and (part != "run" or section is _FILE):
            section = _SECTIONS[str(part)]
    return section


def _unknown(key: str, section: _Section, close: str) -> str:
    """The mistake of a key that a section does not have."""
    if close:
        return f"unknown key {key!r} (did you mean {close!r}?); {_keys(section)}"
    others = (it for it in (_FILE, *_SECTIONS.values()) if it is not section and key in it.keys)
    other = next(others, None)
    hint = f" (it belongs {other.place})" if other else ""
    return f"unknown key {key!r}{hint}; {_keys(section)}"


def _closest(key: str, known: Collection[str]) -> str:
    hint = did_you_mean(key, known)
    return hint.split("'")[1] if hint else next((it for it in known if _begins(key, it)), "")


def _begins(key: str, known: str) -> bool:
    """Whether one is the beginning of the other, as `engine` is of `engine_name`."""
    return known.startswith(f"{key}_") or key.startswith(f"{known}_")


def _described(item: Any, place: Location) -> str:
    """The mistake of a value."""
    kind, dotted = item["type"], _dotted(place)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return dotted + _about_node(item["input"])
    if place == ("engines",):
        return "expected a list of engines"
    if place == ("inputs",) and isinstance(item["input"], list):
        return f"inputs: expected {_EXPECTED['inputs']}"
    section = _section_of(item["loc"])
    if kind.endswith(("model_type", "dict_type", "dataclass_type")):
        return dotted + _about_mapping(place, section)
    if kind in ("list_type", "too_short") and place[-1] == "steps":
        return f"{dotted}expected {_EXPECTED['steps']}; {_NODE}"
    return dotted + in_words(item)


def _about_mapping(place: Location, section: _Section) -> str:
    if place[0] == "models" and len(place) < 3:
        fields = "a mapping of fields by name, such as {text: str}"
        return f"expected {_EXPECTED['models'] if len(place) == 1 else fields}"
    if section is _SECTIONS["<field>"]:
        return f"expected a type, such as str, or a mapping; {_keys(section)}"
    return f"expected a mapping of keys and values; {_keys(section)}"


def _about_node(value: Any) -> str:
    """The mistake of a node that has no kind, or two."""
    if not isinstance(value, dict):
        names = {type(None): "empty", str: "a text", list: "a list", bool: "true or false"}
        return f"it is {names.get(type(value), 'a number')}; {_NODE}"
    kinds = [key for key in KINDS if key in value]
    if len(kinds) > 1:
        return f"{_and(kinds)} are two kinds of nodes; give each a node of its own"
    keys = [str(key) for key in value]
    hint = next(filter(None, (did_you_mean(key, (*KINDS, *_STEP.keys)) for key in keys)), "")
    what = keys and (f"none of {_and(keys)}" if len(keys) > 1 else repr(keys[0]))
    verb = "is" if len(keys) > 1 else "is not"
    return f"{what} {verb} a kind of node{hint}; {_NODE}" if keys else f"it is empty; {_NODE}"


def _keys(section: _Section) -> str:
    return f"the keys of {section.name} are {', '.join(section.keys)}"


def _and(words: Collection[str]) -> str:
    *most, last = map(repr, words)
    return f"{', '.join(most)} and {last}" if most else last


def _dotted(place: Location) -> str:
    return f"{'.'.join(map(str, place))}: " if place else ""

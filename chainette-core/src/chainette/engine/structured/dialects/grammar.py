"""Schemas as decoders by grammar take them: llama.cpp's, xgrammar's, and those that are unknown.

A decoder builds a grammar from a schema. What the grammar cannot say is refused, or skipped without
a word. What a dialect does not enforce is said in the description, and what a decoder may refuse or
end on is left out; Pydantic validates the answer as ever.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from chainette.engine.structured.dialects.pattern import MOST, rewritten
from chainette.engine.structured.dialects.words import (
    DECIMAL,
    IS_NUMBER,
    OWN,
    RULES,
    described,
    within,
)
from chainette.engine.structured.strict import phrases, unlike

Schema = dict[str, Any]

_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_LENGTHS = ("minLength", "maxLength")
_ITEMS = ("minItems", "maxItems")
_ANNOTATIONS = ("default", "examples", "contentMediaType", "contentSchema")
_BRANCHES = ("anyOf", "oneOf", "allOf")
_CONDITIONS = ("not", "if", "then", "else", "contains", "minContains", "maxContains")
_SHAPES = ("type", "$ref", "enum", "const", "properties", "items", "prefixItems", *_BRANCHES)
_NOTES = ("title", "description", "default")
_LARGEST = 2**53
"""Bounds beyond it are left out: llama.cpp reads 64 bits, and JSON's readers 53."""
_DEPTH = 3
"""Lists and objects inside one another where the type says nothing."""
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_NAIVE = {
    "time": f"^{_CLOCK}$",
    "date-time": f"^[0-9]{{4}}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T{_CLOCK}$",
}
"""Times without a zone; the decoders' own formats want one."""


@dataclass(frozen=True, slots=True)
class _Grammar:
    """The part of JSON Schema that a decoder takes.

    Attributes:
        enforced: The keywords that it enforces, by type; `None` where that is unknown.
        formats: The formats that it enforces; `None` where that is unknown.
        escapes: Whether it compares a pattern with the JSON text instead of the value.
        refused: Keywords that it refuses.
    """

    enforced: Mapping[str, Collection[str]] | None = None
    formats: Collection[str] | None = None
    escapes: bool = False
    refused: Collection[str] = field(default=())


_GRAMMARS: Mapping[str, _Grammar] = {
    "plain": _Grammar(),
    # llama.cpp, grammars/README.md, "JSON Schemas to GBNF": numbers have no bounds but integers.
    # Ollama has llama.cpp's converter.
    "llama_cpp": _Grammar(
        {"integer": _BOUNDS, "string": _LENGTHS, "array": _ITEMS},
        ("date", "time", "date-time", "uuid"),
        escapes=True,
        refused=(*_CONDITIONS, "format"),
    ),
    # vLLM, v1/structured_output/backend_xgrammar.py, `has_xgrammar_unsupported_json_features`.
    "xgrammar": _Grammar(
        {
            "integer": _BOUNDS,
            "number": _BOUNDS,
            "string": _LENGTHS,
            "array": _ITEMS,
            "object": ("minProperties", "maxProperties"),
        },
        ("date", "time", "date-time", "uuid", "email", "duration", "ipv4", "ipv6", "hostname"),
        refused=(*_CONDITIONS, "multipleOf", "uniqueItems", "format"),
    ),
    # The shape alone, for a schema that the server has refused.
    "shape": _Grammar({}, (), refused=(*_CONDITIONS, *_BOUNDS, *_COUNTS, "multipleOf", "format")),
}


def in_grammar(source: Mapping[str, Any], dialect: str) -> Schema:
    """Write a schema in a dialect of `_GRAMMARS`.

    Args:
        source: A schema of `ModelSchema`; it is not changed.
        dialect: `plain`, `llama_cpp`, `xgrammar`, or `shape` for the shape without its rules.
    """
    return _Writer(source, _GRAMMARS[dialect]).root()


def all_required(schema: Mapping[str, Any]) -> Schema:
    """A schema whose objects require all their properties.

    A small model answers `{}` where it may, and all its rows would be the defaults.

    Args:
        schema: A schema; it is not changed.
    """
    made: Schema = _required(schema)[0]
    return made


def _required(node: Any) -> tuple[Any, list[str]]:
    if not isinstance(node, Mapping):
        return node, []
    made = _with_required(dict(node))
    within(made, _required)
    return made, []


def _with_required(made: Schema) -> Schema:
    if made.get("properties"):
        made["required"] = list(made["properties"])
    return made


class _Writer:
    """One schema in one dialect."""

    def __init__(self, source: Mapping[str, Any], grammar: _Grammar) -> None:
        self.source = source
        self.grammar = grammar
        self.defs: Mapping[str, Any] = source.get("$defs", {})
        self.any_name = unlike("AnyValue", self.defs)
        self.any_used = False

    def root(self) -> Schema:
        """The whole schema."""
        made: Schema = described(*self.node(self.source))
        if self.any_used:
            made["$defs"] = {**made.get("$defs", {}), **_any_values(self.any_name)}
        return made

    def node(self, node: Any) -> tuple[Any, list[str]]:
        """A schema as it is sent, and its rules in words; `None` for one to leave out."""
        if not isinstance(node, Mapping):
            is_open = node is True and self.grammar.enforced is not None
            return (self.anything({}) if is_open else node), []
        made = _with_required({key: value for key, value in node.items() if key not in OWN})
        rules: list[str] = [*node.get(RULES, ()), *self.own(made, node)]
        if self.grammar.enforced is not None and not any(key in made for key in _SHAPES):
            return self.anything(made), rules
        rules += within(made, self.node)
        for key in ("anyOf", "oneOf"):
            if len(made.get(key, ())) == 1:
                (only,) = made.pop(key)
                made = {**only, **made}
        return (None if self.is_left_out(node) else made), list(dict.fromkeys(rules))

    def own(self, made: Schema, node: Mapping[str, Any]) -> list[str]:
        """Write the keywords of a schema's own; return those that nothing enforces, in words."""
        large = {key: made.pop(key) for key in _COUNTS if _is_large(made.get(key))}
        enforced = self.text(made, node)
        if self.grammar.enforced is None:  # unknown: all of it, but what servers end on
            self.name_keys(made)
            lost = {**large, **{key: node[key] for key in ("pattern",) if key in node}}
            return phrases(lost, enforced)
        rules = self.keys(made)
        if made.get("type") == "integer" and not _is_range(made):
            for key in _BOUNDS:
                made.pop(key, None)
        self.fit(made)
        own = self.grammar.enforced.get(str(made.get("type")), ())
        enforced |= {key for key in own if key in made}
        if made.get("format") in (self.grammar.formats or ()):
            enforced.add("format")
        rules += phrases(node, {*_ANNOTATIONS, *_BRANCHES, *enforced})
        return [_DURATION if rule == "Format: duration." else rule for rule in rules]

    def is_left_out(self, node: Mapping[str, Any]) -> bool:
        """Whether it is a number beside a text that is held to more rules."""
        return IS_NUMBER in node and bool(self.grammar.enforced)

    def text(self, made: Schema, node: Mapping[str, Any]) -> set[str]:
        """Write the pattern of a text, or leave it out; return the keywords that it enforces."""
        is_known = self.grammar.enforced is not None
        if is_known and DECIMAL in node:
            made["pattern"] = node[DECIMAL]
        if is_known and "No time zone." in node.get(RULES, ()) and made.get("format") in _NAIVE:
            made["pattern"] = _NAIVE[made.pop("format")]
        pattern = made.pop("pattern", None)
        if not isinstance(pattern, str) or self.grammar.enforced == {}:
            return set()
        least, most = (made.get(key) if is_known else None for key in _LENGTHS)
        found = rewritten(pattern, escapes=self.grammar.escapes, least=least or 0, most=most)
        if found is None:
            return set()
        made["pattern"] = found.pattern
        if not is_known:
            return {"pattern"}
        for key in (*_LENGTHS, "format"):  # decoders look at the pattern or at these
            made.pop(key, None)
        is_large = any(_is_large(node.get(key)) for key in _LENGTHS)
        return {"pattern", *(_LENGTHS if found.has_lengths and not is_large else ())}

    def fit(self, made: Schema) -> None:
        """Leave out what the decoder refuses, and say what it leaves open."""
        for key in self.grammar.refused:
            if key in made and made[key] not in (self.grammar.formats or ()):
                del made[key]
        for key in _LENGTHS if "format" in made else ():  # decoders look at the format alone
            made.pop(key, None)
        if made.get("minItems", 0) > made.get("maxItems", MOST):
            del made["minItems"], made["maxItems"]
        if made.get("type") == "array" and not made.keys() & {"items", "prefixItems"}:
            made["items"] = True
            if made.get("maxItems") == 0:
                made["const"] = []
                for key in ("type", "items", *_ITEMS):
                    made.pop(key, None)
        if made.get("type") == "object" and "properties" not in made:
            made.setdefault("additionalProperties", True)

    def keys(self, made: Schema) -> list[str]:
        """Make keys of any name of those that follow a pattern; return what they follow."""
        rules: list[str] = []
        if patterns := made.pop("patternProperties", None):
            values = [*patterns.values()]
            if made.get("additionalProperties", False) is not False:
                values.append(made["additionalProperties"])
            made["additionalProperties"] = values[0] if len(values) == 1 else {"anyOf": values}
            rules.append(f"Each key matches {' or '.join(f'`{each}`' for each in patterns)}.")
        names = made.pop("propertyNames", None)
        if isinstance(names, Mapping):
            said = [*self.target(names).get(RULES, ()), *phrases(self.target(names))]
            if choices := self.target(names).get("enum"):
                said = [f"One of: {', '.join(map(str, choices))}."]
            rules += [f"Each key: {each[0].lower()}{each[1:]}" for each in said]
        return rules

    def name_keys(self, made: Schema) -> None:
        """Write the keys that there may be as texts, whatever they are read into."""
        names = made.get("propertyNames")
        values = self.target(names).get("enum") if isinstance(names, Mapping) else None
        if values and not all(isinstance(value, str) for value in values):
            made["propertyNames"] = {
                "enum": [v if isinstance(v, str) else json.dumps(v) for v in values]
            }

    def target(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.defs.get(str(node.get("$ref", "")).rpartition("/")[2], node)
        return found

    def anything(self, made: Mapping[str, Any]) -> Schema:
        """Any JSON value."""
        self.any_used = True
        kept: Schema = {key: made[key] for key in _NOTES if key in made}
        return {"$ref": f"#/$defs/{self.any_name}", **kept}


_DURATION = "Format: duration, as PT1H30M in ISO 8601."


def _is_large(value: Any) -> bool:
    return isinstance(value, int) and value > MOST


def _is_range(made: Schema) -> bool:
    """Whether the bounds of an integer are ones that decoders can read, and a number fits."""
    bounds = [made[key] for key in _BOUNDS if key in made]
    if any(abs(bound) > _LARGEST or bound != int(bound) for bound in bounds):
        return False
    lowest = max(made.get("minimum", -_LARGEST), made.get("exclusiveMinimum", -_LARGEST - 1) + 1)
    highest = min(made.get("maximum", _LARGEST), made.get("exclusiveMaximum", _LARGEST + 1) - 1)
    return bool(lowest <= highest)


def _any_values(name: str) -> Schema:
    """Definitions of any JSON value, with lists and objects to a depth."""
    kinds = [{"type": kind} for kind in ("string", "number", "boolean", "null")]
    made: Schema = {}
    for depth in range(_DEPTH):
        inner = {"$ref": f"#/$defs/{name}{depth + 1}"}
        holders = [
            {"type": "array", "items": inner},
            {"type": "object", "additionalProperties": inner},
        ]
        made[name + (str(depth) if depth else "")] = {"anyOf": [*kinds, *holders]}
    return {**made, f"{name}{_DEPTH}": {"anyOf": kinds}}

"""Rules of a schema in words, for decoders that do not enforce them.

A decoder builds a grammar from a schema and skips what a grammar cannot say, mostly in silence.
What each of them skips is its dialect, part of a backend's capabilities.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import to_jsonable_python

from chainette.engine.structured.strict import phrases, sentences

Schema = dict[str, Any]

_RULES = "x-chainette-rules"
"""The keyword of rules that JSON Schema cannot say, until they are in the description."""
_DATES = {"ge": "Not before", "gt": "After", "le": "Not after", "lt": "Before"}
_SPANS = {"ge": "At least", "gt": "More than", "le": "At most", "lt": "Less than"}
_ANNOTATIONS = ("default", "examples", "contentMediaType", "contentSchema")
_BRANCHES = ("anyOf", "oneOf", "allOf")
_NAMED = ("properties", "patternProperties", "$defs")
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_GRAMMARS: Mapping[str, Mapping[str, Collection[str]]] = {
    # llama.cpp, grammars/README.md, "JSON Schemas to GBNF": numbers have no bounds but integers,
    # patterns only without escapes that grammars lack; the rest is skipped silently. Ollama has
    # llama.cpp's converter.
    "llama_cpp": {
        "integer": _BOUNDS,
        "string": ("minLength", "maxLength"),
        "array": ("minItems", "maxItems"),
    },
}
"""The keywords that a dialect enforces, by type."""
_FORMATS = {"llama_cpp": ("date", "time", "date-time", "uuid")}
_DURATION = "Format: duration, as PT1H30M in ISO 8601."


class ModelSchema(GenerateJsonSchema):
    """The JSON schema of a type, with rules that JSON Schema does not have a keyword for."""

    def date_schema(self, schema: Any) -> JsonSchemaValue:
        """A date, with its bounds."""
        return _ruled(super().date_schema(schema), schema, _DATES)

    def datetime_schema(self, schema: Any) -> JsonSchemaValue:
        """A date and a time, with their bounds."""
        return _ruled(super().datetime_schema(schema), schema, _DATES)

    def time_schema(self, schema: Any) -> JsonSchemaValue:
        """A time, with its bounds."""
        return _ruled(super().time_schema(schema), schema, _DATES)

    def timedelta_schema(self, schema: Any) -> JsonSchemaValue:
        """A duration, with its bounds."""
        return _ruled(super().timedelta_schema(schema), schema, _SPANS)

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        """A decimal number, with the number of its digits."""
        return _ruled(super().decimal_schema(schema), schema, {})


def in_words(schema: Mapping[str, Any], dialect: str) -> Schema:
    """Put the rules that a decoder does not enforce into the descriptions of their fields.

    Args:
        schema: A schema of `ModelSchema`; it is not changed.
        dialect: `plain` for a decoder of which nothing is known, or `llama_cpp`.
    """
    described: Schema = _described(*_walk(schema, dialect))
    return described


def _ruled(made: JsonSchemaValue, core: Mapping[str, Any], words: Mapping[str, str]) -> Schema:
    """A schema with the rules of the core schema that it lacks."""
    rules = [
        f"{text} {to_jsonable_python(core[name])}." for name, text in words.items() if name in core
    ]
    if "max_digits" in core:
        rules.append(f"At most {core['max_digits']} digits.")
    if "decimal_places" in core:
        rules.append(f"At most {core['decimal_places']} decimal places.")
    if "now_op" in core:
        rules.append(f"In the {core['now_op']}.")
    if core.get("tz_constraint") in ("aware", "naive"):
        rules.append("With a time zone." if core["tz_constraint"] == "aware" else "No time zone.")
    result: Schema = {**made, _RULES: rules} if rules else made
    return result


def _walk(node: Any, dialect: str) -> tuple[Any, list[str]]:
    """A schema whose parts are described, and the rules of its own."""
    if not isinstance(node, Mapping):
        return node, []
    made: Schema = {key: value for key, value in node.items() if key != _RULES}
    rules: list[str] = [*node.get(_RULES, ()), *_unenforced(node, dialect)]
    for key, value in made.items():
        if key in _BRANCHES:
            parts = [_walk(branch, dialect) for branch in value]
            made[key] = [branch for branch, _ in parts]
            rules += [rule for _, own in parts for rule in own]
        elif key in _NAMED:
            made[key] = {name: _described(*_walk(it, dialect)) for name, it in value.items()}
        elif key == "prefixItems":
            made[key] = [_described(*_walk(it, dialect)) for it in value]
        elif key in ("items", "additionalProperties"):
            made[key] = _described(*_walk(value, dialect))
    return made, rules


def _described(schema: Any, rules: Iterable[str]) -> Any:
    said = [rule for rule in dict.fromkeys(rules) if rule not in schema.get("description", "")]
    if not said:
        return schema
    return {**schema, "description": sentences(schema.get("description", ""), *said)}


def _unenforced(node: Mapping[str, Any], dialect: str) -> list[str]:
    """The rules of a schema's own keywords that a dialect does not enforce."""
    grammar = _GRAMMARS.get(dialect)
    if grammar is None:
        return []
    enforced = {*_ANNOTATIONS, *_BRANCHES, *grammar.get(str(node.get("type")), ())}
    if node.get("format") in _FORMATS[dialect]:
        enforced.add("format")
    elif node.get("format") == "duration":
        return [_DURATION, *phrases(node, {*enforced, "format"})]
    return phrases(node, enforced)

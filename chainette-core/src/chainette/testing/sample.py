"""Small values that are valid for a JSON schema."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chainette.engine.structured.dialects.pattern import example

FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.org",
    "uuid": "12345678-1234-4234-9234-123456789abc",
    "uri": "https://example.org/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "binary": "text",
    "json-string": "{}",
}
"""A value of each format in Pydantic's schemas."""
_MAX_DEPTH = 40


def sample(schema: Mapping[str, Any]) -> Any:
    """Make a value that is valid for a JSON schema, the same one each time.

    Args:
        schema: A schema made by Pydantic.

    Raises:
        ValueError: Every value is infinitely deep, or a pattern has no text that is known.
    """
    return _sample(schema, schema.get("$defs", {}), 0)


def _sample(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError("every value of this schema is infinitely deep")
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    match schema:
        case {"enum": [first, *_]}:
            return first
        case {"$ref": reference}:
            return _sample(defs[reference.rpartition("/")[2]], defs, depth + 1)
        case {"anyOf": options} | {"oneOf": options}:
            return _first(options, defs, depth)
    return _typed(schema, defs, depth)


def _typed(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> Any:
    match schema.get("type"):
        case "object":
            return _object(schema, defs, depth)
        case "array":
            return _array(schema, defs, depth)
        case "integer" | "number" as kind:
            return _number(schema, kind)
        case "string":
            return _text(schema)
        case "boolean":
            return True
    return None


def _first(options: list[Any], defs: Mapping[str, Any], depth: int) -> Any:
    """The value of the first option that has one; a recursive option may have none."""
    failure = ValueError("no option has a value")
    for option in options:
        try:
            return _sample(option, defs, depth + 1)
        except ValueError as error:
            failure = error
    raise failure


def _object(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """An object with the required properties; for a mapping, with enough entries."""
    properties = schema.get("properties", {})
    value: dict[str, Any] = {
        key: _sample(properties.get(key, {}), defs, depth + 1) for key in schema.get("required", [])
    }
    for number in range(len(value), schema.get("minProperties", 0)):
        entry = schema.get("additionalProperties")
        value[f"key {number}"] = _sample(entry if isinstance(entry, dict) else {}, defs, depth + 1)
    return value


def _array(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int) -> list[Any]:
    members = [_sample(item, defs, depth + 1) for item in schema.get("prefixItems", [])]
    items = schema.get("items")
    while len(members) < schema.get("minItems", 0):
        value = _sample(items if isinstance(items, dict) else {}, defs, depth + 1)
        if schema.get("uniqueItems") and isinstance(value, int | str) and value in members:
            value = value + len(members) if isinstance(value, int) else f"{value}{len(members)}"
        members.append(value)
    return members


def _number(schema: Mapping[str, Any], kind: str) -> int | float:
    """A number between the bounds and a multiple of `multipleOf`, where the schema has them."""
    low: float | None = schema.get("minimum", schema.get("exclusiveMinimum"))
    high: float | None = schema.get("maximum", schema.get("exclusiveMaximum"))
    step: float = schema.get("multipleOf", 1 if kind == "integer" else 0)
    if not step:
        if low is not None and high is not None:
            return (low + high) / 2
        return low + 0.5 if low is not None else high - 0.5 if high is not None else 0.5
    start = low if low is not None else min(0, high - step) if high is not None else 0
    value = math.ceil(start / step) * step
    if low is None and high is not None and value >= high:
        value -= step
    return value + step if value == schema.get("exclusiveMinimum") else value


def _text(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        made = example(schema["pattern"])
        if made is None:
            raise ValueError(f"no text can be made up for the pattern {schema['pattern']!r}")
        return made
    text = FORMATS.get(schema.get("format", ""), "text")
    text = text.ljust(schema.get("minLength", 0), "x")
    return text[: schema["maxLength"]] if "maxLength" in schema else text

"""Types whose values survive the way to JSON and back through their own validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

_BOUNDS = frozenset({"le", "lt", "ge", "gt"})
_LENGTHS = frozenset({"min_length", "max_length", "fail_fast"})
_FIELD = frozenset({"schema", "validation_alias", "serialization_alias", "frozen"})
_KEYS: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    "bool": frozenset(),
    "int": _BOUNDS | {"multiple_of"},
    "float": _BOUNDS | {"multiple_of", "allow_inf_nan"},
    "decimal": _BOUNDS | {"multiple_of", "max_digits", "decimal_places"},
    "str": frozenset({"min_length", "max_length", "pattern"}),
    "date": _BOUNDS,
    "datetime": _BOUNDS | {"microseconds_precision"},
    "uuid": frozenset({"version"}),
    "literal": frozenset({"expected"}),
    "enum": frozenset({"cls", "members", "sub_type"}),
    "list": _LENGTHS | {"items_schema"},
    "tuple": _LENGTHS | {"items_schema", "variadic_item_index"},
    "dict": _LENGTHS | {"keys_schema", "values_schema"},
    "nullable": frozenset({"schema"}),
    "default": frozenset({"schema", "default", "default_factory", "default_factory_takes_data"}),
    "model": frozenset({"cls", "config", "custom_init", "root_model", "schema", "frozen"}),
    "model-fields": frozenset({"computed_fields", "extra_behavior", "fields", "model_name"}),
    "model-field": _FIELD,
    "dataclass": frozenset(
        {"cls", "cls_name", "config", "fields", "frozen", "post_init", "schema", "slots"}
    ),
    "dataclass-args": frozenset(
        {"collect_init_only", "computed_fields", "dataclass_name", "fields"}
    ),
    "dataclass-field": _FIELD | {"init", "kw_only", "name"},
    "typed-dict": frozenset(
        {"cls", "cls_name", "computed_fields", "config", "extra_behavior", "fields", "total"}
    ),
    "typed-dict-field": _FIELD | {"required"},
    "definitions": frozenset({"definitions", "schema"}),
    "definition-ref": frozenset({"schema_ref"}),
}
"""The keys that keep a type plain, by the type of a core schema (`pydantic_core.core_schema`)."""
_ANY_KEYS = frozenset({"type", "metadata", "ref"})
_VALUES: Mapping[str, tuple[Any, ...]] = {
    "computed_fields": ([], None),
    "custom_init": (False, None),
    "post_init": (False, None),
    "init": (True, None),
    "extra_behavior": ("ignore", "forbid", None),
    "default_factory": (list, dict, None),
    "default_factory_takes_data": (False, None),
}
_CONFIG = frozenset({"title", "frozen", "extra_fields_behavior", "validate_by_name"})
_KINDS = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}


def is_plain(adapter: TypeAdapter[Any]) -> bool:
    """Whether each value of a type that was validated is valid as JSON, and then the same.

    It looks for what is certain, such as models of texts, numbers, lists and optional fields.
    Validators, serializers, unions, and excluded and computed fields are not, whatever they do.

    Args:
        adapter: Pydantic's adapter of the type.
    """
    return _is_plain(adapter.core_schema)


def _is_plain(schema: Mapping[str, Any]) -> bool:
    allowed = _KEYS.get(schema["type"])
    return (
        allowed is not None
        and schema.keys() <= allowed | _ANY_KEYS
        and all(schema.get(key) in values for key, values in _VALUES.items())
        and schema.get("config", {}).keys() <= _CONFIG
        and _has_plain_values(schema)
        and all(map(_is_plain, _inner(schema)))
    )


def _inner(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schemas inside a schema; a reference to a definition is checked where that is."""
    for key in ("schema", "items_schema", "keys_schema", "values_schema"):
        inner = schema.get(key, ())
        yield from (inner,) if isinstance(inner, Mapping) else inner
    fields = schema.get("fields", ())
    if schema["type"] != "dataclass":  # it has the names alone
        yield from fields.values() if isinstance(fields, Mapping) else fields
    yield from schema.get("definitions", ())


def _has_plain_values(schema: Mapping[str, Any]) -> bool:
    """Whether the values that a schema names come back as they are."""
    kind = schema["type"]
    if kind == "literal":
        return all(type(value) in (str, int, type(None)) for value in schema["expected"])
    if kind == "enum":
        return all(type(member.value) in (str, int) for member in schema["members"])
    if kind == "dict":
        return bool(schema.get("keys_schema", {}).get("type") == "str")
    return kind != "default" or _has_plain_default(schema)


def _has_plain_default(schema: Mapping[str, Any]) -> bool:
    """Whether a default, which is not validated, has the type of its field."""
    inner = schema["schema"]
    is_optional: bool = inner["type"] == "nullable"
    inner = inner["schema"] if is_optional else inner
    if "default_factory" in schema:
        return _is_of(schema["default_factory"], inner)
    default = schema["default"]
    if default is None:
        return is_optional
    if inner["type"] in ("enum", "literal"):
        values: list[Any] = inner.get("members", inner.get("expected"))
        return any(default is value for value in values)
    return _is_of(type(default), inner)


def _is_of(kind: Any, schema: Mapping[str, Any]) -> bool:
    expected: str = schema["type"]
    return _KINDS.get(kind) == expected

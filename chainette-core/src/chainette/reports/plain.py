"""Types whose values survive the way to JSON and back through their own validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

from pydantic import TypeAdapter

Check: TypeAlias = Callable[[Any], bool]

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
_LIMITS = frozenset(
    {"multiple_of", "allow_inf_nan", "max_digits", "decimal_places", "pattern", "version"}
) | (_BOUNDS | _LENGTHS)
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


def plain_check(adapter: TypeAdapter[Any]) -> Check | None:
    """The check of values that were not validated, or `None` where the type is not plain.

    A type is plain if each value of it that was validated is valid as JSON, and then the same. That
    is certain of texts, numbers, optional fields, and lists and models of them. It is not of
    validators, serializers, unions, and excluded and computed fields, whatever they do.

    The check says whether a value is certainly one that a validation could have given. Where fields
    have bounds, it does not know.

    Args:
        adapter: Pydantic's adapter of the type.
    """
    try:
        return _Checks().check(adapter.core_schema)
    except _NotPlainError:
        return None


class _NotPlainError(Exception):
    """A type has a part that is not plain."""


class _Checks:
    """The checks of a schema and of what is inside it."""

    def __init__(self) -> None:
        self._by_ref: dict[str, Check] = {}

    def check(self, schema: Mapping[str, Any]) -> Check:
        kind = schema["type"]
        if not _is_allowed(schema):
            raise _NotPlainError
        if kind in _SCALARS:
            check = _SCALARS[kind]
        else:
            check = getattr(self, f"_{kind.replace('-', '_')}")(schema)
        if schema.keys() & _LIMITS:
            check = _unsure
        if "ref" in schema:
            self._by_ref[schema["ref"]] = check
        return check

    def _literal(self, schema: Mapping[str, Any]) -> Check:
        expected = {(type(value), value) for value in schema["expected"]}
        return lambda value: type(value) in (str, int) and (type(value), value) in expected

    def _enum(self, schema: Mapping[str, Any]) -> Check:
        cls = schema["cls"]
        return lambda value: type(value) is cls

    def _list(self, schema: Mapping[str, Any]) -> Check:
        item = self.check(schema["items_schema"])
        return lambda value: type(value) is list and all(map(item, value))

    def _tuple(self, schema: Mapping[str, Any]) -> Check:
        items = [self.check(item) for item in schema["items_schema"]]
        if "variadic_item_index" in schema:
            return _unsure
        return lambda value: (
            type(value) is tuple
            and len(value) == len(items)
            and all(item(part) for item, part in zip(items, value, strict=True))
        )

    def _dict(self, schema: Mapping[str, Any]) -> Check:
        key, item = self.check(schema["keys_schema"]), self.check(schema["values_schema"])
        return lambda value: (
            type(value) is dict and all(map(key, value)) and all(map(item, value.values()))
        )

    def _nullable(self, schema: Mapping[str, Any]) -> Check:
        inner = self.check(schema["schema"])
        return lambda value: value is None or inner(value)

    def _default(self, schema: Mapping[str, Any]) -> Check:
        return self.check(schema["schema"])

    def _model(self, schema: Mapping[str, Any]) -> Check:
        cls, inner = schema["cls"], self.check(schema["schema"])
        if schema["root_model"]:
            return lambda value: type(value) is cls and inner(value.root)
        return lambda value: (
            type(value) is cls and not value.__pydantic_private__ and inner(value.__dict__)
        )

    def _model_fields(self, schema: Mapping[str, Any]) -> Check:
        fields = {name: self.check(field) for name, field in schema["fields"].items()}
        return lambda stored: (
            stored.keys() == fields.keys()
            and all(check(stored[name]) for name, check in fields.items())
        )

    def _field(self, schema: Mapping[str, Any]) -> Check:
        return self.check(schema["schema"])

    _model_field = _dataclass_field = _typed_dict_field = _field

    def _dataclass(self, schema: Mapping[str, Any]) -> Check:
        cls, inner = schema["cls"], self.check(schema["schema"])
        return lambda value: type(value) is cls and inner(getattr(value, "__dict__", {}))

    def _dataclass_args(self, schema: Mapping[str, Any]) -> Check:
        return self._model_fields({"fields": {it["name"]: it for it in schema["fields"]}})

    def _typed_dict(self, schema: Mapping[str, Any]) -> Check:
        fields = {name: self.check(field) for name, field in schema["fields"].items()}
        total = schema.get("total", True)
        required = {name for name, it in schema["fields"].items() if it.get("required", total)}
        return lambda value: (
            type(value) is dict
            and required <= value.keys() <= fields.keys()
            and all(fields[name](item) for name, item in value.items())
        )

    def _definitions(self, schema: Mapping[str, Any]) -> Check:
        for definition in schema["definitions"]:
            self.check(definition)
        return self.check(schema["schema"])

    def _definition_ref(self, schema: Mapping[str, Any]) -> Check:
        name, checks = schema["schema_ref"], self._by_ref
        return lambda value: checks[name](value)


def _unsure(value: Any) -> bool:
    """The check of a part with bounds, which a value can break."""
    return False


def _is_text(value: Any) -> bool:
    if type(value) is not str:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:  # half a surrogate pair
        return False


_SCALARS: Mapping[str, Check] = {
    "none": lambda value: value is None,
    "bool": lambda value: type(value) is bool,
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) is float,
    "decimal": lambda value: type(value) is Decimal and value.is_finite(),
    "str": _is_text,
    "date": lambda value: type(value) is date,
    "datetime": lambda value: type(value) is datetime and value.tzinfo is None,
    "uuid": lambda value: type(value) is UUID,
}


def _is_allowed(schema: Mapping[str, Any]) -> bool:
    """Whether a schema, beside those inside it, keeps a type plain."""
    allowed = _KEYS.get(schema["type"])
    return (
        allowed is not None
        and schema.keys() <= allowed | _ANY_KEYS
        and all(schema.get(key) in values for key, values in _VALUES.items())
        and schema.get("config", {}).keys() <= _CONFIG
        and schema.get("config", {}).get("extra_fields_behavior") in _VALUES["extra_behavior"]
        and _has_plain_values(schema)
    )


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

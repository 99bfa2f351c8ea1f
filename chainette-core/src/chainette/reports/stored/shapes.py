"""The types of a chain as data, so that values can be made of their JSON without the classes.

Only types whose values are certain have a shape: those that their own code neither validates nor
serializes. A shape is the name of a type (`"str"`), or an object with one key that says what it is
(`{"list": "str"}`); `None` stands for all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeAlias

from pydantic import BaseModel

from chainette.pipeline.pipeline import Pipeline
from chainette.reports.stored.schemas import CHAIN_INPUT
from chainette.validation import type_adapter

Shape: TypeAlias = Any
_PLAIN = ("str", "int", "float", "bool", "none", "date", "datetime", "decimal", "any")
_BOUNDS = frozenset(
    {"type", "metadata", "ref", "strict", "min_length", "max_length", "pattern", "regex_engine"}
    | {"ge", "gt", "le", "lt", "multiple_of", "allow_inf_nan", "max_digits", "decimal_places"}
    | {"microseconds_precision"}
)
"""Keys of a core schema that only refuse values, and change none."""
_CHANGES = frozenset({"strip_whitespace", "to_lower", "to_upper"})
"""Keys that change a value when it is validated; an answer that was validated has changed."""
_CONFIG = frozenset({"title", "frozen", "extra_fields_behavior", "strict"})
_FIELD = frozenset({"type", "schema", "metadata", "validation_alias", "serialization_alias"})
_OWN_CODE = frozenset(
    {"model_dump_json", "__getattribute__", "__getattr__", "__iter__", "__eq__", "__bool__"}
    | {"__len__", "__contains__", "__getitem__"}
)
_DEPTH = 8


def shapes(pipeline: Pipeline) -> dict[str, Shape]:
    """The shapes of the rows and of each node's outputs, as `graph.json` has them."""
    found = {id: _shape(node.recorded_model) for id, node in pipeline.nodes.items()}
    return {CHAIN_INPUT: _shape(pipeline.input_model, is_input=True), **found}


def _shape(model: Any, *, is_input: bool = False) -> Shape:
    try:
        return _Shapes(is_input=is_input).of(type_adapter(model).core_schema)
    except Exception:  # of the type's own code, or it has no schema
        return None


class _Shapes:
    """The shapes of core schemas, which say what Pydantic does with a type.

    See https://docs.pydantic.dev/latest/api/pydantic_core_schema/.

    Args:
        is_input: Whether the values are validated after they were written down, not before.
    """

    def __init__(self, *, is_input: bool) -> None:
        self._is_input = is_input
        self._known: dict[str, Any] = {}

    def of(self, schema: Any, depth: int = 0) -> Shape:
        """The shape of what a core schema describes."""
        kind = schema["type"]
        if depth > _DEPTH or "serialization" in schema:
            return None
        if kind in _PLAIN:
            return self._plain(schema)
        read = getattr(self, f"_{kind.replace('-', '_')}", None)
        return None if read is None else read(schema, depth + 1)

    def _plain(self, schema: Any) -> Shape:
        allowed = _BOUNDS if self._is_input else _BOUNDS | _CHANGES
        if not schema.keys() <= allowed or (self._is_input and schema["type"] == "any"):
            return None
        return schema["type"]

    def _definitions(self, schema: Any, depth: int) -> Shape:
        self._known |= {it["ref"]: it for it in schema["definitions"]}
        return self.of(schema["schema"], depth)

    def _definition_ref(self, schema: Any, depth: int) -> Shape:
        return self.of(self._known[schema["schema_ref"]], depth)

    def _nullable(self, schema: Any, depth: int) -> Shape:
        return {"union": ["none", self.of(schema["schema"], depth)]}

    def _default(self, schema: Any, depth: int) -> Shape:
        return self.of(schema["schema"], depth)

    def _list(self, schema: Any, depth: int) -> Shape:
        inner = self.of(schema.get("items_schema", {"type": "any"}), depth)
        return None if inner is None else {"list": inner}

    def _dict(self, schema: Any, depth: int) -> Shape:
        key = self.of(schema.get("keys_schema", {"type": "any"}), depth)
        inner = self.of(schema.get("values_schema", {"type": "any"}), depth)
        return {"dict": inner} if key == "str" and inner is not None else None

    def _union(self, schema: Any, depth: int) -> Shape:
        choices = [it[0] if isinstance(it, tuple) else it for it in schema["choices"]]
        found = [self.of(it, depth) for it in choices]
        return None if None in found else {"union": found}

    def _literal(self, schema: Any, depth: int) -> Shape:
        values = schema["expected"]
        are_plain = all(type(it) in (str, int, bool, type(None)) for it in values)
        return {"literal": [*values]} if are_plain else None

    def _enum(self, schema: Any, depth: int) -> Shape:
        cls, members = schema["cls"], schema["members"]
        kinds = {type(it.value) for it in members}
        is_usual = cls.__str__ in (Enum.__str__, str.__str__) and cls.__format__ in (
            *(Enum.__format__, str.__format__),
        )
        has_texts = kinds == {str} and cls.__mro__[1] in (Enum, str)
        if not (is_usual and has_texts) or "missing" in schema:
            return None
        mixin = issubclass(cls, str)
        return {"enum": [cls.__name__, mixin, {it.name: it.value for it in members}]}

    def _model(self, schema: Any, depth: int) -> Shape:
        cls, config = schema["cls"], schema.get("config", {})
        inner = schema["schema"]
        is_usual = (
            config.keys() <= _CONFIG
            and config.get("extra_fields_behavior") != "allow"
            and inner["type"] == "model-fields"
            and not (schema.get("root_model") or schema.get("custom_init"))
            and not (self._is_input and schema.get("post_init"))
            and not inner.get("computed_fields")
            and not _has_own_code(cls)
        )
        if not is_usual:
            return None
        fields = {name: self._field(it, depth) for name, it in inner["fields"].items()}
        aliases = {
            name: it["validation_alias"]
            for name, it in inner["fields"].items()
            if isinstance(it.get("validation_alias"), str)
        }
        return {"model": [cls.__name__, fields, aliases]}

    def _field(self, field: Mapping[str, Any], depth: int) -> Shape:
        alias = field.get("validation_alias")
        if not field.keys() <= _FIELD or not isinstance(alias, str | type(None)):
            return None
        return self.of(field["schema"], depth)


def _has_own_code(cls: type) -> bool:
    """Whether a model writes itself, or gives its fields, in a way of its own."""
    own = cls.__mro__[: cls.__mro__.index(BaseModel)]
    return any(not _OWN_CODE.isdisjoint(vars(it)) for it in own)

"""The kinds of columns that a JSON schema tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chainette.reports.frames.kinds import READ, Category, Json, Kind, Many, Plain, Struct, Unknown

_PLAIN: Mapping[str, type] = {"integer": int, "number": float, "boolean": bool}
_DEFINITION = "#/$defs/"


def kind_of(schema: Mapping[str, Any] | None) -> Kind | None:
    """The kind of the values of a schema; `None` where only the values tell it.

    Args:
        schema: A JSON schema, whose definitions are under `$defs`.
    """
    return _Reader(schema.get("$defs", {})).kind(schema) if schema else None


def kind_in_step(schema: Mapping[str, Any] | None, name: str) -> Kind | None:
    """The kind of a column of a node's own table.

    Args:
        schema: The JSON schema of the node's outputs.
        name: The column, such as `output.label`.
    """
    head, _, field = name.partition(".")
    kind = kind_of(schema) if head == "output" else None
    if isinstance(kind, Struct):
        return kind.column(field) if field else None
    return None if field else kind


class _Reader:
    """Reads the parts of one schema.

    Args:
        definitions: Its definitions by name.
    """

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions = definitions
        self._open: list[str] = []

    def kind(self, schema: Any) -> Kind | None:
        if not isinstance(schema, Mapping):
            return None
        if "$ref" in schema:
            return self._definition(str(schema["$ref"]))
        if len(schema.get("allOf", ())) == 1:
            return self.kind(schema["allOf"][0])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._one_of(schema[key])
        if "enum" in schema or "const" in schema:
            return _values(schema.get("enum", [schema.get("const")]))
        return self._typed(schema)

    def _definition(self, name: str) -> Kind | None:
        name = name.removeprefix(_DEFINITION)
        if name in self._open or name not in self._definitions:  # it holds itself
            return Json()
        self._open.append(name)
        found = self.kind(self._definitions[name])
        self._open.pop()
        return found

    def _one_of(self, schemas: Sequence[Any]) -> Kind | None:
        """The kind that all members of a union have, but for `null`."""
        some = [it for it in schemas if it != {"type": "null"}]
        if len(some) == 1:
            return self.kind(some[0])
        if some and all(isinstance(it, Mapping) for it in some):
            types = {it.get("type") for it in some}
            if types == {"integer", "number"}:
                return Plain(float)
        kinds = [self.kind(it) for it in some]
        joined = kinds[0] if kinds else None
        for kind in kinds[1:]:
            joined = joined.joined(kind) if joined is not None and kind is not None else None
        return joined

    def _typed(self, schema: Mapping[str, Any]) -> Kind | None:
        kind: Any = schema.get("type")
        if isinstance(kind, list):
            return self._one_of([{**schema, "type": it} for it in kind])
        if kind == "string":
            return READ.get(schema.get("format", ""), lambda: Plain(str))()
        if kind in _PLAIN:
            return Plain(_PLAIN[kind])
        if kind == "array" and "prefixItems" not in schema:
            return Many(self.kind(schema.get("items")) or Json())
        if kind == "object":
            return self._object(schema)
        return Json() if kind == "array" else None

    def _object(self, schema: Mapping[str, Any]) -> Kind:
        fields = schema.get("properties", {})
        if not fields or schema.get("additionalProperties"):
            return Json()
        return Struct({name: self.kind(it) or Unknown() for name, it in fields.items()})


def _values(values: Sequence[Any]) -> Kind | None:
    """The kind of values of which there are few."""
    types = {type(it) for it in values if it is not None}
    if types == {str}:
        return Category(it for it in values if it is not None)
    return Plain(types.pop()) if len(types) == 1 and types <= {int, float, bool} else None

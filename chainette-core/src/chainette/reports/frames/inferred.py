"""The kinds of columns that only their values tell, and columns from lines."""

from __future__ import annotations

from typing import Any

from chainette.reports.frames.kinds import Json, Kind, Many, Plain

_KINDS = {bool: "bool", int: "int64", float: "float64", str: "string"}
_PLAIN: dict[str, type] = {"bool": bool, "int64": int, "long": int, "float64": float, "": str}


class Inferred:
    """The kind of a column, found out from all of its values.

    Columns with one kind of value, or with lists of one kind, keep it; others are JSON texts.
    """

    def __init__(self) -> None:
        self._name = ""

    def look(self, value: Any) -> None:
        """Take note of a value."""
        if self._name != "json":
            self._name = _both(self._name, _name(value))

    def kind(self) -> Kind:
        """The kind of all values."""
        return _kind(self._name)


def _kind(name: str) -> Kind:
    if name.startswith("list "):
        return Many(_kind(name.removeprefix("list ")))
    if name == "string":
        return Plain(str)
    return Plain(_PLAIN[name]) if name in _PLAIN else Json()


def _name(value: Any) -> str:
    """`int64`, …, `list int64`, …, `json` for anything else; empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, list):
        kind = ""
        for item in value:
            kind = _both(kind, _name(item) if not isinstance(item, list) else "json")
        return "json" if kind == "json" else f"list {kind}"
    if type(value) is int and abs(value) > 2**53:  # more than a float can hold exactly
        return "long" if -(2**63) <= value < 2**63 else "json"
    return _KINDS.get(type(value), "json")


def _both(first: str, second: str) -> str:
    if not first or not second or first == second:
        return first or second
    if first.startswith("list ") and second.startswith("list "):
        kind = _both(first.removeprefix("list "), second.removeprefix("list "))
        return "json" if kind == "json" else f"list {kind}"
    widened = {frozenset(("int64", "float64")): "float64", frozenset(("int64", "long")): "long"}
    return widened.get(frozenset((first, second)), "json")

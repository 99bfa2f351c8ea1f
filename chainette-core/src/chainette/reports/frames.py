"""The flattened table as Arrow data; needs the extra `chainette[parquet]`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from chainette.errors import ConfigError

ROWS = 10_000
"""Maximum rows of a row group, and of those in memory; objects in lists count as well."""
_KINDS = {bool: "bool", int: "int64", float: "float64", str: "string"}
Lines = Callable[[], Iterator[dict[str, Any]]]


def require_pyarrow() -> None:
    """Check that the extra is installed.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ConfigError('Parquet files need an extra: pip install "chainette[parquet]"') from None


def chunks(lines: Lines) -> Iterator[Any]:
    """The lines as one or more Arrow tables of the same schema.

    Columns with one kind of value, or with lists of one kind, keep it; others become JSON texts.

    Args:
        lines: Reads the lines; called twice, since their columns must be known first.
    """
    import pyarrow as pa

    kinds = _columns(lines())
    schema = pa.schema([(name, _arrow_type(kind)) for name, kind in kinds.items()])
    source = lines()
    yield schema.empty_table()
    while chunk := list(_first(source)):
        rows = [
            {name: _cell(line.get(name), kind) for name, kind in kinds.items()} for line in chunk
        ]
        yield pa.Table.from_pylist(rows, schema=schema)


def _first(lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The next `ROWS` lines, or fewer where they hold lists of objects."""
    left = ROWS
    while left > 0 and (line := next(lines, None)) is not None:
        left -= 1 + sum(map(_objects, line.values()))
        yield line


def _objects(value: Any) -> int:
    """The number of objects in a list of them."""
    return len(value) if isinstance(value, list) and value and isinstance(value[0], dict) else 0


def _columns(lines: Iterator[dict[str, Any]]) -> dict[str, str]:
    """The kind of every column, in the order of their first appearance."""
    kinds: dict[str, str] = {}
    for line in lines:
        for name, value in line.items():
            kinds[name] = _both(kinds.get(name, ""), _kind(value))
    return kinds


def _kind(value: Any) -> str:
    """`int64`, …, `list int64`, …, `json` for anything else; empty for nothing."""
    if value is None:
        return ""
    if isinstance(value, list):
        kind = ""
        for item in value:
            kind = _both(kind, _kind(item) if not isinstance(item, list) else "json")
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


def _arrow_type(kind: str) -> Any:
    import pyarrow as pa

    if kind.startswith("list "):
        return pa.list_(_arrow_type(kind.removeprefix("list ")))
    types = {"bool": pa.bool_(), "int64": pa.int64(), "long": pa.int64(), "float64": pa.float64()}
    return types.get(kind, pa.string())


def _cell(value: Any, kind: str) -> Any:
    if kind == "json" and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return value

"""Tables as a database of SQLite, which Datasette and others open."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainette.errors import ExportError
from chainette.reports.export.tables import Shape, Table, kind_of, shape_of

if TYPE_CHECKING:
    from sqlite3 import Connection

COLUMNS = 2000
"""Columns of a table at most (SQLite, "Limits In SQLite", SQLITE_MAX_COLUMN)."""
ROWS = "rows"
ROW_ID = "row_id"
_KEY = "PRIMARY KEY"
_TYPES = {
    frozenset(("int",)): "INTEGER",
    frozenset(("bool",)): "INTEGER",
    frozenset(("float",)): "REAL",
    frozenset(("text",)): "TEXT",
    frozenset(("json",)): "TEXT",
    frozenset(("text", "json")): "TEXT",
}
"""Types of columns. One of several kinds has none, since SQLite converts values to a type
(SQLite, "Datatypes In SQLite", 3)."""


def write_sqlite(tables: Sequence[Table], path: Path, *, is_whole: bool = True) -> list[str]:
    """Write tables into a database, with what is in none of them left out.

    Args:
        tables: The tables, of which the first has a line for each row, or for each of its items.
        path: The file.
        is_whole: Whether the first table has every row of the others.

    Returns:
        What its reader should know.

    Raises:
        ExportError: A table does not fit.
    """
    import sqlite3

    shapes = [shape_of(table) for table in tables]
    has_row_ids = any(ROW_ID in shape.kinds for shape in shapes)
    has_rows = has_row_ids and ("item" in shapes[0].kinds or not is_whole)
    names = _names([table.name for table in tables], [ROWS] if has_rows else [])
    parent = _reference(ROWS if has_rows else names[0])
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        if has_rows:
            database.execute(f"CREATE TABLE {_quoted(ROWS)} ({ROW_ID} INTEGER PRIMARY KEY)")
        for index, (table, shape) in enumerate(zip(tables, shapes, strict=True)):
            if index and not shape.rows:
                continue
            _create(database, names[index], shape, parent if index or has_rows else _KEY)
            if has_rows and ROW_ID in shape.kinds:
                ids = ((line[ROW_ID],) for line in table.lines() if ROW_ID in line)
                database.executemany(_insert("INSERT OR IGNORE INTO", ROWS, 1), ids)
            _fill(database, names[index], table, shape)
        database.commit()
    return [
        f"the table of {table.name!r} has the name {name!r}"
        for table, shape, name in zip(tables, shapes, names, strict=True)
        if name != table.name and shape.rows
    ]


def _reference(parent: str) -> str:
    return f"REFERENCES {_quoted(parent)} ({ROW_ID})"


def _create(database: Connection, name: str, shape: Shape, key: str) -> None:
    """Create a table, with an index of what it refers to.

    Raises:
        ExportError: It has too many columns.
    """
    if len(shape.kinds) > COLUMNS:
        raise ExportError(
            f"the table {name!r} has {len(shape.kinds):,} columns, and SQLite takes {COLUMNS:,}; "
            "export to .parquet or .jsonl"
        )
    columns = _names(list(shape.kinds), [])
    parts = []
    for kinds, own, column in zip(shape.kinds.values(), shape.kinds, columns, strict=True):
        kind = _TYPES.get(frozenset(kinds), "")
        parts.append(f"{_quoted(column)} {kind} {key if own == ROW_ID else ''}".strip())
    database.execute(f"CREATE TABLE {_quoted(name)} ({', '.join(parts)})")
    if ROW_ID in shape.kinds and key != _KEY:
        index = _quoted(f"{name} by {ROW_ID}")
        database.execute(f"CREATE INDEX {index} ON {_quoted(name)} ({ROW_ID})")


def _fill(database: Connection, name: str, table: Table, shape: Shape) -> None:
    if not shape.rows:
        return
    statement = _insert("INSERT INTO", name, len(shape.kinds))
    database.executemany(statement, _cells(table.lines(), shape.kinds))


def _insert(verb: str, name: str, columns: int) -> str:
    """The statement that adds a row; names cannot be parameters, so they are quoted."""
    return " ".join((verb, _quoted(name), f"VALUES ({', '.join('?' * columns)})"))


def _cells(lines: Iterator[Mapping[str, Any]], names: Collection[str]) -> Iterator[list[Any]]:
    for line in lines:
        yield [_cell(line.get(name)) for name in names]


def _cell(value: Any) -> Any:
    if value is None or type(value) is str:
        return value
    kind = kind_of(value)
    if kind == "json":
        return json.dumps(value, ensure_ascii=False)
    return str(value) if kind == "big" else value


def _names(wanted: list[str], taken: Collection[str]) -> list[str]:
    """Names that differ for SQLite, which takes no notice of capitals."""
    found: list[str] = []
    used = {name.lower() for name in taken}
    for name in wanted:
        plain = name.replace("\0", "\N{REPLACEMENT CHARACTER}") or "_"
        plain = f"_{plain}" if plain.lower().startswith("sqlite_") else plain
        unique, number = plain, 1
        while unique.lower() in used:
            number += 1
            unique = f"{plain}_{number}"
        used.add(unique.lower())
        found.append(unique)
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

"""Tables as CSV, TSV and JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from chainette.reports.export.tables import Table, shape_of

Write: TypeAlias = Callable[[str], Any]
_SPECIAL = re.compile(r'[",;\t\r\n]|^\s|\s$')
"""What quotes are needed for, by one reader or another."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Starts of texts that programs take for a formula (OWASP, "CSV Injection")."""


def write_csv(table: Table, write: Write, *, delimiter: str = ",") -> list[str]:
    """Write a table as CSV (RFC 4180): an empty text in quotes, and nothing for `None`.

    Args:
        table: The table.
        write: Takes its text.
        delimiter: The character between cells.

    Returns:
        What its reader should know.
    """
    names = list(shape_of(table).kinds)
    formulas = 0
    write(delimiter.join(map(_cell, names)) + "\r\n")
    for line in table.lines():
        values = [line.get(name) for name in names]
        formulas += _formulas(values)
        write(delimiter.join(map(_cell, values)) + "\r\n")
    if not formulas:
        return []
    texts = "1 text begins" if formulas == 1 else f"{formulas:,} texts begin"
    return [
        f"{texts} with =, +, - or @, which programs for spreadsheets take for a formula; "
        "in an .xlsx file they are texts"
    ]


def _formulas(values: Iterable[Any]) -> int:
    return sum(type(it) is str and it.startswith(_FORMULA) for it in values)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    kind = type(value)
    if kind is not str:
        value = json.dumps(value, ensure_ascii=False)
        if kind is int or kind is float or kind is bool:
            return str(value)
    elif value == "":
        return '""'
    return f'"{value.replace(_QUOTE, _QUOTES)}"' if _SPECIAL.search(value) else str(value)


_QUOTE, _QUOTES = '"', '""'


def write_jsonl(table: Table, write: Write) -> list[str]:
    """Write a table as JSON lines, each with the columns that it has.

    Args:
        table: The table.
        write: Takes its text.

    Returns:
        What its reader should know.
    """
    not_json = 0
    for line in table.lines():
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        not_json += ("NaN" in text or "Infinity" in text) and not _is_finite(line)
        write(text + "\n")
    if not not_json:
        return []
    lines = "1 line has" if not_json == 1 else f"{not_json:,} lines have"
    return [
        f"{lines} NaN or an infinite number, which JSON does not have, so strict readers refuse "
        "the file; .parquet and .csv hold them"
    ]


def _is_finite(line: Any) -> bool:
    try:
        json.dumps(line, allow_nan=False)
    except ValueError:
        return False
    return True

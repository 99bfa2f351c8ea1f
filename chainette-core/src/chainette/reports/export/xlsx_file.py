"""Tables as workbooks of Excel; needs the extra `chainette[xlsx]`.

Limits are those of "Excel specifications and limits" (Microsoft Support).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from chainette.errors import ConfigError, ExportError
from chainette.reports.export.tables import Shape, Table, shape_of

ROWS = 1_048_576
"""Rows of a sheet, with its header."""
COLUMNS = 16_384
CHARACTERS = 32_767
"""Characters of a cell, in UTF-16 as Excel counts them."""
DIGITS = 10**15
"""From here on, a number of Excel does not hold every integer."""
LARGEST = 9.99999999999999e307
"""The largest number of Excel (its "specifications and limits", support.microsoft.com)."""
_NAME = re.compile(r"[\[\]:*?/\\]")


def write_xlsx(table: Table, path: Path) -> list[str]:
    """Write a table as the only sheet of a workbook; texts are texts, whatever they begin with.

    Raises:
        ConfigError: The extra is not installed.
        ExportError: The table does not fit on a sheet.
    """
    try:
        import xlsxwriter
    except ImportError:
        raise ConfigError('.xlsx files need an extra: pip install "chainette[xlsx]"') from None
    shape = shape_of(table)
    _check(shape)
    with xlsxwriter.Workbook(str(path), {"constant_memory": True}) as book:
        sheet = book.add_worksheet(_NAME.sub("_", table.name)[:31].strip("'") or "table")
        sheet.freeze_panes(1, 0)
        bold = book.add_format({"bold": True})
        for column, name in enumerate(shape.kinds):
            _write_text(sheet, 0, column, name, name, bold)
        for row, line in enumerate(table.lines(), start=1):
            for column, name in enumerate(shape.kinds):
                if (value := line.get(name)) is not None:
                    _write(sheet, row, column, name, value)
    return []


def _check(shape: Shape) -> None:
    if shape.rows + 1 > ROWS:
        raise ExportError(
            f"{shape.rows:,} rows do not fit on a sheet, which has {ROWS:,} with the header; "
            "export to .csv, .parquet or .db"
        )
    if len(shape.kinds) > COLUMNS:
        raise ExportError(
            f"{len(shape.kinds):,} columns do not fit on a sheet, which has {COLUMNS:,}; export to "
            ".csv, .parquet or .jsonl"
        )


def _write(sheet: Any, row: int, column: int, name: str, value: Any) -> None:
    kind = type(value)
    if kind is bool:
        sheet.write_boolean(row, column, value)
    elif (kind is int and abs(value) < DIGITS) or (kind is float and abs(value) <= LARGEST):
        sheet.write_number(row, column, value)
    else:
        text = value if kind is str else json.dumps(value, ensure_ascii=False)
        _write_text(sheet, row, column, name, text)


def _write_text(sheet: Any, row: int, column: int, name: str, text: str, style: Any = None) -> None:
    """Write a text as it is; the library escapes what XML does not have (ECMA-376-1, 22.9.2.19).

    Raises:
        ExportError: It does not fit into a cell.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
    if size > CHARACTERS:
        raise ExportError(
            f"line {row} of the table, column {name!r}: {size:,} characters do not fit into a "
            f"cell, which has {CHARACTERS:,}; export to .csv, .parquet or .db"
        )
    sheet.write_string(row, column, text, style)

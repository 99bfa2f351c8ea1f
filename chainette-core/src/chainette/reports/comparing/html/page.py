"""The page of a comparison: its sections, and the rows that differ."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from chainette.folder.lines import encoded
from chainette.reports.comparing.html.sections import sections
from chainette.reports.comparing.sides import RowDifference
from chainette.reports.comparing.text import row_title
from chainette.reports.page.document import Column, Kind, Page, Row, Table
from chainette.reports.page.html import write_page

ROWS = 100_000
"""Rows that differ and are in the table where nothing else is said; the figures cover all."""
MAX_OPTIONS = 50
"""Most values of a field that a filter lists."""
_KINDS: dict[str, Kind] = {
    "category": "category",
    "number": "number",
    "text": "text",
    "list": "list",
}


def write_difference(found: Any, path: str | Path, *, rows: int = ROWS) -> None:
    """Write a comparison as one HTML file that opens from disk.

    Args:
        found: The comparison, a `Difference`.
        path: The file.
        rows: Maximum number of rows that differ and are in its table; its figures cover all.

    Raises:
        OutputDirError: The file cannot be written.
    """
    written = datetime.now(timezone.utc).isoformat(sep=" ", timespec="seconds")[:19] + " UTC"
    second = found.second.path if found.second is not None else "its labels"
    left = _count(found) - rows
    about = f"The first {rows:,}; the other {left:,} are left out." if left > 0 else ""
    table = _DifferingRows(found, rows)
    page = Page(
        title="Comparison",
        subtitle=f"{found.first.path} and {second}",
        sections=[*sections(found)],
        table=Table(table.columns, table, "Rows that differ", about),
        written=written,
        footer=f"Written {written} by Chainette from {found.first.path} and {second}",
    )
    write_page(page, Path(path))


def _count(found: Any) -> int:
    """The number of rows that differ; of those that differ from a label, at most."""
    if found.second is not None:
        return int(found.rows.differing)
    return sum(it.accuracy.total - it.accuracy.count for it in found.gold)


class _DifferingRows:
    """The rows that differ, as the table has them.

    Args:
        found: The comparison.
        most: Maximum number of rows.
    """

    def __init__(self, found: Any, most: int) -> None:
        self._found, self._most = found, most
        self._is_pair = found.second is not None
        if self._is_pair:
            names = [it.name for it in found.fields]
            self._names = [*names, *found.only_first, *found.only_second]
        else:
            self._names = [it.field for it in found.gold]

    @property
    def columns(self) -> list[Column]:
        """The columns: the row, what differs, and the values of both sides."""
        kinds = {it.name: it for it in self._found.fields}
        found = [
            Column("row", "other", "run", about="what identifies the row"),
            Column("differs", "list", "run", about="fields that differ"),
        ]
        for name in self._names:
            field = kinds.get(name)
            options = field.categories if field is not None else []
            listed = options if 0 < len(options) <= MAX_OPTIONS else None
            kind = _KINDS.get(field.kind, "other") if field is not None else "other"
            found += [Column(it, kind, "answer", listed) for it in self._titles(name)]
        if not self._is_pair:
            found.append(Column(self._label, "other", "input", about="the label"))
        return found

    @property
    def _label(self) -> str:
        return f"label: {self._found.gold[0].column}" if self._found.gold else "label"

    def _titles(self, name: str) -> list[str]:
        return [f"A {name}", f"B {name}"] if self._is_pair else [name]

    def __iter__(self) -> Iterator[Row]:
        """Read the rows one by one."""
        for row in islice(self._found.differing(), self._most):
            values: dict[str, Any] = {"row": row.id, "differs": [*row.first]}
            if row.item:
                values["row"] = row_title(row)
            if self._is_pair:
                values["differs"] = [*dict.fromkeys([*row.first, *row.second])]
            for name in self._names:
                for side, title in enumerate(self._titles(name)):
                    column = self._found.renamed(name, "AB"[side])
                    values[title] = row.lines[side].get(column)
            if not self._is_pair:
                values[self._label] = next(iter(row.second.values()), None)
            yield Row([*values.values()], _parts(row, values))


def _parts(row: RowDifference, values: dict[str, Any]) -> bytes:
    """What is shown where a row is opened: what differs, then its line of each run."""
    names = dict.fromkeys([*row.first, *row.second])
    differing = {
        f"{side} {name}": values_of.get(name)
        for name in names
        for side, values_of in (("A", row.first), ("B", row.second))
        if name in values_of
    }
    parts: list[dict[str, Any]] = [{"title": f"Row {row_title(row)}", "values": differing}]
    for side, line in zip(("A", "B"), row.lines, strict=False):
        parts.append({"title": f"All of {side}" if len(row.lines) > 1 else "All", "values": line})
    return encoded(parts)

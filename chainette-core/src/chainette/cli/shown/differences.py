"""Comparisons of runs for a terminal, and as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from chainette.cli.tables import table
from chainette.reports.comparing.difference import Difference
from chainette.reports.comparing.gold import GoldScores
from chainette.reports.comparing.statistics import crossed
from chainette.reports.comparing.text import (
    field_facts,
    gold_facts,
    notes,
    row_title,
    rows_text,
    shown,
    side_rows,
)
from chainette.text import escaped

MAX_CLASSES = 12
"""Most classes of a confusion matrix; the others are one class here."""


def show(found: Difference, rows: int) -> None:
    """Print a comparison on the terminal; see `tables`."""
    console = Console()
    for part in tables(found, rows, console.width):
        console.print(part, highlight=False)


def tables(found: Difference, rows: int, width: int) -> Iterator[RenderableType]:
    """The tables of a comparison.

    Args:
        found: The comparison.
        rows: Most rows that differ and are listed.
        width: Width of the terminal.
    """
    sides = [found.first, *([found.second] if found.second is not None else [])]
    titles = ["A", "B"][: len(sides)]
    for title, side in zip(titles, sides, strict=True):
        yield _line(f"{title}: {side.path}")
    if found.second is not None:
        yield from map(_line, rows_text(found.rows))
    yield table(["", *titles], [*map(list, side_rows(found))])
    if found.fields:
        cells = [[it.name, it.kind, "\n".join(field_facts(it))] for it in found.fields]
        yield table(["field", "as", "agreement"], cells)
    for field in found.fields:
        if field.confusion and field.agreement.count < field.agreement.total:
            yield _matrix(field.confusion, f"{field.name}: A down, B across", width)
    for gold in found.gold:
        yield from _gold(gold, found, width)
    yield from map(_line, notes(found))
    yield from _rows(found, rows, width)


def _line(text: str) -> Text:
    return Text(escaped(text))


def _gold(gold: GoldScores, found: Difference, width: int) -> Iterator[RenderableType]:
    which = "" if found.second is None else "A " if gold.run == found.first.path else "B "
    facts = "\n  ".join(gold_facts(gold))
    yield _line(f"{which}{gold.field} against {gold.column!r}:\n  {facts}")
    if gold.classes:
        cells = [
            [it.name, *(f"{x:.3f}" for x in (it.precision, it.recall, it.f1)), str(it.support)]
            for it in gold.classes
        ]
        yield table(["class", "precision", "recall", "F1", "rows"], cells)
        if gold.accuracy.count < gold.accuracy.total:
            yield _matrix(gold.confusion, "label down, answer across", width)


def _matrix(pairs: dict[tuple[str, str], int], title: str, width: int) -> RenderableType:
    """A confusion matrix, of the most frequent classes where there are too many for the width."""
    most = min(MAX_CLASSES, max(2, (width - 14) // 12))
    names, counts = crossed(pairs, most)
    cells = [[a, *(str(counts.get((a, b), 0)) for b in names)] for a in names]
    return _titled(title, table(["", *names], cells))


def _rows(found: Difference, most: int, width: int) -> Iterator[RenderableType]:
    """The first rows that differ, a line for each field."""
    other = "label" if found.second is None else "B"
    room = max(10, (width - 34) // 2)
    cells = [
        [row_title(row), name, shown(row.first, name, 3 * room), shown(row.second, name, 3 * room)]
        for row in islice(found.differing(), most)
        for name in dict.fromkeys([*row.first, *row.second])
    ]
    if cells:
        yield _titled("rows that differ", table(["row", "field", "A", other], cells))


def _titled(title: str, grid: RenderableType) -> RenderableType:
    """A table under its title, which is not broken where the table is narrow."""
    return Group(Text(escaped(title), style="table.title"), grid)


def json_lines(found: Difference) -> Iterator[dict[str, Any]]:
    """The comparison as lines: the runs, the fields, the labels, and each row that differs."""
    whole = found.as_dict()
    parts = {name: whole.pop(name) for name in ("fields", "gold")}
    yield {"kind": "runs", **whole}
    yield from ({"kind": "field", **_as(it, "as")} for it in parts["fields"])
    yield from ({"kind": "gold", **it} for it in parts["gold"])
    yield from ({"kind": "row", **row.as_dict()} for row in found.differing())


def _as(field: dict[str, Any], name: str) -> dict[str, Any]:
    """A field whose own kind has another name."""
    return {name if key == "kind" else key: value for key, value in field.items()}

"""The sections of a comparison's page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chainette.reports.comparing.fields import FieldDifference
from chainette.reports.comparing.gold import GoldScores
from chainette.reports.comparing.statistics import Share, crossed
from chainette.reports.comparing.text import (
    field_facts,
    gold_facts,
    notes,
    rows_text,
    side_rows,
)
from chainette.reports.page.document import (
    Block,
    Section,
    charts,
    facts,
    histogram,
    listing,
    note,
)

MAX_CLASSES = 30
"""Most classes of a confusion matrix on the page."""


def sections(found: Any) -> Iterator[Section]:
    """The sections of a comparison, a `Difference`, that have something to show."""
    yield Section("overview", "Overview", [*_overview(found)])
    for number, field in enumerate(found.fields):
        yield Section(f"field-{number}", field.name, [*_field(field)])
    for number, gold in enumerate(found.gold):
        which = "" if found.second is None else f"{_side(found, gold)}: "
        title = f"{which}{gold.field} against {gold.column}"
        yield Section(f"gold-{number}", title, [*_gold(gold)])


def _overview(found: Any) -> Iterator[Block]:
    if found.second is not None:
        items = [(it.name, *_share(it.agreement)) for it in found.fields]
        differing = f"{found.rows.differing:,} of {found.rows.matched:,}"
        yield facts([("Rows that differ", differing, "of those in both runs"), *items])
    sides = [it for it in (found.first, found.second) if it is not None]
    titles = ["A", "B"][: len(sides)]
    rows = [["folder", *(it.path for it in sides)], *map(list, side_rows(found))]
    yield listing(["", *titles], rows)
    lines = [*(rows_text(found.rows) if found.second is not None else ()), *notes(found)]
    yield from map(note, lines)


def _share(share: Share) -> tuple[str, str]:
    """A share, and a line about it."""
    if share.value is None or share.interval is None:
        return "unknown", "no rows with both values"
    low, high = share.interval
    return f"{share.value:.1%}", f"equal ({low:.1%} to {high:.1%})"


def _field(field: FieldDifference) -> Iterator[Block]:
    yield from map(note, field_facts(field))
    if field.confusion:
        yield _matrix(field.confusion, "A ↓ B →")
    if field.difference is not None:
        yield charts([histogram("B - A", field.difference.bins)])


def _gold(gold: GoldScores) -> Iterator[Block]:
    yield from map(note, gold_facts(gold))
    if gold.classes:
        names = ["class", "precision", "recall", "F1", "rows"]
        rows = [
            [it.name, *(f"{x:.3f}" for x in (it.precision, it.recall, it.f1)), f"{it.support:,}"]
            for it in gold.classes
        ]
        yield listing(names, rows, names[1:])
        yield _matrix(gold.confusion, "label ↓ answer →")


def _matrix(pairs: Mapping[tuple[str, str], int], corner: str) -> Block:
    """A confusion matrix, of the most frequent classes where there are very many."""
    names, counts = crossed(pairs, MAX_CLASSES)
    rows = [[a, *(f"{counts.get((a, b), 0):,}" for b in names)] for a in names]
    return listing([corner, *names], rows, names)


def _side(found: Any, gold: GoldScores) -> str:
    return "A" if gold.run == found.first.path else "B"

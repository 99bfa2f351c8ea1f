"""A comparison as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any

from chainette.messages.numbers import dollars, plural
from chainette.reports.comparing.fields import FieldDifference
from chainette.reports.comparing.gold import GoldScores
from chainette.reports.comparing.sides import RowDifference, Rows, Side, StepFigures
from chainette.reports.comparing.statistics import Share, Spread
from chainette.reports.comparing.values import text_of
from chainette.text import printable

MAX_ROWS = 10
"""Rows that differ and are shown; `differing()` has all."""
MAX_VALUE = 60
"""Characters of a value that are shown."""


def described(found: Any) -> Iterator[str]:
    """The lines of a comparison, a `Difference`."""
    yield f"A: {found.first.path}"
    if found.second is not None:
        yield f"B: {found.second.path}"
        yield from rows_text(found.rows)
    for name, *values in side_rows(found):
        yield f"{name}: {' | '.join(values)}"
    for field in found.fields:
        yield f"{field.name} ({field.kind}): {', '.join(field_facts(field))}"
    for gold in found.gold:
        yield f"{gold.run}: {gold.field} against {gold.column!r}: {', '.join(gold_facts(gold))}"
        for it in gold.classes:
            scores = f"precision {it.precision:.3f}, recall {it.recall:.3f}, F1 {it.f1:.3f}"
            yield f"  {printable(it.name)}: {scores}, {plural(it.support, 'row')}"
    yield from notes(found)
    for row in islice(found.differing(), MAX_ROWS):
        yield row_text(row)


def rows_text(rows: Rows) -> Iterator[str]:
    """The numbers of rows of two runs."""
    parts = [f"{rows.matched} matched, of which {rows.differing} differ"]
    parts += [f"{rows.only_first} only in A"] if rows.only_first else []
    parts += [f"{rows.only_second} only in B"] if rows.only_second else []
    yield f"rows: {'; '.join(parts)}"
    failed = rows.failed_first, rows.failed_second, rows.failed_both
    if any(failed):
        yield "failed: {} only in A, {} only in B, {} in both".format(*failed)


def side_rows(found: Any) -> Iterator[tuple[str, ...]]:
    """The figures of the runs side by side: a name, and a value for each run."""
    sides = [side for side in (found.first, found.second) if side is not None]
    yield "status", *(side.status for side in sides)
    yield "rows", *(str(side.counts.get("rows", 0)) for side in sides)
    for name in ("failed", "partial", "dropped"):
        if any(side.counts.get(name) for side in sides):
            yield name, *(str(side.counts.get(name, 0)) for side in sides)
    yield from _figures("", [side.total for side in sides])
    ids = dict.fromkeys(id for side in sides for id in side.steps)
    if len(ids) > 1 or _engines(sides):
        for id in ids:
            steps = [side.steps.get(id) for side in sides]
            yield f"{id}: engine", *(step.engine if step else "" for step in steps)
            yield from _figures(f"{id}: ", steps)


def _engines(sides: list[Side]) -> bool:
    """Whether the steps of the runs have different engines."""
    return len({tuple((id, it.engine) for id, it in side.steps.items()) for side in sides}) > 1


def _figures(prefix: str, steps: list[Any]) -> Iterator[tuple[str, ...]]:
    known: list[StepFigures | None] = steps
    yield f"{prefix}cost", *(dollars_text(it.cost) if it else "" for it in known)
    yield f"{prefix}tokens", *(_tokens(it) if it else "" for it in known)
    if any(it and it.latency for it in known):
        yield f"{prefix}latency, median", *(_seconds(it, "median") for it in known)
        yield f"{prefix}latency, p95", *(_seconds(it, "p95") for it in known)


def _tokens(step: StepFigures) -> str:
    if step.prompt_tokens is None:
        return "unknown"
    return f"{step.prompt_tokens} + {step.completion_tokens}"


def _seconds(step: StepFigures | None, name: str) -> str:
    if step is None or step.latency is None:
        return ""
    return f"{getattr(step.latency, name):.3g} s"


def dollars_text(cost: Decimal | None) -> str:
    """A cost in US dollars."""
    return "unknown" if cost is None else dollars(cost) if cost else "$0"


def share_text(share: Share) -> str:
    """A share with its interval, such as `95.0 % (88.8 to 97.8 %)`."""
    if share.value is None or share.interval is None:
        return "no rows"
    low, high = share.interval
    return f"{100 * share.value:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"


def field_facts(field: FieldDifference) -> Iterator[str]:
    """What there is to say about a field, agreement first."""
    total = field.agreement.total
    yield f"{share_text(field.agreement)} of {total} equal" if total else "no row has it in both"
    if field.confusion is not None:
        yield f"kappa {_number(field.kappa)}"
    if field.difference is not None:
        yield _spread(field.difference, "B - A", total)
    if field.similarity is not None:
        name = "words in common (F1)" if field.kind == "text" else "items in common (Jaccard)"
        yield f"{name} {field.similarity:.3f}"
    if field.alike:
        yield f"{field.alike} more {ALIKE}"
    if field.mixed:
        yield f"{field.mixed} of different types"
    if field.only_first or field.only_second:
        yield f"{field.only_first} only in A, {field.only_second} only in B"


ALIKE = "equal but for case, space or type (with fold)"
"""Values that are equal as texts without their case and the space around them."""


def gold_facts(gold: GoldScores) -> Iterator[str]:
    """What there is to say about a field and its labels, accuracy first."""
    total = gold.accuracy.total
    yield f"accuracy {share_text(gold.accuracy)} of {total}" if total else "no label has an answer"
    if (macro := gold.macro) is not None:
        yield f"macro precision {macro.precision:.3f}, recall {macro.recall:.3f}, F1 {macro.f1:.3f}"
        yield f"kappa {_number(gold.kappa)}"
    if gold.difference is not None:
        yield _spread(gold.difference, "answer - label", total)
    if gold.alike:
        yield f"{gold.alike} more {ALIKE}"
    if gold.unlabelled:
        yield f"{gold.unlabelled} without a label"
    if gold.unanswered:
        yield f"{gold.unanswered} without an answer, not counted"


def notes(found: Any) -> Iterator[str]:
    """What a reader has to know besides."""
    for it in found.paired:
        yield (
            f"{it.field}: rows that are right only in A: {it.first}, only in B: {it.second} "
            f"(p = {it.p:.3g}, McNemar's exact test)"
        )
    if found.only_first:
        yield f"fields only in A: {', '.join(found.only_first)}"
    if found.only_second:
        yield f"fields only in B: {', '.join(found.only_second)}"
    if any(found.rows.without_id):
        yield "rows without an id, which are not matched: {} in A, {} in B".format(
            *found.rows.without_id
        )
    if found.rows.alike:
        yield f"{plural(found.rows.alike, 'id')} more would match: {ALIKE}"
    for name, side in (("A", found.first), ("B", found.second)):
        if side is not None and side.status != "finished":
            yield f"{name} is not complete: its status is {side.status!r}"
    if found.is_folded:
        yield "texts were compared without their case and the space around them"


def row_text(row: RowDifference) -> str:
    """A row that differs, on one line."""
    names = dict.fromkeys([*row.first, *row.second])
    parts = (f"{it}: {shown(row.first, it)} | {shown(row.second, it)}" for it in names)
    return f"{row_title(row)}: {'; '.join(parts)}"


def row_title(row: RowDifference) -> str:
    """The id of a row, and its item."""
    return printable(text_of(row.id)) + (f"/{row.item}" if row.item else "")


def shown(values: dict[str, Any], name: str, limit: int = MAX_VALUE) -> str:
    """A value of a row; a dash where there is none."""
    if name not in values:
        return "-"
    text = printable(text_of(values[name]))
    return text[: limit - 1] + "…" if len(text) > limit else text


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _spread(found: Spread, name: str, total: int) -> str:
    low, high = found.quantiles[1], found.quantiles[-2]
    name += f" of {found.count}" if found.count < total else ""  # others are not finite
    return (
        f"{name}: mean {found.mean:.4g}, median {found.median:.4g}, 5 to 95 % "
        f"{low:.4g} to {high:.4g}, mean absolute {found.absolute:.4g}"
    )

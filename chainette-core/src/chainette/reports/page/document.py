"""The content of a page: sections, charts, and a table whose rows can be opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["text", "number", "category", "boolean", "list", "date", "state", "other"]
"""The kinds of a column's values; `state` marks the rows that failed."""
Block: TypeAlias = dict[str, Any]
"""A part of a section, as the page's script reads it."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        name: The name, which is also the key of its values where a row is opened.
        kind: What its values are.
        source: Where they come from: `input`, `answer`, or the `run` itself.
        options: The values that a row can have, if they are few.
        about: A line about it.
    """

    name: str
    kind: Kind = "text"
    source: Literal["input", "answer", "run"] = "answer"
    options: Sequence[str] | None = None
    about: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The column as the page's script reads it."""
        fields = asdict(self)
        return {"from": fields.pop("source"), **fields}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table.

    Attributes:
        values: Its values, in the order of the columns.
        parts: What is shown where it is opened: a JSON list of `values_part`, `step_part` and
            `error_part`. The first has the whole values of the columns by their names.
    """

    values: Sequence[Any]
    parts: bytes


@dataclass(frozen=True, slots=True)
class Table:
    """The table of rows.

    Attributes:
        columns: Its columns.
        rows: Its rows, taken one by one.
        title: The title of its section.
        note: A line about it, such as what it leaves out.
    """

    columns: Sequence[Column]
    rows: Iterable[Row]
    title: str = "Rows"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a page.

    Attributes:
        id: Its anchor.
        title: Its title.
        blocks: Its parts; see `facts`, `note`, `listing`, `charts` and `graph`.
    """

    id: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        title: Its title.
        subtitle: A line under it.
        sections: Its sections.
        table: The table of rows at its end, or `None`.
        state: A word beside the title.
        written: The time, for people.
        refresh: Seconds after which it is loaded again, or `None`.
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    table: Table | None = None
    state: str = ""
    written: str = ""
    refresh: int | None = None
    footer: str = field(default="")


def facts(items: Iterable[tuple[str, str, str]]) -> Block:
    """Figures in boxes: a label, a value, and a line about it, which may be empty."""
    rows = [{"label": label, "value": value, "note": about} for label, value, about in items]
    return {"kind": "facts", "items": rows}


def note(text: str) -> Block:
    """A line of text."""
    return {"kind": "note", "text": text}


def listing(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Iterable[str] = ()
) -> Block:
    """A few lines with columns.

    Args:
        columns: The names of the columns.
        rows: The values.
        numbers: The columns that are aligned to the right.
    """
    places = [index for index, name in enumerate(columns) if name in {*numbers}]
    return {"kind": "list", "columns": [*columns], "rows": [[*row] for row in rows],
            "numbers": places}  # fmt: skip


def charts(items: Iterable[Block]) -> Block:
    """Charts beside each other; see `bars`, `histogram` and `lines`."""
    return {"kind": "charts", "charts": [*items]}


def graph(nodes: Sequence[Block], edges: Sequence[Block]) -> Block:
    """A drawing of nodes (`id`, `kind`, `title`, `about`, `figure`) and edges.

    An edge has `from`, `to` and perhaps a `label`.
    """
    return {"kind": "graph", "nodes": [*nodes], "edges": [*edges]}


def bars(
    title: str,
    rows: Sequence[tuple[Any, int]],
    *,
    about: str = "",
    total: int | None = None,
    column: str | None = None,
    others: int = 0,
) -> Block:
    """A chart of counts.

    Args:
        title: Its title.
        rows: Labels and their counts.
        about: A line about it.
        total: What the counts are shares of.
        column: The column of the table that a click on a bar filters.
        others: The count of everything that has no bar of its own.
    """
    shown: list[list[Any]] = [[label, count, label] for label, count in rows]
    if others:
        shown.append(["(others)", others])
    return {"kind": "bars", "title": title, "about": about, "bars": shown, "total": total,
            "column": column}  # fmt: skip


def histogram(
    title: str,
    bins: Sequence[tuple[float, float, int]],
    *,
    about: str = "",
    unit: str = "",
    figures: Sequence[tuple[str, Any]] = (),
    is_cut: bool = False,
    is_time: bool = False,
) -> Block:
    """A chart of how often values are in each range.

    Args:
        title: Its title.
        bins: The ranges with their counts.
        about: A line about it.
        unit: The unit of the values.
        figures: Numbers below it, such as the mean.
        is_cut: Whether the last range has all that is larger.
        is_time: Whether the values are milliseconds since 1970.
    """
    return {"kind": "histogram", "title": title, "about": about, "unit": unit,
            "bins": [[*it] for it in bins], "figures": [[*it] for it in figures],
            "over": is_cut, "time": is_time}  # fmt: skip


def lines(
    title: str,
    series: Sequence[tuple[str, Sequence[int]]],
    *,
    start: float,
    seconds: float,
    unit: str,
    about: str = "",
) -> Block:
    """A chart of counts over time, one line for each series.

    Args:
        title: Its title.
        series: Names, and the counts of each interval.
        start: Seconds since 1970 at which the first interval begins.
        seconds: The length of an interval.
        unit: What is shown, a number for each second.
        about: A line about it.
    """
    shown = [{"name": name, "counts": [*counts]} for name, counts in series]
    return {"kind": "lines", "title": title, "about": about, "series": shown, "unit": unit,
            "width": seconds, "start": start * 1000, "wide": True}  # fmt: skip

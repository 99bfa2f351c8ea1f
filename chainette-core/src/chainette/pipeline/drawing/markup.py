"""HTML of which no text becomes markup, and which looks right in light and in dark.

Styles are attributes: notebooks share one page, and GitHub leaves style elements out
(https://github.com/jupyter/nbviewer/issues/450). Without them, the tables are still readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from chainette.messages.brief import cut
from chainette.text import escaped

LINE = "rgba(128,128,128,.35)"
"""Colour of lines, on any background."""
CARD = (
    f"border:1px solid {LINE};border-radius:8px;padding:10px 14px;margin:4px 0;max-width:1040px;"
    "font-size:13px;line-height:1.5;overflow-x:auto"
)
CELL = (
    f"text-align:left;vertical-align:top;padding:4px 12px 4px 0;border-top:1px solid {LINE};"
    "max-width:400px;white-space:pre-wrap;overflow-wrap:anywhere;background:none"
)
HEAD = f"{CELL};border-top:none;font-weight:600;white-space:nowrap"
SHORT = 24
"""Characters of a cell that is not wrapped."""
TABLE = "border-collapse:collapse;border:none;margin:8px 0 0;font-size:inherit"
QUIET = "opacity:.65"


def text(value: str, most: int = 120) -> str:
    """A text as HTML: cut, with control characters and marks of direction as in JSON."""
    return escape(escaped(cut(value, most)))


def div(content: str, style: str = "") -> str:
    """A block."""
    return f'<div style="{style}">{content}</div>' if style else f"<div>{content}</div>"


def quiet(content: str) -> str:
    """Words that say less than the others."""
    return f'<span style="{QUIET}">{content}</span>'


def card(title: str, *parts: str) -> str:
    """A frame with a title; parts that are empty are left out."""
    return div("".join([div(title), *(part for part in parts if part)]), CARD)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; what is written from right to left stays in its own.

    Without a head, the first cell of each row is its name.
    """
    lines = []
    if head:
        lines.append("".join(f'<th style="{HEAD}" dir="auto">{cell}</th>' for cell in head))
    for row in rows:
        first, others = ("", row) if head else (f'<th style="{HEAD}">{row[0]}</th>', row[1:])
        lines.append(first + "".join(map(_cell, others)))
    body = "".join(f'<tr style="background:none">{line}</tr>' for line in lines)
    return f'<table style="{TABLE}">{body}</table>'


def _cell(content: str) -> str:
    """A cell, on one line where it is short."""
    style = f"{CELL};white-space:nowrap" if len(content) <= SHORT and "\n" not in content else CELL
    return f'<td style="{style}" dir="auto">{content}</td>'


def details(title: str, content: str) -> str:
    """A part that is folded away."""
    return f"<details><summary>{title}</summary>{content}</details>" if content else ""

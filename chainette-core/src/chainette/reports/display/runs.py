"""A run as a card for notebooks."""

from __future__ import annotations

from typing import Any

from chainette.messages.brief import cut
from chainette.messages.numbers import dollars, duration
from chainette.pipeline.drawing.markup import card, details, div, quiet, table, text
from chainette.reports.display.first_rows import cell, first_rows, reasons, row_name
from chainette.reports.display.words import (
    cost_of,
    counted,
    folder_of,
    state_of_run,
    tokens_of,
)

MAX_HTML = 18_000
"""Characters of a card; cells are cut more where they would be more."""
COLORS = {"ok": "#2f9e6e", "partial": "#d29922", "dropped": "#8b949e", "failed": "#d9534f"}
MAX_STEPS = 20
"""Steps whose tokens and cost are shown."""


def run_card(run: Any) -> str:
    """A run: its state, counts, cost and time, its first rows, and why others have failed."""
    for size in (160, 80, 40, 20, 8):
        html = _card(run, size)
        if len(html) <= MAX_HTML:
            return html
    return card(_title(run), _numbers(run))


def _card(run: Any, size: int) -> str:
    return card(
        _title(run), _bar(run), _numbers(run), _rows(run, size), _failures(run, size), _steps(run)
    )


def _title(run: Any) -> str:
    count = run.counts.rows
    rows = f"{count:,} {'row' if count == 1 else 'rows'}"
    reason = f": {text(str(run.stopped), 200)}" if run.stopped is not None else ""
    folder = f" {quiet(f'<code>{text(folder_of(run))}</code>')}" if run.path is not None else ""
    return f"<b>Run</b> {state_of_run(run)}{reason} · <b>{rows}</b>{folder}"


def _bar(run: Any) -> str:
    """The shares of rows by state."""
    counts = run.counts
    parts = [
        f'<div style="width:{100 * count / counts.rows:.2f}%;background:{color}"></div>'
        for state, color in COLORS.items()
        if (count := getattr(counts, state)) and counts.rows
    ]
    style = "display:flex;height:6px;border-radius:3px;overflow:hidden;margin:6px 0;max-width:640px"
    return div("".join(parts), style)


def _numbers(run: Any) -> str:
    parts = [", ".join(counted(run)), cost_of(run), tokens_of(run.usage.values())]
    parts += [duration(run.seconds)]
    return div(" · ".join(text(part) for part in parts if part))


def _rows(run: Any, size: int) -> str:
    """The first rows, with the columns of the inputs in front."""
    found = first_rows(run)
    if not found.columns:
        return ""
    names = [quiet(text(name, 40)) for name in found.inputs]
    names += [text(name, 40) for name in found.answers]
    lines = [
        [quiet(text(row_name(line), 20)), *(text(cell(line.get(it)), size) for it in found.columns)]
        for line in found.lines
    ]
    left = run.counts.rows - len({line["row_id"] for line in found.lines})
    more = [f"{left:,} more {'row' if left == 1 else 'rows'}"] if left > 0 else []
    more += [f"{found.hidden} more columns"] if found.hidden else []
    rest = div(quiet(f"and {', '.join(more)}")) if more else ""
    return table([quiet("row"), *names], lines) + rest


def _failures(run: Any, size: int) -> str:
    found = reasons(run)
    if not found.counts:
        return ""
    title = f"of the first {found.looked:,} failures" if found.has_more else "failures"
    lines = [[f"{count:,}", text(reason, max(size, 60) + 40)] for reason, count in found.counts]
    return table([title, "reason"], lines)


def _steps(run: Any) -> str:
    """Tokens and cost by step, where there are several."""
    lines = []
    for id, usage in [*run.usage.items()][:MAX_STEPS]:
        cost = run.costs.get(id)
        shown = dollars(cost) if cost else "unknown" if id in run.costs and cost is None else "-"
        tokens = [f"{usage.prompt_tokens:,}", f"{usage.completion_tokens:,}", shown]
        lines.append([text(cut(id, 40)), *tokens])
    if len(lines) < 2:
        return ""
    return details("by step", table(["step", "tokens in", "tokens out", "cost"], lines))

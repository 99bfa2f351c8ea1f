"""A run in words: how it ended, its rows by state, its cost, its time and its folder."""

from __future__ import annotations

from typing import Any

from chainette.messages.brief import cut
from chainette.messages.numbers import dollars, duration
from chainette.text import printable
from chainette.usage import Usage

MAX_FOLDER = 80
"""Characters of a path; its end is kept."""


def line_of(run: Any) -> str:
    """A run in one line of at most 250 characters."""
    rows = run.counts.rows
    head = f"{rows:,} {'row' if rows == 1 else 'rows'}: {', '.join(counted(run))}"
    state = "" if state_of_run(run) == "finished" else state_of_run(run)
    parts = [head, state, cost_of(run), duration(run.seconds), folder_of(run)]
    return cut(", ".join(part for part in parts if part), 250)


def state_of_run(run: Any) -> str:
    """How a run has ended: finished, interrupted or stopped, or that there was nothing to do."""
    if run.nothing_to_do:
        return "nothing to do"
    if run.interrupted:
        return "interrupted"
    return "finished" if run.stopped is None else "stopped"


def counted(run: Any) -> list[str]:
    """The numbers of rows and groups by state; those that are 0 are left out, but for `ok`."""
    counts = run.counts
    states = [
        (counts.partial, "partial"),
        (counts.dropped, "dropped"),
        (counts.failed, "failed"),
        (counts.groups, "groups" if counts.groups != 1 else "group"),
        (counts.failed_groups, "groups failed"),
    ]
    return [f"{counts.ok:,} ok", *(f"{count:,} {state}" for count, state in states if count)]


def cost_of(run: Any) -> str:
    """The cost; empty where nothing has one."""
    unknown = [id for id, cost in run.costs.items() if cost is None]
    if unknown:
        return "cost unknown"
    return dollars(run.cost) if run.cost else ""


def tokens_of(usages: Any) -> str:
    """The tokens of prompts and answers; empty where no server has reported any."""
    usage = sum(usages, Usage())
    if not (usage.prompt_tokens or usage.completion_tokens):
        return ""
    return f"{usage.prompt_tokens:,} tokens in, {usage.completion_tokens:,} out"


def folder_of(run: Any) -> str:
    """The folder; empty for a run in memory."""
    path = printable(str(run.path)) if run.path is not None else ""
    return path if len(path) <= MAX_FOLDER else f"…{path[1 - MAX_FOLDER :]}"

"""What a comparison has beside the fields: cost, duration and failures of each run, and rows."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from chainette.reports.comparing.statistics import quantile
from chainette.reports.stored.run_folder import StoredRun


@dataclass(frozen=True, slots=True)
class Latency:
    """The time that answers took.

    Attributes:
        count: Answers with a time of their own; those from a cache have none.
        median: Seconds.
        p95: Seconds that 95 % of them did not exceed.
    """

    count: int
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One step of a run.

    Attributes:
        engine: Name of its engine; empty for a function that calls several or none.
        prompt_tokens: Tokens of its prompts; `None` of a run that did not end.
        completion_tokens: Tokens of its answers.
        cost: US dollars; `None` where they are unknown.
        latency: The time that its answers took; `None` where none did.
    """

    engine: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: Decimal | None
    latency: Latency | None

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON."""
        found = self.latency
        return {
            "engine": self.engine,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": None if self.cost is None else float(self.cost),
            "median_seconds": found.median if found else None,
            "p95_seconds": found.p95 if found else None,
        }


@dataclass(frozen=True, slots=True)
class Side:
    """One of the runs that are compared.

    Attributes:
        path: Its folder.
        status: How it ended: `finished`, or another word where it did not.
        counts: The numbers of rows, as its manifest has them.
        total: The figures of all steps.
        steps: Those of each step that asks an engine.
    """

    path: str
    status: str
    counts: dict[str, int]
    total: StepFigures
    steps: dict[str, StepFigures]

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON."""
        return {
            "path": self.path,
            "status": self.status,
            "rows": self.counts,
            **self.total.as_dict(),
            "steps": {id: step.as_dict() for id, step in self.steps.items()},
        }


def side_of(run: StoredRun) -> Side:
    """The figures of a run; of each answer, its 8 bytes of time are in memory."""
    manifest = run.manifest
    usage, costs = manifest.get("usage_by_step", {}), manifest.get("cost_usd_by_step", {})
    every = array("d")
    steps: dict[str, StepFigures] = {}
    for id, node in run.nodes.items():
        if id not in usage:
            continue
        times = array("d", sorted(_times(run, id))) if node.get("kind") == "step" else array("d")
        every.extend(times)
        cost = _dollars(costs.get(id, 0))
        steps[id] = _figures(node.get("engine") or "", usage[id], cost, times)
    cost = _dollars(manifest.get("cost_usd"))
    whole = _figures("", manifest.get("usage") or {}, cost, array("d", sorted(every)))
    counts = {id: it for id, it in manifest.get("counts", {}).items() if isinstance(it, int)}
    return Side(str(run.path), _status(manifest), counts, whole, steps)


def _times(run: StoredRun, id: str) -> list[float] | array[float]:
    found = array("d")
    for line in run.step_lines(id):
        seconds = line.get("latency")
        if isinstance(seconds, int | float) and not line.get("cached"):
            found.append(seconds)
    return found


def _figures(
    engine: str, usage: dict[str, Any], cost: Decimal | None, times: array[float]
) -> StepFigures:
    latency = Latency(len(times), quantile(times, 0.5), quantile(times, 0.95)) if times else None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    return StepFigures(engine, prompt, completion, cost, latency)


def _status(manifest: dict[str, Any]) -> str:
    status = str(manifest.get("status", "unknown"))
    return "running, or killed" if status == "running" else status


def _dollars(value: Any) -> Decimal | None:
    try:
        return None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that differs.

    Attributes:
        id: Its id, or its number.
        item: The path of its item, where it was split.
        first: The fields of the first run that differ, by their columns.
        second: Those of the second run, or the label under the column's name.
        lines: The whole lines of the tables: of the first run, and of the second if there is one.
    """

    id: Any
    item: str
    first: dict[str, Any]
    second: dict[str, Any]
    lines: tuple[dict[str, Any], ...] = field(default=(), repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON."""
        item = {"item": self.item} if self.item else {}
        return {"id": self.id, **item, "a": self.first, "b": self.second}


@dataclass(frozen=True, slots=True)
class Rows:
    """The numbers of lines of two tables: of rows, or of the items that a row was split into.

    Attributes:
        matched: Those that both runs have.
        only_first: Those of the first run alone.
        only_second: Those of the second run alone.
        differing: Of the matched ones, those in which a field differs.
        failed_first: Those that failed in the first run and not in the second.
        failed_second: Those that failed in the second run and not in the first.
        failed_both: Those that failed in both.
        without_id: Lines of the first and of the second run that have no id.
        alike: Ids that would match as texts without their case and the space around them.
    """

    matched: int = 0
    only_first: int = 0
    only_second: int = 0
    differing: int = 0
    failed_first: int = 0
    failed_second: int = 0
    failed_both: int = 0
    without_id: tuple[int, int] = (0, 0)
    alike: int = 0


@dataclass(frozen=True, slots=True)
class PairedGold:
    """Two runs on the same labels.

    Attributes:
        field: The field's column.
        first: Rows that only the first run has right.
        second: Rows that only the second run has right.
        p: The probability of a split as uneven where neither is better (McNemar's exact test).
    """

    field: str
    first: int
    second: int
    p: float

"""The cost, duration and failures of a run, for a comparison."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
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

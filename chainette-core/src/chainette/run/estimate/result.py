"""The estimate of a run, and its text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainette.messages.numbers import digits, plural
from chainette.run.estimate.intervals import Amount


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """What one step, or a function that calls engines, will take for all rows.

    Attributes:
        engine: Name of its engine; of a function, of those that it calls.
        reached: Rows of the sample that reached it.
        requests: Requests that are answered.
        prompt_tokens: Tokens of the prompts; `None` where answers came without them.
        completion_tokens: Tokens of the answers; `None` where they came without them.
        cost: US dollars; `None` where a price is unknown.
        seconds: The sum of the times of all answers.
    """

    engine: str
    reached: int
    requests: Amount
    prompt_tokens: Amount | None
    completion_tokens: Amount | None
    cost: Amount | None
    seconds: Amount

    def as_dict(self) -> dict[str, Any]:
        """The estimate as JSON."""
        amounts = {name: _json(getattr(self, name)) for name in _AMOUNTS}
        return {"engine": self.engine, "reached": self.reached, **amounts}


_AMOUNTS = ("requests", "prompt_tokens", "completion_tokens", "cost", "seconds")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run over all rows will take, from a random sample of them.

    Each number has an interval of 95 %.

    Attributes:
        name: The engines that it is for.
        replaced: The engines by those of the chain whose place they took.
        rows: All input rows.
        sampled: Rows that were run.
        failed: Rows of the sample of which something failed; what they took is counted.
        requests: Requests that are answered.
        prompt_tokens: Tokens of the prompts; `None` where answers came without them.
        completion_tokens: Tokens of the answers; `None` where they came without them.
        cost: US dollars; `None` where a price is unknown.
        seconds: Duration of the run.
        steps: What each step takes, by id.
        not_estimated: Nodes that see more than their row, and those that follow them, by id, with
            the reason. The other numbers are without them.
        unseen: Steps that no row of the sample reached. The other numbers are without them.
        notes: What a reader has to know besides.
        path: The folder with the sample's answers; `None` where they were not kept.
    """

    name: str
    replaced: Mapping[str, str]
    rows: int
    sampled: int
    failed: int
    requests: Amount
    prompt_tokens: Amount | None
    completion_tokens: Amount | None
    cost: Amount | None
    seconds: Amount
    steps: Mapping[str, StepEstimate]
    not_estimated: Mapping[str, str]
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    path: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """The estimate as JSON."""
        return {
            "engine": self.name,
            "replaced": dict(self.replaced),
            "rows": self.rows,
            "sampled": self.sampled,
            "failed": self.failed,
            **{name: _json(getattr(self, name)) for name in _AMOUNTS},
            "steps": {id: step.as_dict() for id, step in self.steps.items()},
            "not_estimated": dict(self.not_estimated),
            "unseen": list(self.unseen),
            "notes": list(self.notes),
            "path": str(self.path) if self.path is not None else None,
        }

    def __str__(self) -> str:
        return "\n".join(described(self))


def _json(amount: Amount | None) -> dict[str, Any] | None:
    return amount.as_dict() if amount is not None else None


def described(found: Estimate) -> Iterator[str]:
    """The lines of an estimate."""
    yield f"{found.name}: {plural(found.rows, 'row')}, estimated from {found.sampled} of them"
    for name, *cells in amount_rows([found]):
        yield f"{name}: {cells[0]}"
    yield from remarks(found)


def amount_rows(found: list[Estimate]) -> Iterator[tuple[str, ...]]:
    """The numbers of estimates side by side: a name, and a number of each."""
    yield "cost", *(dollars(it.cost) for it in found)
    yield "prompt tokens", *(number(it.prompt_tokens) for it in found)
    yield "completion tokens", *(number(it.completion_tokens) for it in found)
    yield "requests", *(number(it.requests) for it in found)
    yield "time", *(duration(it.seconds) for it in found)
    ids = dict.fromkeys(id for it in found for id in it.steps)
    for id in ids if len(ids) > 1 else ():
        steps = [it.steps[id] for it in found]
        yield f"{id}: cost", *(dollars(it.cost) for it in steps)
        yield (
            f"{id}: tokens",
            *(f"{number(it.prompt_tokens)} + {number(it.completion_tokens)}" for it in steps),
        )


def remarks(found: Estimate) -> Iterator[str]:
    """What there is to say besides the numbers."""
    if found.failed:
        rows = f"{found.failed} of the {found.sampled} rows of the sample"
        yield f"{rows} failed; what they took is counted, and a run tries them again"
    if found.failed == found.sampled:
        yield "no row of the sample succeeded, so these numbers say nothing of a run that works"
    for id, reason in found.not_estimated.items():
        yield f"not estimated: {id!r}, since {reason}"
    for id in found.unseen:
        share = min(1.0, 3 / found.sampled)
        yield (
            f"not estimated: {id!r}, which no row of the sample reached; up to {share:.1%} of all "
            "rows may"
        )
    yield from found.notes


def number(amount: Amount | None) -> str:
    """A number with its interval, such as `12,300 (11,900 to 12,800)`."""
    return "unknown" if amount is None else _interval(amount, lambda it: f"{_rounded(it):,.0f}")


def dollars(amount: Amount | None) -> str:
    """US dollars with their interval."""
    return "unknown" if amount is None else _interval(amount, lambda it: f"${_price(it)}")


def duration(amount: Amount | None) -> str:
    """A duration with its interval."""
    return "unknown" if amount is None else _interval(amount, _time)


def _interval(amount: Amount, text: Any) -> str:
    value, low = text(amount.value), text(amount.low)
    if not math.isfinite(amount.high):
        return f"{value} (at least {low})"
    high = text(amount.high)
    return value if low == high == value else f"{value} ({low} to {high})"


def _rounded(value: float) -> float:
    """A number of three digits that count."""
    digits = math.floor(math.log10(abs(value))) if value else 0
    return round(value, 2 - digits) if digits > 2 else round(value)


def _price(value: float) -> str:
    return f"{value:,.2f}" if value >= 10 else digits(value) if value else "0"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{digits(seconds, 2)} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

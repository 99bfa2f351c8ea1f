"""Counts of a running run, for progress displays and summaries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from time import perf_counter
from typing import Any

from chainette.errors import ApplyError, EngineError
from chainette.events import (
    Event,
    GroupFinished,
    GroupsStarted,
    NodeFailed,
    NodeFinished,
    NodeRetried,
    NodeStarted,
    RowFinished,
    RunStarted,
)
from chainette.reports.run import total_cost
from chainette.text import described, without_numbers
from chainette.usage import FREE, Usage


@dataclass(slots=True)
class NodeStats:
    """Counts of one node.

    Attributes:
        engine: Name of the engine that it prompts, or `None` for a function.
        started: Items that reached it.
        done: Items that it has finished.
        failed: Items that failed in it.
        total: Expected items; `None` where that is not known.
        usage: Tokens of its items.
        cost: US dollars of its items, or `None` if they are unknown.
        seconds: Total duration of its items.
    """

    engine: str | None = None
    started: int = 0
    done: int = 0
    failed: int = 0
    total: int | None = None
    usage: Usage = field(default_factory=Usage)
    cost: Decimal | None = FREE
    seconds: float = 0.0

    @property
    def in_flight(self) -> int:
        """Items in progress."""
        return self.started - self.done - self.failed

    @property
    def average(self) -> float:
        """Mean seconds for an item."""
        return self.seconds / self.done if self.done else 0.0

    def spend(self, usage: Usage | None, cost: Decimal | None) -> None:
        """Add what one of its items took."""
        if usage is not None:
            self.usage += usage
        self.cost = None if cost is None or self.cost is None else self.cost + cost

    def speed(self, seconds: float) -> str:
        """Items per second, and tokens per second if there are any."""
        items = f"{rate(self.done, seconds)}/s"
        tokens = self.usage.completion_tokens
        return f"{items} {rate(tokens, seconds)} tok/s" if tokens else items


@dataclass(slots=True)
class RunStats:
    """A listener that counts the events of a run.

    Attributes:
        nodes: By id.
        errors: Number of failures by message; long messages are cut off. Messages that differ
            in numbers and ids count as the first of them.
        total: Expected rows, if known.
        rows: Finished rows.
        failed: Failed rows.
        groups: Finished groups.
        failed_groups: Failed groups.
        of_groups: Expected groups, once all rows have ended; `None` before.
        retries: Requests that were sent again.
        started_at: Time at which the run started.
    """

    nodes: dict[str, NodeStats] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    total: int | None = None
    rows: int = 0
    failed: int = 0
    groups: int = 0
    failed_groups: int = 0
    of_groups: int | None = None
    retries: int = 0
    started_at: float = field(default_factory=perf_counter)
    _first: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds since the run started."""
        return max(perf_counter() - self.started_at, 1e-9)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case NodeStarted():
                self._count_start(event)
            case NodeFinished():
                self._count_output(event)
            case NodeRetried():
                self.retries += 1
            case NodeFailed():
                self._count_failure(event)
            case RowFinished():
                self.rows += 1
                self.failed += not event.ok
            case GroupFinished():
                self.groups += 1
                self.failed_groups += not event.ok
            case GroupsStarted():
                self.of_groups = (self.of_groups or 0) + event.total
                for id in event.nodes:
                    self.nodes[id].total = event.total
            case RunStarted():
                self.total, self.started_at = event.total, perf_counter()
                self.nodes = {node.id: NodeStats(engine=node.engine) for node in event.nodes}

    def _count_start(self, event: NodeStarted) -> None:
        if event.node_id in self.nodes:  # a `reduce` may have an id of its own
            self.nodes[event.node_id].started += 1

    def _count_output(self, event: NodeFinished) -> None:
        node = self.nodes[event.node_id]
        node.done += 1
        node.seconds += event.seconds
        node.spend(event.usage, event.cost)

    def _count_failure(self, event: NodeFailed) -> None:
        error = event.error
        if event.node_id in self.nodes:
            self.nodes[event.node_id].failed += 1
            if isinstance(error, EngineError | ApplyError):
                self.nodes[event.node_id].spend(error.usage, error.cost)
        message = described(error)
        self.errors[self._first.setdefault(without_numbers(message), message)] += 1

    def line(self) -> str:
        """The state of the run in one line."""
        of = f"/{self.total}" if self.total is not None else ""
        seconds, left = self.seconds, ""
        if self.total is not None and 0 < self.rows < self.total:
            left = f", {(self.total - self.rows) * seconds / self.rows:.0f} s left"
        in_flight = sum(node.in_flight for node in self.nodes.values())
        tokens = sum(node.usage.completion_tokens for node in self.nodes.values())
        speed = f"{rate(self.rows, seconds)} rows/s"
        if tokens:
            speed += f", {rate(tokens, seconds)} tokens/s"
        retries = f", {self.retries} retried" if self.retries else ""
        busy = f", {in_flight} in flight" if in_flight else ""
        noun = "row" if self.total == 1 else "rows"
        counts = f"{self.rows}{of} {noun}, {self.failed} failed{self._groups()}{retries}{busy}"
        return f"{counts}, {speed}{self.cost()}{left}"

    def _groups(self) -> str:
        """The groups so far; empty as long as rows run."""
        if self.of_groups is None:
            return ""
        noun = "group" if self.of_groups == 1 else "groups"
        return f", {self.groups}/{self.of_groups} {noun}, {self.failed_groups} failed"

    def cost(self) -> str:
        """The cost so far, after a comma; empty if it is unknown or zero."""
        dollars = total_cost({id: node.cost for id, node in self.nodes.items()})
        return f", ${dollars:.4f}" if dollars else ""

    def state(self) -> dict[str, Any]:
        """The state of the run as JSON values."""
        return {
            "rows": self.rows,
            "of": self.total,
            "failed": self.failed,
            **self._group_state(),
            "retries": self.retries,
            "seconds": round(self.seconds, 3),
            "nodes": {
                id: {
                    "in_flight": node.in_flight,
                    "done": node.done,
                    "failed": node.failed,
                    "tokens": node.usage.completion_tokens,
                }
                for id, node in self.nodes.items()
            },
        }

    def _group_state(self) -> dict[str, Any]:
        if self.of_groups is None:
            return {}
        return {
            "groups": self.groups,
            "of_groups": self.of_groups,
            "failed_groups": self.failed_groups,
        }


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def rate(count: int, seconds: float) -> str:
    """A count per second with about two digits: `0.037`, `3.7`, `37`."""
    value = count / seconds
    return f"{value:.0f}" if value >= 10 or not count else f"{value:.2g}"

"""Counts of a running run, for progress displays and summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from time import perf_counter
from typing import TYPE_CHECKING, Any

from chainette.errors import ApplyError, ChainetteError, EngineError
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
from chainette.messages.numbers import duration, rate
from chainette.registry.engines import get_engine
from chainette.reports.run import total_cost
from chainette.text import described, without_numbers
from chainette.usage import FREE, Usage

if TYPE_CHECKING:
    from chainette.engine.client.base import BaseClient


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
        """Items that have reached it and not left it, those that wait for their turn included."""
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
    _clients: dict[str, BaseClient] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds since the run started."""
        return max(perf_counter() - self.started_at, 1e-9)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        count = _COUNTED.get(type(event))
        if count is not None:
            count(self, event)

    def _begin(self, event: RunStarted) -> None:
        self.total, self.started_at = event.total, perf_counter()
        self.nodes = {node.id: NodeStats(engine=node.engine) for node in event.nodes}
        for name in {node.engine for node in event.nodes if node.engine is not None}:
            with suppress(ChainetteError):
                self._clients[name] = get_engine(name)

    def _count_start(self, event: NodeStarted) -> None:
        node = self.nodes.get(event.node_id)
        if node is not None:  # a `reduce` may have an id of its own
            node.started += 1

    def _count_retry(self, event: NodeRetried) -> None:
        self.retries += 1

    def _count_row(self, event: RowFinished) -> None:
        self.rows += 1
        self.failed += not event.ok

    def _count_group(self, event: GroupFinished) -> None:
        self.groups += 1
        self.failed_groups += not event.ok

    def _begin_groups(self, event: GroupsStarted) -> None:
        self.of_groups = (self.of_groups or 0) + event.total
        for id in event.nodes:
            self.nodes[id].total = event.total

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

    @property
    def in_flight(self) -> dict[str, int]:
        """Items in progress by node: those that were sent, where it prompts an engine.

        Nodes that share an engine share its requests in the proportion of their items.
        """
        found = {id: node.in_flight for id, node in self.nodes.items()}
        for name, client in self._clients.items():
            ids = [id for id, node in self.nodes.items() if node.engine == name]
            items = sum(found[id] for id in ids)
            sent = min(client.limits.slots.in_flight, items)
            before = shown = 0
            for id in ids if items else ():
                before += found[id]
                found[id] = sent * before // items - shown
                shown += found[id]
        return found

    @property
    def tokens(self) -> Usage:
        """The tokens so far."""
        return sum((node.usage for node in self.nodes.values()), Usage())

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all rows have ended, at the speed so far; `None` if that is unknown."""
        if self.total is None or not 0 < self.rows < self.total:
            return None
        return (self.total - self.rows) * self.seconds / self.rows

    def line(self) -> str:
        """The state of the run in one line."""
        return ", ".join(self.parts())

    def parts(self) -> list[str]:
        """The state of the run: rows, failures, speed, tokens, cost, and the time that is left."""
        of = f"/{self.total:,}" if self.total is not None else ""
        noun = "row" if (self.total if self.total is not None else self.rows) == 1 else "rows"
        in_flight, usage, left = sum(self.in_flight.values()), self.tokens, self.seconds_left
        tokens = usage.prompt_tokens + usage.completion_tokens
        parts = [
            f"{self.rows:,}{of} {noun}",
            f"{self.failed:,} failed{self._groups()}",
            f"{self.retries:,} retried" if self.retries else "",
            f"{in_flight:,} in flight" if in_flight else "",
            f"{rate(self.rows, self.seconds)} rows/s",
            f"{tokens:,} tokens" if tokens else "",
            f"{rate(usage.completion_tokens, self.seconds)} tokens/s" if tokens else "",
            self.cost().removeprefix(", "),
            f"{duration(round(left))} left" if left is not None else "",
        ]
        return [part for part in parts if part]

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
        in_flight = self.in_flight
        return {
            "rows": self.rows,
            "of": self.total,
            "failed": self.failed,
            **self._group_state(),
            "retries": self.retries,
            "seconds": round(self.seconds, 3),
            "nodes": {
                id: {
                    "in_flight": in_flight[id],
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


_COUNTED: Mapping[type, Callable[[RunStats, Any], None]] = {
    NodeStarted: RunStats._count_start,
    NodeFinished: RunStats._count_output,
    NodeRetried: RunStats._count_retry,
    NodeFailed: RunStats._count_failure,
    RowFinished: RunStats._count_row,
    GroupFinished: RunStats._count_group,
    GroupsStarted: RunStats._begin_groups,
    RunStarted: RunStats._begin,
}
"""What counts events of each kind."""

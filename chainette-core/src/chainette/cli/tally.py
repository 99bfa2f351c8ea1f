"""Counts of a run that is going on, for whoever shows them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from chainette.engine.registry import get_engine_config
from chainette.names import printable
from chainette.pipeline.chain import Chain
from chainette.run.cost import costs, total
from chainette.run.events import Observer
from chainette.types import Usage


@dataclass(slots=True)
class NodeTally:
    """What one node has done.

    Attributes:
        started: Items that have come to it.
        done: Items that it has finished with, well.
        failed: Items that failed in it.
        usage: Tokens that its items took.
        seconds: How long its items took, all together.
    """

    started: int = 0
    done: int = 0
    failed: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0

    @property
    def in_flight(self) -> int:
        """Items that it is busy with."""
        return self.started - self.done - self.failed

    @property
    def average(self) -> float:
        """Seconds that an item takes."""
        return self.seconds / self.done if self.done else 0.0

    def speed(self, seconds: float) -> str:
        """Items, and tokens if there are any, in a second."""
        items = f"{self.done / seconds:.1f}/s"
        tokens = self.usage.completion_tokens
        return f"{items} {tokens / seconds:.0f} tok/s" if tokens else items


@dataclass(slots=True)
class Tally(Observer):
    """Counts what happens in a run.

    Attributes:
        nodes: By id.
        errors: How often which message was seen; texts of single rows are cut off.
        total: Rows that are expected, if that is known.
        rows: Rows that are done.
        failed: Rows that failed.
        retries: Requests that were sent again.
        begun: When the run began.
    """

    nodes: dict[str, NodeTally] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    total: int | None = None
    rows: int = 0
    failed: int = 0
    retries: int = 0
    begun: float = field(default_factory=perf_counter)
    _chain: Chain = field(init=False, repr=False)

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return max(perf_counter() - self.begun, 1e-9)

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Begin to count."""
        self.total, self.begun = total, perf_counter()
        self.nodes = {id: NodeTally() for id in chain.nodes}
        self._chain = chain

    def node_started(self, node_id: str) -> None:
        """Count an item that is under way."""
        self.nodes[node_id].started += 1

    def node_finished(self, node_id: str, usage: Usage | None, seconds: float) -> None:
        """Count an item."""
        node = self.nodes[node_id]
        node.done += 1
        node.seconds += seconds
        if usage is not None:
            node.usage += usage

    def node_retried(
        self, node_id: str, row_id: int, item: str, error: Exception, seconds: float
    ) -> None:
        """Count a request that is sent again."""
        self.retries += 1

    def node_failed(self, node_id: str, row_id: int, item: str, error: Exception) -> None:
        """Count a failure."""
        if node_id in self.nodes:
            self.nodes[node_id].failed += 1
            if usage := getattr(error, "usage", None):
                self.nodes[node_id].usage += usage
        self.errors[f"{type(error).__name__}: {printable(str(error))[:160]}"] += 1

    def row_finished(self, ok: bool) -> None:
        """Count a row."""
        self.rows += 1
        self.failed += not ok

    def line(self) -> str:
        """How far it is, in a line."""
        of = f"/{self.total}" if self.total is not None else ""
        rate = self.rows / self.seconds
        left = ""
        if self.total is not None and rate and self.rows < self.total:
            left = f", {(self.total - self.rows) / rate:.0f} s left"
        flying = sum(node.in_flight for node in self.nodes.values())
        tokens = sum(node.usage.completion_tokens for node in self.nodes.values())
        speed = f"{rate:.1f} rows/s" + (f", {tokens / self.seconds:.0f} tokens/s" if tokens else "")
        in_flight = f", {flying} in flight" if flying else ""
        retries = f", {self.retries} retried" if self.retries else ""
        counts = f"{self.rows}{of} rows, {self.failed} failed{retries}{in_flight}"
        return f"{counts}, {speed}{self.cost()}{left}"

    def cost(self) -> str:
        """What it has cost so far, after a comma; empty where that is unknown or nothing."""
        spent = {id: node.usage for id, node in self.nodes.items()}
        clients = {name: get_engine_config(name).engine for name in self._chain.engine_names}
        dollars = total(costs(self._chain, clients, spent))
        return f", ${dollars:.4f}" if dollars else ""

    def state(self) -> dict[str, Any]:
        """How far it is, as JSON values."""
        return {
            "rows": self.rows,
            "of": self.total,
            "failed": self.failed,
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

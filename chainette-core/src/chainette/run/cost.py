"""The cost of a run: what its answers cost, and whether that can be limited."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from chainette.engine.client.base import BaseClient
from chainette.errors import ConfigError
from chainette.folder.files import CALLS, ERRORS, REDONE, RETRIED
from chainette.folder.lines import read_file, read_lines
from chainette.pipeline.pipeline import Pipeline
from chainette.usage import FREE, Spending, Usage


class Ledger:
    """The tokens and US dollars of every step, and of every function that calls engines.

    Args:
        engines: Names of the engines by the node's id; see `engines_by_node`.
        clients: The engines' clients by name.
    """

    def __init__(
        self, engines: Mapping[str, tuple[str, ...]], clients: Mapping[str, BaseClient]
    ) -> None:
        self._engines = engines
        self._clients = clients
        self._steps = {id: Spending() for id in engines}

    def add(self, step_id: str, usage: Usage | None, cost: Decimal | None) -> None:
        """Add what an item took in a step; see `Spending.add`."""
        self._steps[step_id].add(usage, cost)

    def add_line(self, step_id: str, line: Mapping[str, Any]) -> Decimal | None:
        """Add what an earlier run has written down.

        What a line says of a function's calls is passed over, since each has its own line. A cost
        that was unknown then is counted by the price that the engine has now.

        Args:
            step_id: The step.
            line: The line of an output, of a call or of an error.

        Returns:
            US dollars, or `None` if they are unknown.
        """
        spent, cost = line.get("usage"), line.get("cost")
        if step_id not in self._steps or not (spent or "cost" in line) or "calls" in line:
            return FREE
        usage = Usage(**spent) if spent else None
        engine = line.get("engine") or next(iter(self._engines.get(step_id, ())), "")
        known = self._priced_now(engine, usage) if cost is None else Decimal(str(cost))
        self.add(step_id, usage, known)
        return known

    def add_redone(self, path: Path) -> None:
        """Add what answers and errors have cost that a redo has replaced.

        Args:
            path: The run's folder.
        """
        for folder in sorted((path / REDONE).glob("*")):
            for file in sorted(folder.glob("*/*.jsonl")):
                for line in read_file(file, lambda place: None):
                    self._add_replaced(file.parent.name.removesuffix(CALLS), line)
            if (folder / ERRORS).exists():
                for line in read_file(folder / ERRORS, lambda place: None):
                    self._add_replaced(line.get("node_id") or "", line)

    def _add_replaced(self, step_id: str, line: Mapping[str, Any]) -> None:
        """Add a line, also of a step that the chain does not have anymore."""
        if line.get("usage") or "cost" in line:
            self._steps.setdefault(step_id, Spending())
            self.add_line(step_id, line)

    def _priced_now(self, engine: str, usage: Usage | None) -> Decimal | None:
        client = self._clients.get(engine)
        if client is None or usage is None:
            return None
        price = client.config.price
        if price is None:
            return FREE if client.pricer.is_free else None
        # A line may be that of several requests.
        return None if price.request else price.tariff().cost(usage)

    @property
    def usage(self) -> dict[str, Usage]:
        """Tokens by step id."""
        return {id: spending.usage or Usage() for id, spending in self._steps.items()}

    @property
    def costs(self) -> dict[str, Decimal | None]:
        """US dollars of the steps that were answered; `None` where a cost is unknown."""
        return {
            id: spending.cost
            for id, spending in self._steps.items()
            if spending.usage is not None or spending.cost != FREE
        }

    def problem(self, step_id: str) -> str:
        """The reason why the cost of a step is unknown, and what to do about it."""
        names = self._engines.get(step_id, ())
        problems = {
            name: self._clients[name].pricer.problem for name in names if name in self._clients
        }
        name = next((name for name in names if problems.get(name)), ", ".join(names))
        reason = problems.get(name) or "an earlier run did not know the price of its model"
        return f"engine {name!r}, step {step_id!r}: {reason}; {_WAYS_OUT}max_cost"


def retried(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The errors of a run that were tried again, with their steps: what they cost was spent.

    Args:
        path: The run's folder.
    """
    for line in read_lines(path / RETRIED, lambda place: None):
        yield line.get("node_id") or "", line


def engines_by_node(pipeline: Pipeline) -> dict[str, tuple[str, ...]]:
    """Names of the engines by the id of the step or function that asks them."""
    return {id: node.engines for id, node in pipeline.nodes.items() if node.engines}


_WAYS_OUT = (
    "give the engine a price, such as price: {input: 0.15, output: 0.60}, in US dollars for a "
    "million tokens, or leave out "
)


def check_prices(clients: Iterable[BaseClient], limit: str) -> None:
    """Refuse to limit the cost of models whose price is unknown.

    Args:
        clients: The engines' clients.
        limit: Name of the option that limits it.

    Raises:
        ConfigError: The price of an engine's model is unknown.
    """
    for client in clients:
        if not client.pricer.is_known(client.base_url, client.model or ""):
            tier = client.config.extra_body.get("service_tier")
            raise ConfigError(
                f"engine {client.config.name!r}: {limit} cannot be kept, because the price of "
                f"{client.model or 'its model'}{f' in the service tier {tier!r}' if tier else ''} "
                f"is unknown: {_WAYS_OUT}{limit}"
            )

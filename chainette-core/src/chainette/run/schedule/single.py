"""Single rows of a chain, outside a run: for notebooks, web services and tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio

from chainette.engine.client.base import BaseClient
from chainette.engine.client.cache import ResponseCache, RunCache
from chainette.errors import ChainError
from chainette.events import NodeInfo, RunClosed, RunStarted
from chainette.pipeline.nodes.apply import ApplyNode, sees_all
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.pipeline import Pipeline
from chainette.registry.engines import client_for, get_engine_config
from chainette.reports.result import Leaf, Result, result_of
from chainette.run.control import RunControl
from chainette.run.cost import Ledger, engines_by_node
from chainette.run.events import with_plugins
from chainette.run.inputs.files import InputRow
from chainette.run.inputs.kept import Kept
from chainette.run.output.journal import Journal
from chainette.run.schedule import gc_tuning
from chainette.run.schedule.batches import Batches
from chainette.run.schedule.flow.asking import Engines
from chainette.run.schedule.flow.nodes import NodeRunner, PromptedSteps
from chainette.run.schedule.flow.row import RowRunner
from chainette.run.schedule.leases import Leases, check_prefills
from chainette.run.schedule.parking import Parking


class SingleRows:
    """Runs single rows of a chain; what is the same each time is built once.

    Engines stay open in an event loop until `aclose`, so that calls share their connections.

    Args:
        pipeline: The chain.

    Raises:
        ChainError: A function of the chain needs all rows.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        for step in pipeline.prompted:
            step.check_output()
        for reduce in pipeline.group_steps:
            raise ChainError(f"reduce {reduce.id!r} needs all rows: use run, not run_one")
        self._pipeline = pipeline
        self._infos = node_infos(pipeline)
        self._engines = engines_by_node(pipeline)
        self._batched = batched_nodes(pipeline)
        for node in self._batched:
            if node.batch == "all":
                raise ChainError(
                    f"{node.kind} {node.id!r} {sees_all(node)} and needs all rows: use run, not "
                    "run_one"
                )
        # A task group costs as much as all the rest; only branches, splits and batches need one.
        self._needs_tasks = not pipeline.has_only_steps
        self._open: dict[asyncio.AbstractEventLoop, Leases] = {}
        self._caches: dict[str, ResponseCache] = {}

    async def result(self, row: Any, cache: str | Path | None, max_chars: int) -> Result[Any]:
        """Run one row.

        Raises:
            ChainetteError: An engine is unknown or cannot be used.
        """
        control, end = RunControl(), _End()
        leases, clients = self._leases()
        emit = with_plugins()
        journal = Journal(self._pipeline, None, None, control, Ledger(self._engines, clients))
        answers = self._cache(cache)
        engines = Engines(clients, journal, leases, control, emit, answers, max_chars)
        steps = PromptedSteps(engines)
        emit(RunStarted(self._pipeline.name, self._infos, 1))
        with gc_tuning.relaxed(), closing(answers) if answers else nullcontext():
            async with anyio.create_task_group() if self._needs_tasks else nullcontext() as tasks:
                parking = Parking(control)
                batches = Batches(self._batched, tasks, journal, control)
                if self._batched:
                    control.attach(lambda: _flush(parking, batches))
                rows = RowRunner(
                    self._pipeline,
                    NodeRunner(steps, batches, journal, control, emit),
                    end,
                    leases=leases,
                    parking=parking,
                    tasks=tasks,
                    control=control,
                    emit=emit,
                )
                source = InputRow(0, row, "the row")
                await rows.run(source, leases.lease(self._pipeline.steps))
        emit(RunClosed(control.status))
        if (error := control.failure or control.stop_reason) is not None:
            raise error
        return result_of(self._pipeline, 0, end.leaves)

    async def full_result(self, row: Any, cache: str | Path | None, max_chars: int) -> Result[Any]:
        """Run one row, whose columns its result has, too; see `result`."""
        inputs = Kept("all").of(row)  # before a function can change it
        return replace(await self.result(row, cache, max_chars), inputs=inputs)

    async def aclose(self) -> None:
        """Close the engines that were used in the running event loop."""
        leases = self._open.pop(asyncio.get_running_loop(), None)
        if leases is not None:
            await leases.close()

    def _leases(self) -> tuple[Leases, Mapping[str, BaseClient]]:
        """The engines that are open in the running event loop, opened if necessary."""
        loop = asyncio.get_running_loop()
        leases = self._open.get(loop)
        clients = {
            name: client_for(get_engine_config(name)) for name in self._pipeline.engine_names
        }
        if leases is None or leases.clients != clients:
            for other in list(self._open):
                if other is loop or other.is_closed():
                    self._open.pop(other).forget(other)
            check_prefills(self._pipeline, clients)
            leases = self._open[loop] = Leases(self._pipeline, clients)
            leases.open()
        return leases, clients

    def _cache(self, folder: str | Path | None) -> RunCache | None:
        """The cache in a folder, for one row."""
        if folder is None:
            return None
        if (key := str(folder)) not in self._caches:
            self._caches[key] = ResponseCache(folder)
        return RunCache(self._caches[key])


class _End:
    """The recorder of one row."""

    def __init__(self) -> None:
        self.waiting: int = 0
        self.leaves: list[Leaf] = []

    def add(self, row_id: int, leaf: Leaf) -> None:
        """Keep the next end of the row."""
        self.leaves.append(leaf)

    def row_done(self, row_id: int) -> None:
        """Nothing is left to do."""


def _flush(parking: Parking, batches: Batches) -> None:
    """Start a batch that is not full, since there is only one row."""
    if parking.count and not batches.running:
        batches.flush()


def batched_nodes(pipeline: Pipeline) -> list[ApplyNode]:
    """The functions that take several items at a time."""
    nodes = pipeline.nodes.values()
    return [node for node in nodes if isinstance(node, ApplyNode) and node.batch is not None]


def calling(pipeline: Pipeline) -> list[str]:
    """The ids of the functions that call engines, and of the steps that take several answers."""
    nodes = pipeline.nodes.items()
    callers = {id for id, node in nodes if isinstance(node, ApplyNode) and node.engines}
    callers |= {it.id for it in pipeline.prompted if it.samples is not None}
    return [id for id in pipeline.nodes if id in callers]


def node_infos(pipeline: Pipeline) -> tuple[NodeInfo, ...]:
    """The nodes of a chain, as events describe them."""
    return tuple(
        NodeInfo(
            id,
            title=f"{node.emoji} {node.name}".strip(),
            engine=node.engine_name if isinstance(node, Step) else None,
            in_main_flow=id in pipeline.main_ids,
            on_groups=id in pipeline.group_ids,
        )
        for id, node in pipeline.nodes.items()
    )

"""The execution of a chain over its inputs, from the first row to the last file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from chainette.engine.client.base import BaseClient
from chainette.engine.client.cache import ResponseCache, RunCache
from chainette.engine.config import EngineConfig
from chainette.engine.context.rivals import warn_of_rivals
from chainette.errors import OutputDirError
from chainette.events import Listener, RunClosed, RunStarted
from chainette.folder.call_index import CallIndex
from chainette.folder.files import CALLS, MANIFEST, RunFolder, check_apart, check_place
from chainette.folder.lock import locked
from chainette.folder.manifest import check_resumable, continued, manifest, now
from chainette.folder.redo import Redo, set_aside
from chainette.folder.resume_index import ResumeIndex
from chainette.folder.rounds import set_rounds_aside
from chainette.folder.stale import set_fallbacks_aside, settle
from chainette.pipeline.pipeline import Pipeline
from chainette.registry.engines import client_for, get_engine_config
from chainette.reports.frames.chunks import require_pyarrow
from chainette.reports.result import Result
from chainette.reports.run import Run
from chainette.run.budget import Budget, ToleratedFailures, tolerates
from chainette.run.control import RunControl
from chainette.run.cost import Ledger, check_prices, engines_by_node, retried
from chainette.run.estimate.takeover import with_estimate
from chainette.run.events import with_plugins
from chainette.run.groups.phase import GroupPhase, Tools
from chainette.run.inputs.kept import Kept, kept_names
from chainette.run.inputs.source import InputSource
from chainette.run.options import RunOptions
from chainette.run.output.earlier import complete_run, selection
from chainette.run.output.journal import Journal
from chainette.run.output.parquet import frames_of, write_tables
from chainette.run.output.recorder import Recorder
from chainette.run.output.revalidation import revalidation
from chainette.run.schedule import gc_tuning
from chainette.run.schedule.batches import Batches
from chainette.run.schedule.flow.accounts import RowAccounts
from chainette.run.schedule.flow.asking import Engines
from chainette.run.schedule.flow.nodes import NodeRunner, PromptedSteps, StepRunner
from chainette.run.schedule.flow.row import RowRunner
from chainette.run.schedule.leases import Leases, check_prefills
from chainette.run.schedule.parking import Parking
from chainette.run.schedule.single import batched_nodes, calling, node_infos
from chainette.run.schedule.workers import Room, Workers

_logger = logging.getLogger(__name__)


class Executor:
    """One run of a chain.

    Args:
        pipeline: The chain.
        inputs: See `Chain.run`.
        listeners: Functions that receive events.
        results: The stream that every result is sent to, in place of `Run.results`.
        in_order: Whether results are sent in input order, or as rows finish.
        steps: The way to run steps; by default their engines are prompted.
        prompted: The way to prompt them.
        **options: See `RunOptions`.

    Attributes:
        control: Ends the run early.
        resumed_from: The status of the run that is resumed, or `None`.
        is_estimated: Whether it goes on from an estimate in its folder.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        inputs: Any,
        *,
        listeners: Sequence[Listener] = (),
        results: MemoryObjectSendStream[Result[Any]] | None = None,
        in_order: bool = True,
        steps: StepRunner | None = None,
        prompted: type[PromptedSteps] = PromptedSteps,
        **options: Any,
    ) -> None:
        self._options = settings = RunOptions(**options)
        self._kept = Kept(settings.keep) if settings.keep != "none" else None
        self._source = source_of(pipeline, inputs, settings, self._kept)
        if settings.fmt == "parquet":
            require_pyarrow()
        for step in pipeline.prompted:
            step.check_output()
        self._pipeline = pipeline
        self._configs = [get_engine_config(name) for name in pipeline.engine_names]
        self._clients = _clients(self._configs, settings)
        check_prefills(pipeline, self._clients)
        warn_of_rivals(self._clients.values())
        self._accounts = RowAccounts(settings.max_requests_per_row, settings.max_cost_per_row)
        self._cache = ResponseCache(settings.cache) if settings.cache is not None else None
        self._answers = RunCache(self._cache) if self._cache is not None else None
        self.control: RunControl = RunControl()
        self.control.attach_start(self._is_starting)
        self._complete: Run | None = None
        self.resumed_from: str | None = None
        self.is_estimated: bool = False
        self._uncached: Sequence[str] = ()
        with ExitStack() as locks:  # released if nothing can start
            self._open(results, in_order, locks)
            self._locks = locks.pop_all()
        self._leases = Leases(pipeline, self._clients)
        budget = Budget(settings.max_cost, settings.max_errors, self._ledger, self.control)
        self._emit = with_plugins(*listeners, budget, *self._more_listeners())
        self._steps = steps or self._prompted_steps(prompted)

    def _more_listeners(self) -> list[Listener]:
        """Those that only some runs have: the accounts of rows, and what the chain tolerates."""
        varies = any(step.asks.sampling for step in self._pipeline.prompted)
        accounts = [self._accounts] if self._accounts.is_limited or varies else []
        return [*accounts, *([ToleratedFailures()] if tolerates(self._pipeline) else [])]

    def _prompted_steps(self, prompted: type[PromptedSteps]) -> PromptedSteps:
        engines = Engines(
            self._clients,
            self._journal,
            self._leases,
            self.control,
            self._emit,
            self._answers,
            self._options.max_prompt_chars,
            self._uncached,
            self._accounts,
        )
        return prompted(engines)

    def _open(
        self,
        results: MemoryObjectSendStream[Result[Any]] | None,
        in_order: bool,
        locks: ExitStack,
    ) -> None:
        """Open the places that outputs go to."""
        pipeline, order = self._pipeline, self._source.order()
        self._ledger = Ledger(engines_by_node(pipeline), self._clients)
        fields: dict[str, Any] = {}
        folder, earlier, calls = None, None, None
        if self._options.output_dir is not None:
            fields = manifest(pipeline, self._configs, self._source.identity())
            fields |= {"selection": selection(self._options), "keep": kept_names(self._kept)}
            path = Path(self._options.output_dir)
            folder, earlier = self._open_folder(path, fields, locks, is_stream=results is not None)
            if earlier is not None and (callers := calling(pipeline)):
                calls = CallIndex(path, callers, on_line=self._count)
        self._journal = Journal(pipeline, folder, earlier, self.control, self._ledger, calls)
        if self._answers is not None:
            self._journal.on_stale = self._answers.uncount
        kept = self._journal.inputs = None if self._kept is None else self._kept.rows
        self._groups = GroupPhase(pipeline, folder, is_resumed=earlier is not None)
        self._recorder = Recorder(
            pipeline,
            folder,
            fields,
            self.control,
            order=order,
            inputs=kept,
            results=results,
            in_order=in_order,
        )
        # Groups of a stream that nothing is written of could be seen by no one.
        self._is_seen = results is None or folder is not None
        if pipeline.group_steps and not self._is_seen:
            ids = ", ".join(repr(reduce.id) for reduce in pipeline.group_steps)
            _logger.warning(
                "stream yields rows, not groups: without output_dir, those of %s are not made", ids
            )

    def _open_folder(
        self, path: Path, fields: dict[str, Any], locks: ExitStack, *, is_stream: bool
    ) -> tuple[RunFolder | None, ResumeIndex | None]:
        """The run's folder, and what an earlier run has finished in it."""
        options, nodes = self._entered(path, fields, locks), list(self._pipeline.nodes)
        redo, is_set_aside = self._redo(path, fields) if options.resumes else (Redo(), False)
        if not (is_stream or is_set_aside):
            origin = self._source.origin
            self._complete = complete_run(path, self._pipeline, fields, options, origin)
            if self._complete is not None:
                return None, None
        if options.retry_errors and (path / MANIFEST).exists():
            set_rounds_aside(path, self._pipeline)
        folder = RunFolder(
            path,
            [*nodes, *(f"{id}{CALLS}" for id in calling(self._pipeline))],
            resume=options.resumes,
            retry_errors=options.retry_errors,
            overwrite=options.overwrite,
            max_lines=options.max_lines_per_file,
        )
        if folder.earlier is None:
            return folder, None
        fields |= continued(folder.earlier, redo)
        self._uncached = fields.get("uncached", ())
        self.resumed_from = folder.earlier.get("status")
        self._ledger.add_redone(path)
        for id, line in retried(path):
            self._count(id, line)
        is_retry = options.retry_errors
        index = ResumeIndex(path, nodes, retry_errors=is_retry, reports=True, on_line=self._count)
        return folder, index

    def _entered(self, path: Path, fields: dict[str, Any], locks: ExitStack) -> RunOptions:
        """The options in the run's folder, which is locked; an estimate in it is taken over."""
        check_place(path)
        check_apart(path, self._source.paths)
        locks.enter_context(locked(path))
        options = with_estimate(path, fields, self._options)
        self.is_estimated, self._options = options is not self._options, options
        return options

    def _count(self, node_id: str, line: dict[str, Any]) -> None:
        """Count what a line of the run that is resumed cost, and its request."""
        cost = self._ledger.add_line(node_id, line)
        self._accounts.add_line(line, cost)
        if self._answers is not None:
            self._answers.count(line)

    def _redo(self, path: Path, fields: dict[str, Any]) -> tuple[Redo, bool]:
        """Set the lines of an earlier run aside that are to be made again, if there are any."""
        options, chain = self._options, self._pipeline
        if not (path / MANIFEST).exists():
            if options.redo:
                raise OutputDirError(f"{path}: holds no run, so there is nothing to redo")
            return Redo(), False
        redo = check_resumable(path, chain, fields, force=options.force, redo=options.redo)
        settle(path)
        is_set_aside = set_aside(path, chain, redo, revalidation(chain))
        if options.retry_errors:
            set_fallbacks_aside(path, chain)
        return redo, is_set_aside

    async def run(self) -> Run:
        """Run every row; see `Chain.arun`."""
        with self._locks:
            return self._complete or await self._run()

    async def _run(self) -> Run:
        start = perf_counter()
        status = "failed"
        self._leases.open()
        self._groups.reserve(self._leases)
        nodes = node_infos(self._pipeline)
        self._emit(RunStarted(self._pipeline.name, nodes, self._source.total()))
        try:
            with self.control.open():
                await self._start_engines()
                with gc_tuning.relaxed():
                    await self._run_rows()
                    await self._run_groups()
            if self.control.failure is not None:
                raise self.control.failure
            status = self.control.status
        except OutputDirError as error:  # the disk is full, or the folder is gone
            status, self.control.stop_reason = "stopped", error
            raise
        except anyio.get_cancelled_exc_class():
            status = "interrupted"
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._leases.close()
            try:
                self._close(status)
            finally:
                self._emit(RunClosed(status))
        return self._finished(perf_counter() - start)

    async def _start_engines(self) -> None:
        """Start the engines that are not lazy, if steps prompt them."""
        for config in self._configs:
            if not config.lazy and isinstance(self._steps, PromptedSteps):
                await self._clients[config.name].start()

    def _is_starting(self) -> bool:
        """Whether engines are being started, and none has answered yet."""
        clients = self._clients.values()
        has_answered = any(client.limits.answered_at is not None for client in clients)
        return not has_answered and any(client.is_starting() for client in clients)

    async def _run_rows(self) -> None:
        """Connect the rooms that a row passes through, and let rows in."""
        pipeline, control = self._pipeline, self.control
        async with anyio.create_task_group() as tasks:
            parking = Parking(control)
            batches = Batches(batched_nodes(pipeline), tasks, self._journal, control)
            nodes = NodeRunner(self._steps, batches, self._journal, control, self._emit)
            rows = RowRunner(
                pipeline,
                nodes,
                self._recorder,
                leases=self._leases,
                parking=parking,
                tasks=tasks,
                control=control,
                emit=self._emit,
                members=self._groups.members,
            )
            workers = Workers(
                rows.run,
                nodes=pipeline.steps,
                room=Room(pipeline, self._leases, self._recorder),
                leases=self._leases,
                batches=batches,
                parking=parking,
                tasks=tasks,
                control=control,
            )
            await workers.run(self._source.rows())

    async def _run_groups(self) -> None:
        """Run the groups, once every row has ended."""
        if self._is_seen and isinstance(self._steps, PromptedSteps) and self._steps.with_groups:
            tools = Tools(self._steps, self._journal, self._leases, self.control, self._emit)
            await self._groups.run(tools)

    def _close(self, status: str) -> None:
        end: dict[str, Any] = {"status": status, "ended": now()}
        if self.control.stop_reason is not None:
            end["stopped"] = str(self.control.stop_reason)
        self._accounts.close()
        if self._cache is not None and self._answers is not None:
            end["cache"] = {"hits": self._cache.hits, "misses": self._cache.misses}
            self._cache.close()
            self._answers.close()
        try:
            self._groups.close()
        except OutputDirError as error:
            end |= {"status": "stopped", "stopped": str(error)}
            raise
        finally:
            self._recorder.group_counts = self._groups.counts
            self._recorder.close(self._journal, end, self._ledger.costs)
        if self._options.fmt == "parquet" and self._recorder.path is not None:
            write_tables(self._recorder.path, self._pipeline, self._source.origin)

    def _finished(self, seconds: float) -> Run:
        control, recorder = self.control, self._recorder
        return Run(
            results=recorder.results,
            counts=recorder.counts,
            usage=self._ledger.usage,
            seconds=seconds,
            path=recorder.path,
            costs=self._ledger.costs,
            interrupted=control.status == "interrupted",
            signal=control.signal,
            stopped=control.stop_reason,
            lines=recorder.lines,
            frames=frames_of(self._pipeline, recorder.lines, self._source.origin),
            node_ids=(*self._pipeline.nodes,),
            items=self._journal.items.counts(self._pipeline),
            group_results=self._groups.results(),
        )


def source_of(
    pipeline: Pipeline, inputs: Any, options: RunOptions, kept: Kept | None = None
) -> InputSource:
    """The rows that a run with these options takes from inputs, with the columns to keep."""
    return InputSource(
        inputs,
        limit=options.limit,
        sample=options.sample,
        columns=options.columns,
        keep=kept,
        encoding=options.encoding,
        delimiter=options.delimiter,
        model=pipeline.input_model,
        adapter=pipeline.input_adapter,
    )


def _clients(configs: Iterable[EngineConfig], options: RunOptions) -> dict[str, BaseClient]:
    """The engines' clients by name.

    Raises:
        ConfigError: A limit of the cost cannot be kept, because the price of a model is unknown.
    """
    clients = {config.name: client_for(config) for config in configs}
    for limit in ("max_cost", "max_cost_per_row"):
        if getattr(options, limit) is not None:
            check_prices(clients.values(), limit)
    return clients

"""Runs rows through a chain, each by itself, a bounded number at a time."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import anyio.abc
from pydantic import TypeAdapter, ValidationError

from chainette.engine import telemetry
from chainette.engine.cache import ResponseCache
from chainette.engine.registry import get_engine_config
from chainette.errors import ChainetteError, InputError
from chainette.pipeline.apply import ApplyNode
from chainette.pipeline.chain import Chain
from chainette.run import collector
from chainette.run.activity import Activity
from chainette.run.batches import Batches
from chainette.run.budget import Budget
from chainette.run.cost import costs
from chainette.run.events import Observer
from chainette.run.files import RunFiles
from chainette.run.hugging_face import is_dataset, open_dataset
from chainette.run.inputs import InputRow, check_file, count_inputs, read_rows, require_pyarrow
from chainette.run.journal import Journal
from chainette.run.listeners import with_listeners
from chainette.run.manifest import check_resumable, continued, manifest, now
from chainette.run.nodes import NodeRunner
from chainette.run.options import RunOptions
from chainette.run.parquet import write_tables
from chainette.run.reach import Hold, Reach
from chainette.run.recorder import Recorder
from chainette.run.results import Run
from chainette.run.selection import choose, select
from chainette.run.sink import Sink
from chainette.run.walk import Leaf, Scope, Walk
from chainette.run.workers import Workers
from chainette.validation import summary

ROWS = 64
"""Rows in flight in a chain without engines."""
GRACE = 30.0
"""Seconds that rows in flight get to finish after Ctrl-C."""


class Executor:
    """One run of a chain.

    Args:
        chain: The chain.
        inputs: See `Chain.run`.
        observer: Is told what happens.
        sink: Gets every result as soon as it is there, instead of `Run.results`.
        **options: See `RunOptions`.
    """

    runner: type[NodeRunner] = NodeRunner
    """What runs the nodes."""

    def __init__(
        self,
        chain: Chain,
        inputs: Any,
        *,
        observer: Observer | None = None,
        sink: Sink | None = None,
        **options: Any,
    ) -> None:
        self._options = RunOptions(**options)
        self._named = inputs
        if is_dataset(inputs):
            inputs = open_dataset(inputs)
        elif isinstance(inputs, str | Path):
            check_file(inputs)
        if self._options.fmt == "parquet":
            require_pyarrow()
        for step in chain.prompted:
            step.check_output()
        self._chain = chain
        self._inputs = inputs
        self._limit = self._options.limit
        self._chosen = choose(inputs, self._options.sample, self._options.limit)
        self._observer = with_listeners(observer or Observer())
        self._sink = sink
        self._adapter: TypeAdapter[Any] = TypeAdapter(chain.input_model)
        self._configs = [get_engine_config(name) for name in chain.engine_names]
        self._clients = {config.name: config.engine for config in self._configs}
        self._requests = sum(config.max_concurrency for config in self._configs) or ROWS
        self._only_asks_one = len(self._configs) == 1 and chain.steps == chain.prompted
        folder = self._options.cache
        self._cache = ResponseCache(folder) if folder is not None else None
        self._recorder = self._open()
        self._reach = Reach(chain, self._clients)
        self.nodes = self.runner(
            self._clients,
            self._recorder,
            self._observer,
            self._give_up,
            self.stop,
            self._reach,
            self._moved,
            self._cache,
        )
        self._budget = Budget(self._options.max_cost, self._options.max_errors)
        self._parked = 0
        self._workers = Workers(
            self._run_row,
            lambda: self._reach.hold(chain.steps),
            self._has_room,
            self._moved,
            ahead=max(self._requests, 4),
        )
        self._changed = anyio.Event()
        self._exhausted = False
        self._stopping = False
        self._fatal: Exception | None = None
        self._stopped: Exception | None = None
        self._abandoned = False

    def _open(self) -> Recorder:
        """Open the run's folder, or none."""
        chain, options = self._chain, self._options
        start = manifest(chain, self._configs, self._named, self._inputs)
        if options.output_dir is None:
            return Recorder(chain, None, start, sink=self._sink, order=self._order())
        path = Path(options.output_dir)
        check_resumable(path, start, resume=options.resumes, force=options.force)
        files = RunFiles(path, list(chain.nodes), options)
        journal = None
        if files.earlier is not None:
            journal = Journal(path, chain.nodes, retry_errors=options.retry_errors)
            start |= continued(files.earlier)
        return Recorder(
            chain, files, start, journal, self._sink, self._order(), give_up=self._give_up
        )

    def _order(self) -> Iterator[int]:
        """The row ids in the order of the inputs."""
        return itertools.count() if self._chosen is None else iter(sorted(self._chosen))

    async def run(self) -> Run:
        """Run every row; see `Chain.arun`."""
        begun = perf_counter()
        status = "failed"
        self._reach.enter()
        self._observer.run_started(self._chain, self._expected())
        try:
            with anyio.CancelScope() as self._scope:
                await self._start_engines()
                with collector.relaxed():
                    await self._work()
            if self._fatal is not None:
                raise self._fatal
            status = self._status()
        except anyio.get_cancelled_exc_class():
            status = "interrupted"
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._reach.leave()
            try:
                self._close(status)
            finally:
                self._observer.run_closed()
        return self._finished(perf_counter() - begun)

    def interrupt(self) -> None:
        """Take no more rows and give those in flight `GRACE` seconds; at once the second time."""
        if self._stopping:
            self._scope.cancel()
        self._stopping = True
        self._scope.deadline = min(self._scope.deadline, anyio.current_time() + GRACE)
        self._workers.forget()
        self._changed.set()

    def stop(self, reason: Exception) -> None:
        """End the run at once, so that it can be resumed; what is in flight cannot succeed."""
        self._stopped = self._stopped or reason
        self._abandoned = True
        self._scope.cancel()

    def _status(self) -> str:
        if self._stopped is not None:
            return "stopped"
        return "interrupted" if self._stopping else "finished"

    def make_room(self) -> None:
        """The sink has been emptied a little."""
        self._workers.begin()
        self._changed.set()

    async def _start_engines(self) -> None:
        """Start the engines that are not lazy."""
        for config in self._configs:
            if not config.lazy:
                await self._clients[config.name].start()

    async def _work(self) -> None:
        """Take rows as long as there is room for them; what is in flight ends by itself."""
        batched = [
            node
            for node in self._chain.nodes.values()
            if isinstance(node, ApplyNode) and node.batch is not None
        ]
        async with aclosing(self._rows()) as rows, anyio.create_task_group() as tasks:
            self._tasks = self._workers.tasks = tasks
            self.nodes.batches = Batches(batched, tasks, self._moved)
            while (row := await self._take(rows)) is not None:
                self._workers.add(row)
            while self._workers.has_rows:
                await self._wait()
            self._exhausted = True
            self._reach.no_more_rows(tasks)
            self._moved()

    async def _rows(self) -> AsyncGenerator[InputRow, None]:
        last = self._limit if self._chosen is None else len(self._chosen)
        taken = 0
        if last == 0:
            return
        async with aclosing(read_rows(self._inputs)) as rows:
            async for row in rows:
                if self._chosen is not None and row.row_id not in self._chosen:
                    continue
                yield select(row, self._options.columns)
                taken += 1
                if taken == last:
                    return

    async def _take(self, rows: AsyncIterator[InputRow]) -> InputRow | None:
        """The next row, once one should be read."""
        while not (self._stopping or self._workers.wants_rows):
            await self._wait()
        try:
            return None if self._stopping else await anext(rows, None)
        except Exception as error:  # of the user's iterable, or the file
            self._give_up(error)
            return None

    async def _wait(self) -> None:
        self._changed = anyio.Event()
        await self._changed.wait()

    def _has_room(self) -> bool:
        """Rows that wait in batches take no room: only further rows can help them."""
        if self._sink is not None and self._sink.is_full:
            return False
        active = self._workers.busy - self._parked
        most = self._requests + self._spare()
        return active == 0 or (active < most and self._recorder.held < 8 * self._requests)

    def _spare(self) -> int:
        """How many more rows than requests there may be, so that no engine lacks one.

        A row that only goes from one step of an engine to the next is always there, and more would
        only queue; unless it waits to be sent again.
        """
        if not self._only_asks_one:
            return self._requests if self._clients else 0
        (client,) = self._clients.values()
        return min(client.limits.backing_off, self._requests)

    def _moved(self) -> None:
        """Something happened that may make room, or that nothing further comes after."""
        workers, batches = self._workers, self.nodes.batches
        workers.begin()
        if workers.runs_low:
            self._changed.set()
        idle = workers.busy == self._parked and batches is not None and not batches.running
        if not (self._exhausted and idle and workers.busy):
            return
        assert batches is not None
        if not batches.flush(partial=self._stopping) and self._stopping:
            self._scope.cancel()  # what is left waits for rows that will not come

    def _park(self, change: int) -> None:
        self._parked += change
        if change > 0:
            self._moved()

    async def _run_row(self, source: InputRow, hold: Hold) -> None:
        try:
            with telemetry.row(self._chain.name, source.row_id):
                leaves = await self._walk(source, hold)
            if self._fatal is None and not self._abandoned:
                self._recorder.row_done(source.row_id, leaves)
                self._observer.row_finished(all(leaf.error is None for leaf in leaves))
                self._check_budget()
        except Exception as error:  # the disk, or a defect: no row can go on
            self._give_up(error)

    async def _walk(self, source: InputRow, hold: Hold) -> list[Leaf]:
        try:
            value = self._read(source)
        except ChainetteError as error:
            self._recorder.failed(source.row_id, (), None, error)
            self._observer.node_failed("", source.row_id, "", error)
            hold.end()
            return [Leaf((), error=error)]
        walk = Walk(self.nodes, source.row_id, self._tasks, Activity(self._park))
        scope = Scope((), hold, {"chain_input": value})
        return await walk.flow(self._chain.steps, value, scope)

    def _read(self, source: InputRow) -> Any:
        """Validate an input row."""
        if source.error is not None:
            raise source.error
        try:
            return self._adapter.validate_python(source.value)
        except ValidationError as error:
            raise InputError(f"{source.place}: {summary(error)}") from None

    def _check_budget(self) -> None:
        """Take no more rows when too many have failed, or too much is spent."""
        if self._stopping:
            return
        self._stopped = self._budget.exceeded(self._recorder.counts, self._costs)
        if self._stopped is not None:
            self.interrupt()

    def _give_up(self, error: Exception) -> None:
        self._fatal = self._fatal or error
        self._scope.cancel()

    def _expected(self) -> int | None:
        """How many rows there will be, where that is known."""
        if self._chosen is not None:
            return len(self._chosen)
        total = count_inputs(self._inputs)
        if self._limit is not None:
            return self._limit if total is None else min(total, self._limit)
        return total

    def _close(self, status: str) -> None:
        end: dict[str, Any] = {"status": status, "ended": now()}
        if self._stopped is not None:
            end["stopped"] = str(self._stopped)
        if self._cache is not None:
            end["cache"] = {"hits": self._cache.hits, "misses": self._cache.misses}
            self._cache.close()
        self._recorder.close(end, self._costs())
        if self._options.fmt == "parquet" and self._recorder.path is not None:
            write_tables(self._recorder.path, self._chain.nodes)

    def _costs(self) -> dict[str, Decimal | None]:
        return costs(self._chain, self._clients, self._recorder.usage)

    def _finished(self, seconds: float) -> Run:
        recorder = self._recorder
        return Run(
            results=recorder.results,
            counts=recorder.counts,
            usage=recorder.usage,
            seconds=seconds,
            path=recorder.path,
            costs=self._costs(),
            interrupted=self._stopping and self._stopped is None,
            stopped=self._stopped,
            lines=recorder.lines,
        )

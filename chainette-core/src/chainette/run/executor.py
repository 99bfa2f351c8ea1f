"""Runs rows through a chain, each by itself, a bounded number at a time."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
from pydantic import TypeAdapter, ValidationError

from chainette.engine.client import run_sync
from chainette.engine.registry import get_engine_config
from chainette.errors import ChainError, ChainetteError, EngineError, InputError
from chainette.pipeline.chain import Chain
from chainette.pipeline.step import Step
from chainette.run.events import Observer
from chainette.run.files import RunFiles
from chainette.run.inputs import InputRow, check_file, count_rows, read_rows
from chainette.run.manifest import manifest, now
from chainette.run.recorder import Recorder, RowOutcome
from chainette.run.results import Run
from chainette.validation import summary

GRACE = 30.0
"""Seconds that rows in flight get to finish after Ctrl-C."""


class Executor:
    """One run of a chain.

    Args:
        chain: The chain.
        inputs: See `Chain.run`.
        output_dir: Folder for the run's files.
        limit: Most input rows to take.
        overwrite: Replace an earlier run.
        max_lines_per_file: Lines of a file before a new one begins.
        observer: Is told what happens.
    """

    def __init__(
        self,
        chain: Chain,
        inputs: Any,
        *,
        output_dir: str | Path | None = None,
        limit: int | None = None,
        overwrite: bool = False,
        max_lines_per_file: int = 100_000,
        observer: Observer | None = None,
    ) -> None:
        if isinstance(inputs, str | Path):
            check_file(inputs)
        for step in chain.steps:
            step.check_output()
        self._chain = chain
        self._inputs = inputs
        self._limit = limit
        self._observer = observer or Observer()
        self._adapter: TypeAdapter[Any] = TypeAdapter(chain.input_model)
        self._configs = [get_engine_config(name) for name in chain.engine_names]
        self._clients = {config.name: config.engine for config in self._configs}
        # A row is in one step at a time: so many rows keep every engine full.
        self._workers = sum(config.max_concurrency for config in self._configs)
        self._most_held = 4 * self._workers
        start = manifest(chain, self._configs, inputs)
        files = None
        if output_dir is not None:
            ids = [step.id for step in chain.steps]
            files = RunFiles(Path(output_dir), ids, max_lines_per_file, overwrite)
        self._recorder = Recorder(chain, files, start)
        self._answered: set[str] = set()
        self._stopping = False
        self._fatal: Exception | None = None

    async def run(self) -> Run:
        """Run every row; see `Chain.arun`."""
        begun = perf_counter()
        status = "failed"
        self._observer.run_started(self._chain, self._expected())
        try:
            with anyio.CancelScope() as self._scope:
                await self._start_engines()
                await self._work()
            if self._fatal is not None:
                raise self._fatal
            status = "interrupted" if self._stopping else "finished"
        finally:
            with anyio.CancelScope(shield=True):
                for client in self._clients.values():
                    await client.aclose()
            self._recorder.close(status, now())
            self._observer.run_closed()
        return self._finished(perf_counter() - begun)

    def interrupt(self) -> None:
        """Take no more rows and give those in flight `GRACE` seconds; at once the second time."""
        if self._stopping:
            self._scope.cancel()
        self._stopping = True
        self._scope.deadline = min(self._scope.deadline, anyio.current_time() + GRACE)

    async def _start_engines(self) -> None:
        """Start the engines that are not lazy."""
        for config in self._configs:
            if not config.lazy:
                await self._clients[config.name].start()

    async def _work(self) -> None:
        self._released = anyio.Event()
        self._reading = anyio.Lock()
        async with aclosing(self._rows()) as rows, anyio.create_task_group() as workers:
            for _ in range(self._workers):
                workers.start_soon(self._worker, rows)

    async def _rows(self) -> AsyncGenerator[InputRow, None]:
        if self._limit == 0:
            return
        async with aclosing(read_rows(self._inputs)) as rows:
            async for row in rows:
                yield row
                if self._limit is not None and row.row_id + 1 >= self._limit:
                    return

    async def _worker(self, rows: AsyncIterator[InputRow]) -> None:
        try:
            while (row := await self._take(rows)) is not None:
                outcome = await self._run_row(row)
                if self._fatal is not None:
                    return
                self._recorder.row_done(outcome)
                self._observer.row_finished(outcome.error is None)
                self._released.set()
                self._released = anyio.Event()
        except Exception as error:  # the source of rows, or the disk: no row can go on
            self._give_up(error)

    async def _take(self, rows: AsyncIterator[InputRow]) -> InputRow | None:
        """The next row, once not too many finished ones wait for a slow one."""
        while self._recorder.held >= self._most_held:
            await self._released.wait()
        async with self._reading:
            return None if self._stopping else await anext(rows, None)

    async def _run_row(self, source: InputRow) -> RowOutcome:
        row = RowOutcome(source.row_id)
        try:
            value = self._read(source)
            seen = {"chain_input": value}
            for step in self._chain.steps:
                row.step = step
                value = await self._run_step(step, row.row_id, seen, value)
                seen[step.id] = row.outputs[step.id] = value
        except ChainetteError as error:
            row.error = error
        return row

    def _read(self, source: InputRow) -> Any:
        """Validate an input row."""
        if source.error is not None:
            raise source.error
        try:
            return self._adapter.validate_python(source.value)
        except ValidationError as error:
            raise InputError(f"{source.place}: {summary(error)}") from None

    async def _run_step(self, step: Step, row_id: int, seen: dict[str, Any], value: Any) -> Any:
        try:
            messages = step.messages(seen, value)
        except ChainError:
            self._observer.step_finished(step.id, False, None)
            raise
        client = self._clients[step.engine_name]
        output = await client.complete(messages, step.sampling, output_model=step.output_model)
        if output.error is not None and self._is_unusable(step, output.error):
            self._give_up(output.error)
        else:
            self._answered.add(step.engine_name)
        self._recorder.step_done(row_id, step, output)
        self._observer.step_finished(step.id, output.error is None, output.usage)
        if output.error is not None:
            raise output.error
        return output.outputs[0].parsed

    def _is_unusable(self, step: Step, error: EngineError) -> bool:
        """Whether an engine that never answered must be expected not to answer any row."""
        return error.unusable and step.engine_name not in self._answered

    def _give_up(self, error: Exception) -> None:
        self._fatal = self._fatal or error
        self._scope.cancel()

    def _expected(self) -> int | None:
        """How many rows there will be, where that is known."""
        if isinstance(self._inputs, str | Path):
            total = count_rows(self._inputs)
        else:
            total = len(self._inputs) if hasattr(self._inputs, "__len__") else None
        if self._limit is not None:
            return self._limit if total is None else min(total, self._limit)
        return total

    def _finished(self, seconds: float) -> Run:
        recorder = self._recorder
        return Run(
            results=recorder.results,
            counts=recorder.counts,
            usage=recorder.usage,
            seconds=seconds,
            path=recorder.path,
            interrupted=self._stopping,
        )


async def arun_chain(chain: Chain, inputs: Any, **options: Any) -> Run:
    """Run a chain in the running event loop; see `Chain.arun`."""
    return await Executor(chain, inputs, **options).run()


def run_chain(chain: Chain, inputs: Any, **options: Any) -> Run:
    """Run a chain to its end; see `Chain.run`."""
    run = run_sync(lambda: run_until_interrupted(Executor(chain, inputs, **options)))
    if run.interrupted:
        raise KeyboardInterrupt
    return run


async def run_until_interrupted(executor: Executor) -> Run:
    """Run, where a first Ctrl-C stops taking rows and a second one gives up those in flight."""
    if threading.current_thread() is not threading.main_thread():
        return await executor.run()

    async def watch() -> None:
        with anyio.open_signal_receiver(signal.SIGINT) as signals:
            async for _ in signals:
                executor.interrupt()

    finished: list[Run] = []
    failed: list[Exception] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        try:
            finished.append(await executor.run())
        except Exception as error:  # raised below, outside the group, as itself
            failed.append(error)
        tasks.cancel_scope.cancel()
    if failed:
        raise failed[0]
    return finished[0]

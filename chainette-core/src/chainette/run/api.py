"""Whole runs and streams of results, for callers with and without an event loop."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio

from chainette.engine.client.sync import run_sync
from chainette.pipeline.nodes.apply import ApplyNode, sees_all
from chainette.pipeline.pipeline import Pipeline
from chainette.reports.result import Result
from chainette.reports.run import Run
from chainette.run.executor import Executor
from chainette.run.progress.displays import Progress, listeners
from chainette.run.schedule.single import SingleRows

_logger = logging.getLogger(__name__)


async def arun(
    pipeline: Pipeline, inputs: Any, *, progress: Progress = "auto", **options: Any
) -> Run:
    """Run a chain in the running event loop; see `Chain.arun`."""
    shown = listeners(progress)
    return _checked(await Executor(pipeline, inputs, listeners=shown, **options).run())


def run(pipeline: Pipeline, inputs: Any, *, progress: Progress = "auto", **options: Any) -> Run:
    """Run a chain to its end; see `Chain.run`."""
    shown = listeners(progress)

    async def call() -> Run:
        return await run_until_interrupted(Executor(pipeline, inputs, listeners=shown, **options))

    finished = run_sync(call)
    if finished.interrupted:
        if finished.signal in (None, signal.SIGINT):
            raise KeyboardInterrupt
        raise SystemExit(128 + (finished.signal or 0))
    return _checked(finished)


def run_one(
    rows: SingleRows, row: Any, full: bool, cache: str | Path | None, max_prompt_chars: int
) -> Any:
    """Run a chain on one row; see `Chain.run_one`."""

    async def result() -> Result[Any]:
        try:
            call = rows.full_result if full else rows.result
            return await call(row, cache, max_prompt_chars)
        finally:
            await rows.aclose()

    found = run_sync(result)
    return found if full else found.unwrap()


async def stream(
    pipeline: Pipeline,
    inputs: Any,
    *,
    in_order: bool,
    progress: Progress = "auto",
    **options: Any,
) -> AsyncGenerator[Result[Any], None]:
    """Run a chain and yield the result of every row; see `Chain.stream`."""
    nodes = [it for it in pipeline.nodes.values() if isinstance(it, ApplyNode) and it.waits_for_all]
    reasons = [
        f"{kind} {' and '.join(repr(it.id) for it in nodes if it.kind == kind)} {why}"
        for kind, why in sorted({(it.kind, sees_all(it)) for it in nodes})
    ]
    if reasons:
        _logger.warning(
            "stream: every result comes at the end, once all rows were read, since %s",
            ", and ".join(reasons),
        )
    send, receive = anyio.create_memory_object_stream[Result[Any]](math.inf)
    with send, receive:
        shown = listeners(progress)
        executor = Executor(
            pipeline, inputs, listeners=shown, results=send, in_order=in_order, **options
        )
        # A task of its own: a generator must not hold a task group open where it yields.
        task = asyncio.ensure_future(executor.run())
        task.add_done_callback(lambda _: send.close())
        try:
            async for result in receive:
                executor.control.wake()
                yield result
            if (stopped := (await task).stopped) is not None:
                raise stopped
        finally:
            if not task.done():  # the caller has had enough
                task.cancel()
                await asyncio.wait([task])


async def run_until_interrupted(executor: Executor) -> Run:
    """Run, and on a signal such as Ctrl-C take no more rows; on a second, give up the others.

    Only the main thread receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return await executor.run()

    async def watch() -> None:
        with anyio.open_signal_receiver(*_signals()) as signals:
            async for number in signals:
                is_second = executor.control.is_draining
                executor.control.interrupt(number)
                if is_second:  # a third one is left to the operating system
                    return

    runs: list[Run] = []
    errors: list[Exception] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        try:
            runs.append(await executor.run())
        except Exception as error:  # raised below, outside the group, as itself
            errors.append(error)
        tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]
    return runs[0]


def _signals() -> list[signal.Signals]:
    """Ctrl-C, and what schedulers and closed terminals send, unless the user wants them otherwise.

    `nohup` has them ignored, and a program can have handlers of its own.
    """
    wanted = [] if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else [signal.SIGINT]
    others = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    return wanted + [it for it in others if it and signal.getsignal(it) is signal.SIG_DFL]


def _checked(run: Run) -> Run:
    """The run, with a warning if it is not complete."""
    if run.stopped is not None:
        _logger.warning("the run was stopped: %s; resume it to continue", run.stopped)
    return run

"""Whole runs, for callers with and without an event loop, and Ctrl-C."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

import anyio

from chainette.engine.sync import run_sync
from chainette.pipeline.chain import Chain
from chainette.run.executor import Executor
from chainette.run.results import Run

logger = logging.getLogger(__name__)


async def arun_chain(chain: Chain, inputs: Any, **options: Any) -> Run:
    """Run a chain in the running event loop; see `Chain.arun`."""
    return _told(await Executor(chain, inputs, **options).run())


def run_chain(chain: Chain, inputs: Any, **options: Any) -> Run:
    """Run a chain to its end; see `Chain.run`."""
    run = run_sync(lambda: run_until_interrupted(Executor(chain, inputs, **options)))
    if run.interrupted:
        raise KeyboardInterrupt
    return _told(run)


def _told(run: Run) -> Run:
    """The run; a warning says so if it is not a whole one."""
    if run.stopped is not None:
        logger.warning("the run was stopped: %s; resume it to go on", run.stopped)
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

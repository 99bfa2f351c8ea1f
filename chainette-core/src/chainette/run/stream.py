"""Results one by one, while the run goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from chainette.pipeline.chain import Chain
from chainette.run.executor import Executor
from chainette.run.sink import Sink
from chainette.types import Result


async def stream(
    chain: Chain, inputs: Any, *, in_order: bool, **options: Any
) -> AsyncGenerator[Result[Any], None]:
    """Run a chain and yield every row's result; see `Chain.stream`."""
    sink = Sink(in_order=in_order)
    executor = Executor(chain, inputs, sink=sink, **options)
    # A task of its own: a generator must not hold a task group open where it yields.
    run = asyncio.ensure_future(executor.run())
    run.add_done_callback(lambda _: sink.close())
    try:
        while (result := await sink.take()) is not None:
            executor.make_room()
            yield result
        if (stopped := (await run).stopped) is not None:
            raise stopped
    finally:
        if not run.done():  # whoever took the results has had enough
            run.cancel()
            await asyncio.wait([run])

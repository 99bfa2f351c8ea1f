"""CPU of single rows, against rows of one long run, in alternating rounds of one process.

python benchmarks/one_row.py [ROUNDS]

Needs nginx, which gives every request the same answer.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Awaitable, Callable
from time import process_time

import servers
from chainette import Chain, Step, register_engine
from clients.work import MODEL, PROMPT, SYSTEM, Answer
from pydantic import BaseModel

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 7
ROWS = 1000
ROW = {"text": "The lamp is bright, and it arrived a day early."}


class Row(BaseModel):
    text: str


def chain(url: str) -> Chain[Row, Answer]:
    register_engine("e", backend="openai", api="chat", api_key="none", model=MODEL, endpoint=url)
    step = Step(
        id="label",
        input_model=Row,
        output_model=Answer,
        engine_name="e",
        system_prompt=SYSTEM,
        user_prompt=PROMPT.replace("{text}", "{{ text }}"),
    )
    return Chain(name="labels", steps=step)


async def cpu_of(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of CPU for each of `ROWS` rows."""
    before = process_time()
    await work()
    return (process_time() - before) * 1000 / ROWS


async def measure(labels: Chain[Row, Answer]) -> dict[str, list[float]]:
    async def run() -> None:
        finished = await labels.arun(ROW for _ in range(ROWS))
        assert finished.counts.ok == ROWS

    async def one_by_one() -> None:
        for _ in range(ROWS):
            await labels.arun_one(ROW)

    async def run_of_one_in_flight() -> None:
        register_engine("e", **(engine | {"max_concurrency": 1}))
        await run()
        register_engine("e", **engine)

    async def at_once() -> None:
        await asyncio.gather(*(labels.arun_one(ROW) for _ in range(ROWS)))

    from chainette import get_engine_config

    config = get_engine_config("e")
    engine = {"backend": "openai", "api": "chat", "api_key": "none"}
    engine |= {"model": config.model, "endpoint": config.endpoint}
    kinds = {
        "a run of 1,000 rows": run,
        "a run of 1,000 rows, 1 in flight": run_of_one_in_flight,
        "arun_one, one after another": one_by_one,
        "arun_one, 1,000 at once": at_once,
    }
    figures: dict[str, list[float]] = {name: [] for name in kinds}
    for work in kinds.values():
        await work()
    for _ in range(ROUNDS):
        for name, work in kinds.items():
            figures[name].append(await cpu_of(work))
    await labels.aclose()
    return figures


def main() -> None:
    with servers.nginx() as url:
        labels = chain(url)
        figures = asyncio.run(measure(labels))
        before = process_time()
        for _ in range(100):
            labels.run_one(ROW)
        figures["run_one, with its own event loop"] = [(process_time() - before) * 10]
    for name, values in figures.items():
        spread = f"({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
        print(f"{name:<36}{statistics.median(values):.3f} ms of CPU a row {spread}")
    run, single_run, single, at_once, _ = figures.values()
    pairs = zip(single, single_run, strict=True)
    above = statistics.median(one - long for one, long in pairs)
    ratio = statistics.median(many / long for many, long in zip(at_once, run, strict=True))
    print(f"arun_one above a row of a run, 1 in flight: {above:.3f} ms (bar: 0.3)")
    print(f"1,000 calls at once over a run of 1,000 rows: {ratio:.2f} (bar: 1.3)")


if __name__ == "__main__":
    main()

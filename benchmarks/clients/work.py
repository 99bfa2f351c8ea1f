"""The work of every client, and its measurement.

Rows are read from a file, put into a prompt, answered with JSON of one schema, validated, and
written to a file. A client is a script: it imports this module first, then its own library, and
calls `measure`. Its command line is `URL ROWS IN_FLIGHT INPUTS OUTPUT`.
"""

from __future__ import annotations

import time

START = time.perf_counter()

import asyncio  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from collections.abc import Awaitable, Callable, Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Literal  # noqa: E402

from pydantic import BaseModel  # noqa: E402

MODEL = "gpt-4o-mini"
SYSTEM = "You label what customers wrote. Answer with JSON."
PROMPT = "Which label fits this text, how sure are you, and why?\n\n{text}"
TIMEOUT = 120.0


class Answer(BaseModel):
    """The answer to one request."""

    label: Literal["positive", "negative", "neutral"]
    score: int
    reason: str
    keywords: list[str]


Ask = Callable[[str], Awaitable[Answer]]


@dataclass
class Job:
    """The work for a client.

    Attributes:
        url: Base URL of an API like OpenAI's, `/v1` included.
        rows: Number of rows to read.
        in_flight: Number of requests to send at a time.
        inputs: File of rows, JSON lines with a text each.
        output: File, or folder, to write.
    """

    url: str
    rows: int
    in_flight: int
    inputs: Path
    output: Path

    def prompts(self) -> Iterator[str]:
        """The prompts, read and rendered one after another."""
        with self.inputs.open("rb") as file:
            for _, line in zip(range(self.rows), file, strict=False):
                yield PROMPT.format(text=json.loads(line)["text"])


async def ask_all(job: Job, ask: Ask) -> None:
    """Ask for every row with as many workers as requests may be in flight, and write the answers.

    This is the minimum of code around a library that answers one prompt at a time.
    """
    left = enumerate(job.prompts())
    with job.output.open("w", encoding="utf-8") as file:

        async def work() -> None:
            for row_id, prompt in left:
                answer = await ask(prompt)
                line = {"row_id": row_id, "output": answer.model_dump()}
                file.write(json.dumps(line) + "\n")

        await asyncio.gather(*(work() for _ in range(job.in_flight)))


def cpu_seconds() -> float:
    """Seconds of CPU of this process, its threads, and the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(it.ru_utime + it.ru_stime for it in used)


def measure(run: Callable[[Job], None], cpu_seconds: Callable[[], float] = cpu_seconds) -> None:
    """Run a job and print its measurements as one line of JSON.

    A few rows run first, so that one-time work is not measured.
    """
    imported = time.perf_counter() - START
    url, rows, in_flight, inputs, output = sys.argv[1:6]
    job = Job(url, int(rows), int(in_flight), Path(inputs), Path(output))
    run(Job(url, min(job.rows, 100), job.in_flight, job.inputs, job.output))
    start, cpu = time.perf_counter(), cpu_seconds()
    run(job)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"cpu_ms": 1000 * cpu / job.rows, "rows_s": job.rows / seconds}
    print(json.dumps(result | {"peak_mb": peak, "import_s": imported}), flush=True)

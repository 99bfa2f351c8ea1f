"""CPU of a run over data frames, of keeping the inputs' columns, and of a run as a data frame.

python benchmarks/frames.py [ROWS] [ROUNDS] [CASE …]

Every case is run to disk in a process of its own against a fast server, in alternating rounds with
what it is compared with: a list of dicts, or keep="none".
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from time import process_time
from typing import Any

import servers
from chainette import Chain, Step, register_engine
from pydantic import BaseModel

SHORT, LONG = 60, 1000
"""Characters of the texts of a row."""


class Row(BaseModel):
    text: str


class Answer(BaseModel):
    label: str
    score: int


def rows(count: int, length: int) -> list[dict[str, Any]]:
    words = "some words of a row " * (length // 20)
    return [{"id": n, "text": f"{words}{n}", "stars": n % 5, "share": n / 7} for n in range(count)]


def as_pandas(given: list[dict[str, Any]]) -> Any:
    import pandas as pd

    return pd.DataFrame(given)


def as_polars(given: list[dict[str, Any]]) -> Any:
    import polars as pl

    return pl.DataFrame(given)


def as_arrow(given: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    return pa.Table.from_pylist(given)


MAKERS = {"pandas": as_pandas, "polars": as_polars, "arrow": as_arrow, "list": list}
CASES: dict[str, tuple[str, str]] = {
    "pandas": ("list", "a list of dicts"),
    "polars": ("list", "a list of dicts"),
    "arrow": ("list", "a list of dicts"),
    "keep": ("none", 'keep="none"'),
}
"""What each case is compared with."""
BAR = 1.1


def work(case: str, count: int, port: str) -> None:
    """Run one case, and print microseconds of CPU a row, and peak megabytes."""
    endpoint = f"http://127.0.0.1:{port}/v1"
    register_engine("e", backend="vllm_api", model="m", endpoint=endpoint, max_concurrency=16)
    step = Step(
        id="label", input_model=Row, output_model=Answer, engine_name="e", user_prompt="{{ text }}"
    )
    chain = Chain(name="labels", steps=[step])
    about_keep = case in ("keep", "none")
    make = list if about_keep else MAKERS[case]
    given = make(rows(count, LONG if about_keep else SHORT))  # type: ignore[operator]
    options: dict[str, Any] = {"keep": "none"} if case == "none" else {}
    with tempfile.TemporaryDirectory() as folder:
        chain.run(given[:100], output_dir=f"{folder}/warm", **options).to_pandas()
        before = process_time()
        run = chain.run(given, output_dir=f"{folder}/run", **options)
        cpu = process_time() - before
        out = process_time()
        assert len(run.to_pandas()) == count
        out = process_time() - out
    assert run.counts.ok == count, run.counts
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([1e6 * cpu / count, 1e6 * out / count, megabytes]))


def measured(case: str, count: int, port: str) -> list[float]:
    command = [sys.executable, __file__, "--work", case, str(count), port]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    found: list[float] = json.loads(output.stdout)
    return found


def compare(case: str, count: int, rounds: int, port: str) -> None:
    """Print what a case costs, beside what it is compared with."""
    base, name = CASES[case]
    plain, other = [], []
    for _ in range(rounds):
        plain.append(measured(base, count, port))
        other.append(measured(case, count, port))
    ratio = statistics.median(o[0] / p[0] for o, p in zip(other, plain, strict=True))
    print(
        f"{case:8} {other[-1][0]:5.0f} us of CPU a row, {ratio:.2f} of {name} (bar {BAR}); "
        f"to_pandas {statistics.median(it[1] for it in other):.1f} us a row, "
        f"{max(it[2] for it in other):.0f} MB",
        flush=True,
    )


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with servers.fast() as port:
        for case in sys.argv[3:] or CASES:
            compare(case, count, rounds, port)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()

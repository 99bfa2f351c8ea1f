"""Time of runs that begin with few requests in flight, against runs that begin with all of them.

python benchmarks/ramp.py [ROUNDS] [ROWS] [SECONDS]

Runs alternate, each in a process of its own, on one fast server that answers after some seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

SERVER = Path(__file__).with_name("fast_server.py")
KINDS: dict[str, dict[str, int]] = {"8 at first": {}, "64 from the start": {"max_concurrency": 64}}


def run_rows(endpoint: str, kind: str, rows: int) -> float:
    """Seconds of one run in this process."""
    from chainette import Chain, Step, register_engine
    from pydantic import BaseModel

    class Row(BaseModel):
        n: int

    class Answer(BaseModel):
        label: str
        score: int

    limit: Any = KINDS[kind]
    register_engine("e", backend="vllm_api", model="m", endpoint=endpoint, **limit)
    step = Step(
        id="label", input_model=Row, output_model=Answer, engine_name="e", user_prompt="{{ n }}"
    )
    chain = Chain(name="labels", steps=step)
    start = perf_counter()
    counts = chain.run(Row(n=n) for n in range(rows)).counts
    seconds = perf_counter() - start
    assert counts.ok == rows
    return seconds


def main(rounds: int = 7, rows: int = 10_000, delay: float = 0.0) -> None:
    """Print the seconds of both kinds, and their ratio."""
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(delay)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{server.stdout.readline().split()[-1]}/v1"
        times: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(rounds):
            for kind in sorted(KINDS, reverse=bool(number % 2)):
                command = [sys.executable, __file__, "--run", endpoint, kind, str(rows)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                times[kind].append(float(done.stdout.split()[-1]))
        for kind, seconds in times.items():
            print(f"{kind:20} {statistics.median(seconds):8.3f} s, best {min(seconds):.3f} s")
        few, many = times.values()
        pairs = [a / b for a, b in zip(few, many, strict=True)]
        print(f"ratio of medians of pairs: {statistics.median(pairs):.4f}")
    finally:
        server.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        print(run_rows(sys.argv[2], sys.argv[3], int(sys.argv[4])))
    else:
        main(*(kind(value) for kind, value in zip((int, int, float), sys.argv[1:], strict=False)))

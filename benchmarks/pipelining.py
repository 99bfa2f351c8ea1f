"""Wall time of three steps of 100 ms each, relative to the best possible with a cap on requests.

python benchmarks/pipelining.py [ROWS] [CAP]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from chainette import Chain, Step, register_engine
from pydantic import BaseModel

ROWS, CAP = (int(word) for word in (*sys.argv[1:3], *("2000", "64")[len(sys.argv) - 1 :]))
DELAY = 0.1


class Answer(BaseModel):
    label: str
    score: int


def step(id: str) -> Step:
    return Step(
        id=id,
        input_model=Answer,
        output_model=Answer,
        engine_name="e",
        user_prompt="{{ label }} {{ score }}",
    )


def main() -> None:
    program = str(Path(__file__).with_name("fast_server.py"))
    server = subprocess.Popen([sys.executable, program, str(DELAY)], stdout=subprocess.PIPE)
    assert server.stdout is not None
    endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    register_engine("e", backend="vllm_api", model="m", endpoint=endpoint, max_concurrency=CAP)
    chain = Chain(name="three", steps=[step("a"), step("b"), step("c")])
    try:
        start, cpu = time.perf_counter(), time.process_time()
        run = chain.run({"label": "x", "score": n} for n in range(ROWS))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    finally:
        server.terminate()
    assert run.counts.ok == ROWS
    best = ROWS * 3 * DELAY / CAP
    print(f"{ROWS} rows x 3 steps of {DELAY} s, {CAP} in flight: {seconds / best:.2f} x the best")
    print(f"{1000 * cpu / (3 * ROWS):.2f} ms of CPU for each request (bar: 1.10 x the best)")


if __name__ == "__main__":
    main()

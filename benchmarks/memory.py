"""Peak memory of `chainette run` over few and over many rows; checks that all are written in order.

python benchmarks/memory.py [FEW] [MANY]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import servers

FEW, MANY = (int(word) for word in (*sys.argv[1:3], *("10000", "1000000")[len(sys.argv) - 1 :]))
CHAIN = """
from chainette import Chain, Step
from pydantic import BaseModel

class Row(BaseModel):
    text: str

class Answer(BaseModel):
    label: str
    score: int

chain = Chain(name="labels", steps=[Step(
    id="label", input_model=Row, output_model=Answer, engine_name="e", user_prompt="{{ text }}",
)])
"""


def run(folder: Path, rows: int) -> tuple[float, float, float]:
    """Peak megabytes, seconds and CPU seconds of one run; checks its output."""
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(f'{{"text": "row {n} of many, and some words"}}\n' for n in range(rows))
    program = str(Path(sys.executable).with_name("chainette"))
    command = [program, "run", "chain.py", "-i", "rows.jsonl", "-e", "engines.yml"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-o", f"out-{rows}"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, f"exit status {status}"
    row = 0
    for path in sorted((folder / f"out-{rows}/flattened").glob("*.jsonl")):
        with path.open() as file:
            for line in file:
                assert json.loads(line)["row_id"] == row, f"line {row} is another row"
                row += 1
    assert row == rows, f"{row} lines for {rows} rows"
    return usage.ru_maxrss / 1024, seconds, usage.ru_utime + usage.ru_stime


def main() -> None:
    with servers.fast() as port, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "chain.py").write_text(CHAIN)
        engine = {"name": "e", "backend": "vllm_api", "model": "m", "max_concurrency": 8}
        endpoint = f"http://127.0.0.1:{port}/v1"
        (folder / "engines.yml").write_text(json.dumps([engine | {"endpoint": endpoint}]))
        results = {rows: run(folder, rows) for rows in (FEW, MANY)}
    for rows, (megabytes, seconds, cpu) in results.items():
        rate, each = f"{rows / seconds:6.0f} rows/s", f"{1000 * cpu / rows:.3f} ms of CPU a row"
        print(f"{rows:>9} rows  {megabytes:6.1f} MB  {rate}  {each}, all in order")
    print(f"ratio of peak memory: {results[MANY][0] / results[FEW][0]:.2f}  (bar: 1.3)")


if __name__ == "__main__":
    main()

"""A long run on a real llama.cpp server that is killed (kill -9) repeatedly.

python benchmarks/soak.py [SECONDS] [KILLS]
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from chainette import Chain, SamplingParams, Step, register_engine
from pydantic import BaseModel

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 5


class Animal(BaseModel):
    animal: str


class Legs(BaseModel):
    legs: int


def rows() -> Iterator[Animal]:
    names = ("dog", "hen", "ant", "fish", "spider")
    start = time.monotonic()
    while time.monotonic() - start < SECONDS:
        for name in names:
            yield Animal(animal=name)


def server() -> psutil.Process | None:
    """The llama.cpp server: the child of the guard, which is a child of this process."""
    for guard in psutil.Process().children():
        for child in guard.children():
            return child
    return None


def kill_repeatedly(pids: list[int], finished: threading.Event) -> None:
    for _ in range(KILLS):
        if finished.wait(SECONDS / (KILLS + 1)):
            return
        if (process := server()) is not None:
            pids.append(process.pid)
            process.kill()


def main() -> None:
    register_engine("e", backend="llamacpp", timeout=120, max_concurrency=4)
    step = Step(
        id="legs",
        input_model=Animal,
        output_model=Legs,
        engine_name="e",
        sampling=SamplingParams(temperature=0, max_tokens=24),
        user_prompt='A cat: {"legs": 4}. How many legs has a {{ animal }}? Answer as JSON.',
    )
    pids: list[int] = []
    finished = threading.Event()
    killer = threading.Thread(target=kill_repeatedly, args=(pids, finished))
    killer.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        run = Chain(name="soak", steps=[step]).run(rows(), output_dir=folder)
        finished.set()
        killer.join()
        texts = [path.read_text() for path in sorted((folder / "flattened").glob("*.jsonl"))]
        flat = [json.loads(line) for text in texts for line in text.splitlines()]
        manifest = json.loads((folder / "run.json").read_text())
    assert [line["row_id"] for line in flat] == list(range(run.counts.rows)), "a row is lost"
    assert run.stopped is None
    assert len(set(pids)) == len(pids) == KILLS, "the server was not restarted"
    left = psutil.Process().children(recursive=True)
    print(
        f"{run.counts.rows} rows in {run.seconds:.0f} s; the server was killed {len(pids)} times"
        f"; {run.counts.ok} ok, {run.counts.failed} failed; {manifest['retries'].get('legs', 0)} "
        f"requests sent again; {len(left)} processes left"
    )
    for result in run.errors:
        print(f"row {result.row_id}: {result.error}")


if __name__ == "__main__":
    main()

"""The same model through `vllm_api` and through `vllm_local`: answers, throughput, cost of HTTP.

make bench-vllm

Both engines are loaded at the same time and get the requests in turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.to_thread
from chainette import SamplingParams, get_engine_config, register_engine
from pydantic import BaseModel, Field

MODEL = Path(sys.prefix).parent / "model"
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
ROWS = 32
IN_FLIGHT = (1, 8, 32)
ANIMALS = ["bird", "horse", "spider", "cat", "goat", "sheep", "fox", "wolf"]
ANIMALS += ["bear", "deer", "mouse", "rabbit", "duck", "goose", "cow", "pig"]
PROMPTS = [
    f'A dog: {{"name": "dog", "legs": 4, "home": "house"}}. And {article} {name}?'
    for article in ("a", "one")
    for name in ANIMALS
]
GREEDY = SamplingParams(temperature=0, max_tokens=120)
os.environ.update(
    HF_HUB_OFFLINE="1",
    VLLM_CPU_KVCACHE_SPACE="2",
    VLLM_NO_USAGE_STATS="1",
    VLLM_LOGGING_LEVEL="ERROR",
)


class Animal(BaseModel):
    name: str = Field(max_length=20)
    legs: int = Field(ge=0, le=8)
    home: Literal["house", "farm", "forest"]


async def ask(engine: str, in_flight: int) -> tuple[list[str], float]:
    """The texts of all answers, and their time in seconds."""
    client = get_engine_config(engine).engine
    texts = [""] * len(PROMPTS)
    left = iter(enumerate(PROMPTS))

    async def work() -> None:
        for index, prompt in left:
            output = await client.complete(prompt, GREEDY, output_model=Animal)
            assert output.error is None, output.error
            texts[index] = output.outputs[0].text

    start = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(in_flight):
            tasks.start_soon(work)
    return texts, time.perf_counter() - start


async def main() -> None:
    options: dict[str, Any] = {
        "model": str(MODEL),
        "dtype": "bfloat16",
        "max_model_len": 2048,
        "max_concurrency": max(IN_FLIGHT),
        "timeout": 600.0,
    }
    register_engine("api", backend="vllm_api", extra_serve_flags=["--enforce-eager"], **options)
    register_engine("local", backend="vllm_local", enforce_eager=True, **options)
    engines = [get_engine_config(name).engine for name in ("api", "local")]
    for engine in engines:
        await engine.start()
    print("| in flight | vllm_api, rows/s | vllm_local, rows/s | HTTP's share of the time | same |")
    print("|---|---|---|---|---|")
    for in_flight in IN_FLIGHT:
        await measure(in_flight)
    for engine in engines:
        await engine.aclose()
        await anyio.to_thread.run_sync(engine.release)


async def measure(in_flight: int) -> None:
    """Ask both in turns and print the results."""
    times: dict[str, list[float]] = {"api": [], "local": []}
    same = []
    for round_ in range(ROUNDS + 1):
        texts = {}
        for engine in ("api", "local"):
            texts[engine], seconds = await ask(engine, in_flight)
            if round_:  # the first one warms up
                times[engine].append(seconds)
        same.append(sum(a == b for a, b in zip(texts["api"], texts["local"], strict=True)))
    shares = [1 - a / b for a, b in zip(times["local"], times["api"], strict=True)]
    share = f"{statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})"
    rows = " | ".join(f"{ROWS / statistics.median(times[it]):.1f}" for it in times)
    print(f"| {in_flight} | {rows} | {share} | {min(same)} to {max(same)} of {ROWS} |", flush=True)


if __name__ == "__main__":
    anyio.run(main)

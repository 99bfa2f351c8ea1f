"""CPU and peak memory of a row for each word of the language of chains, over its plain parts.

python benchmarks/language.py [ROWS] [ROUNDS] [CASE …]

Every case is run to disk in a process of its own against a fast server, in alternating rounds with
the same steps and functions without the word.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

import servers
from chainette import Chain, Step, apply, reduce, register_engine, repeat, route
from chainette.pipeline.composites.reduce import Group
from pydantic import BaseModel

WORDS = "row {n} of many, and some words"


class Row(BaseModel):
    text: str
    key: int


class Answer(BaseModel):
    label: str
    score: int


class Total(BaseModel):
    score: int


def step(**options: Any) -> Step[Row, Answer]:
    return Step(
        id="label",
        input_model=Row,
        output_model=Answer,
        engine_name="e",
        user_prompt="{{ text }}",
        **options,
    )


def same(row: Row) -> Row:
    return row


def is_good(answer: Answer) -> bool:
    return answer.score == 3


def is_short(row: Row) -> bool:
    return len(row.text) < 1000


def total(group: Group[Answer]) -> Total:
    return Total(score=sum(answer.score for answer in group.items))


def checked(answer: Answer) -> Answer:
    assert is_good(answer)
    return answer


NOTHING = Answer(label="", score=0)
Nodes = Callable[[], list[Any]]
PLAIN: Nodes = lambda: [apply(same), step()]  # noqa: E731
CHECKED: Nodes = lambda: [apply(same), step(), apply(checked)]  # noqa: E731
CASES: dict[str, tuple[Nodes, Nodes, float]] = {
    "when (expression)": (
        lambda: [apply(same), step(when="text | length < 1000", otherwise=NOTHING)], PLAIN, 1.1
    ),
    "when (function)": (
        lambda: [apply(same), step(when=is_short, otherwise=NOTHING)], PLAIN, 1.1
    ),
    "on_error": (lambda: [apply(same), step(default=NOTHING)], PLAIN, 1.1),
    "route": (
        lambda: [apply(same), route("key % 2", id="kind").case(0, step()).default(step_of("odd"))],
        PLAIN, 1.1
    ),
    "repeat (expression)": (
        lambda: [apply(same), repeat(step(), until="score == 3", max_rounds=3, id="rounds")],
        PLAIN, 1.1
    ),
    "repeat (function)": (
        lambda: [apply(same), repeat(step(), until=is_good, max_rounds=3, id="rounds")],
        CHECKED, 1.1
    ),
    "reduce": (lambda: [apply(same), step(), reduce(apply(total), by="chain_input.key")], PLAIN, 0),
}  # fmt: skip


def step_of(id: str) -> Step[Row, Answer]:
    return Step(
        id=id, input_model=Row, output_model=Answer, engine_name="e", user_prompt="{{ text }}"
    )


def rows(count: int) -> Iterator[dict[str, Any]]:
    return ({"text": WORDS.format(n=n), "key": n % max(count // 100, 1)} for n in range(count))


def work(case: str, count: int, port: str) -> None:
    """Run one case, and print microseconds of CPU a row, and peak megabytes."""
    endpoint = f"http://127.0.0.1:{port}/v1"
    register_engine("e", backend="vllm_api", model="m", endpoint=endpoint, max_concurrency=16)
    name, _, is_plain = case.partition("/")
    steps = CASES[name][1 if is_plain else 0]()
    chain = Chain(name="labels", steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        chain.run(rows(100), output_dir=f"{folder}/warm")
        before = process_time()
        run = chain.run(rows(count), output_dir=f"{folder}/run")
        cpu = process_time() - before
    assert run.counts.ok == count, run.counts
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([1e6 * cpu / count, megabytes]))


def measured(case: str, count: int, port: str) -> tuple[float, float]:
    command = [sys.executable, __file__, "--work", case, str(count), port]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    cpu, megabytes = json.loads(output.stdout)
    return cpu, megabytes


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with servers.fast() as port:
        for case in sys.argv[3:] or CASES:
            compare(case, count, rounds, port)


def compare(case: str, count: int, rounds: int, port: str) -> None:
    """Print what a word adds to a row."""
    plain, word = [], []
    few = measured(case, max(count // 10, 100), port)[1]
    for _ in range(rounds):
        plain.append(measured(f"{case}/plain", count, port))
        word.append(measured(case, count, port))
    ratio = statistics.median(w[0] / p[0] for w, p in zip(word, plain, strict=True))
    added = statistics.median(w[0] - p[0] for w, p in zip(word, plain, strict=True))
    most = max(megabytes for _, megabytes in word)
    bar = CASES[case][2]
    limit = f"bar {bar}" if bar else "bar 20 us"
    print(
        f"{case:20} {word[-1][0]:6.0f} us of CPU a row, {ratio:.2f} of plain ({added:+.1f} us; "
        f"{limit}), {most:.0f} MB ({few:.0f} MB for a tenth of the rows)",
        flush=True,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()

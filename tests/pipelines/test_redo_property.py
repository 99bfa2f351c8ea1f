"""Random chains that change in random nodes: a redo gives what a fresh run gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from chainette import Branch, Chain, Step, apply
from chainette.errors import OutputDirError, RateLimitError
from chainette.testing import fake_engine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

pytestmark = pytest.mark.exhaustive

Plan = list[Any]
NODES = st.sampled_from(["step", "plus", "split", "batch", "all", "drop"])


class Number(BaseModel):
    n: int


def plans() -> st.SearchStrategy[Plan]:
    branch = st.lists(NODES, min_size=1, max_size=3).map(lambda plan: ("branch", plan))
    return st.lists(st.one_of(NODES, branch), min_size=2, max_size=6).filter(
        lambda plan: isinstance(plan[-1], str)
    )


def function(kind: str, id: str, version: int) -> Any:
    def plus(number: Number) -> Number:
        return Number(n=number.n + version + 1)

    def split(number: Number) -> list[Number]:
        return [Number(n=number.n), Number(n=version - number.n)]

    def drop(number: Number) -> Number | None:
        return number if (number.n + version) % 4 else None

    def batch(numbers: list[Number]) -> list[Number]:
        return [Number(n=2 * number.n + version) for number in numbers]

    if kind == "batch":
        return apply(batch, id=id, batch=2)
    return apply({"plus": plus, "split": split, "drop": drop}[kind], id=id)


def total(id: str, version: int) -> Any:
    def shares(numbers: list[Number]) -> list[Number]:
        whole = sum(number.n for number in numbers)
        return [Number(n=whole + number.n + version) for number in numbers]

    return apply(shares, id=id, batch="all")


def build(plan: Plan, versions: list[int], numbers: Iterator[int], joined: list[str]) -> list[Any]:
    nodes: list[Any] = []
    for part in plan:
        number = next(numbers)
        id, version = f"n{number}", versions[number % len(versions)]
        if not isinstance(part, str):
            inner = build(part[1], versions, numbers, joined)
            nodes.append(Branch(name=id, steps=inner).join(f"b{number}"))
            joined = [*joined, f"b{number}"]
        elif part == "step":
            others = "".join(f" {{{{ {alias} }}}}" for alias in joined[-1:])
            prompt = f"{{{{ n }}}} {version}{others}"
            nodes.append(
                Step(
                    id=id,
                    input_model=Number,
                    output_model=Number,
                    engine_name="e",
                    user_prompt=prompt,
                )
            )
        else:
            nodes.append(total(id, version) if part == "all" else function(part, id, version))
    return nodes


def answer(messages: Any) -> Any:
    text = messages[-1]["content"]
    value = sum(map(ord, text))
    return RateLimitError("too many") if value % 7 == 3 else Number(n=value % 100)


def lines(folder: Path) -> list[Any]:
    files = sorted((folder / "flattened").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def journal(folder: Path) -> list[str]:
    found = [
        f"{file.parent.name} {line['row_id']} {line.get('item')} {line['output']}"
        for file in folder.glob("steps/*/*.jsonl")
        for line in map(json.loads, file.read_text().splitlines())
    ]
    errors = map(json.loads, (folder / "errors.jsonl").read_text().splitlines())
    return sorted(
        [*found, *(f"{it['node_id']} {it['row_id']} {it.get('item')} failed" for it in errors)]
    )


@given(plans(), st.lists(st.integers(0, 2), min_size=7, max_size=7), st.integers(1, 5))
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
def test_a_redo_of_what_the_refusal_offers_gives_the_results_of_a_fresh_run(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, versions: list[int], rows: int
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    inputs = [{"n": n} for n in range(rows)]
    before = Chain(name="c", steps=build(plan, [0], count(), []))
    after = Chain(name="c", steps=build(plan, versions, count(), []))
    with fake_engine("e", answer, price={"input": 1, "output": 1}) as engine:
        paid = before.run(inputs, output_dir=folder / "run").cost
        requests = len(engine.requests)
        fresh = after.run(inputs, output_dir=folder / "fresh")
        needed = len(engine.requests) - requests
        redo: list[str] = []
        try:
            again = after.run(inputs, output_dir=folder / "run", resume=True)
        except OutputDirError as error:
            redo = json.loads(str(error).partition("redo=")[2].partition(" runs")[0])
            again = after.run(inputs, output_dir=folder / "run", redo=redo)
        spent = len(engine.requests) - requests - needed
    assert again.counts == fresh.counts
    assert lines(folder / "run") == lines(folder / "fresh")
    assert journal(folder / "run") == journal(folder / "fresh")
    assert spent <= needed
    assert again.cost is not None
    assert paid is not None
    assert again.cost >= paid

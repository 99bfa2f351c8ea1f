"""Dry runs send nothing, also from functions, and say where they stopped."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Branch, Chain, Step, apply
from chainette.run.dry_run import Rendered, Unknown, dry_run, unknown_steps
from chainette.testing import fake_engine
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel

CHAIN = """
from chainette import Chain, Step, apply, get_engine
from pydantic import BaseModel

class Row(BaseModel):
    n: int

def looked_up(row: Row) -> Row:
    get_engine("e").generate(["is it there?"])
    return row

def step(id, prompt):
    return Step(id=id, input_model=Row, output_model=Row, engine_name="e", user_prompt=prompt)

chain = Chain(name="c", steps=[
    step("a", "a {{ n }}") | step("aside", "aside {{ n }}"),
    apply(looked_up),
    step("b", "b {{ n }}"),
    step("c", "c {{ n }}"),
])
"""


class Row(BaseModel):
    n: int


def step(id: str, prompt: str = "{{ n }}") -> Step[Row, Row]:
    return Step(id=id, input_model=Row, output_model=Row, engine_name="e", user_prompt=prompt)


def same(row: Row) -> Row:
    raise AssertionError("it was called")


def gathered(rows: list[Row]) -> list[Row]:
    raise AssertionError("it was called")


CASES: dict[str, tuple[list[Any], dict[str, str], dict[str, str]]] = {
    # the nodes, and the steps that are unknown, each with where it stopped: without functions, with
    "a function in front": ([apply(same), step("a")], {"a": "same"}, {}),
    "a batch in front": ([apply(gathered, batch="all"), step("a")], {"a": "gathered"}, {}),
    "a step in front": ([step("a"), step("b")], {"b": "a"}, {"b": "a"}),
    "a function behind": ([step("a"), apply(same)], {}, {}),
    "a function, then two steps": (
        [apply(same), step("a"), step("b")], {"a": "same", "b": "same"}, {"b": "a"},
    ),
    "in a branch": (
        [Branch(name="x", steps=[apply(same), step("a")]), step("b")], {"a": "same"}, {},
    ),
    "a joined branch": (
        [Branch(name="x", steps=[apply(same)]).join("x"), step("a", "{{ x.n }}"), step("b")],
        {"a": "same", "b": "same"},
        {"b": "a"},
    ),
    "a branch that is not needed": (
        [Branch(name="x", steps=[apply(same)]).join("x"), step("a"), step("b")],
        {"b": "a"},
        {"b": "a"},
    ),
    "a branch behind a function": (
        [apply(same), Branch(name="x", steps=[step("a")]), step("b")],
        {"a": "same", "b": "same"},
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_steps_whose_prompts_are_unknown_are_named(case: str) -> None:
    nodes, without, with_functions = CASES[case]
    chain = Chain(name="c", steps=nodes)
    for called, expected in ((False, without), (True, with_functions)):
        unknown = unknown_steps(chain, with_functions=called)
        assert {it.step_id: it.after.id for it in unknown} == expected
    with fake_engine("e") as engine:
        shown = anyio.run(partial(dry_run, chain, [{"n": 1}, {"n": 2}]))
    assert engine.requests == []
    assert {it.step_id for it in shown if isinstance(it, Unknown)} == set(without)
    prompted = {it.step_id for it in shown if isinstance(it, Rendered)}
    assert prompted == {step.id for step in chain.prompted} - set(without)


def test_a_dry_run_starts_no_engine() -> None:
    with fake_engine("e", lazy=False) as engine:

        async def start() -> None:
            raise AssertionError("it was started")

        engine.start = start  # type: ignore[method-assign]
        shown = anyio.run(partial(dry_run, Chain(name="c", steps=step("a")), [{"n": 1}]))
    assert len(shown) == 1


def test_the_command_calls_functions_only_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(5)))
    Path("steps.py").write_text(CHAIN)
    command = ("run", "steps.py:chain", "-i", "rows.jsonl", "-e", "engines.yml", "--limit", "3")
    with FakeOpenAI(lambda _: '{"n": 1}') as server:
        engine = {"name": "e", "backend": "openai", "endpoint": server.endpoint, "model": "m"}
        Path("engines.yml").write_text(json.dumps([engine]))
        dry = in_process(*command, "--dry-run")
        assert server.requests == []
        called = in_process(*command, "--dry-run", "--with-functions")
        assert len(server.requests) == 3
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count("step a,") == 3
    assert dry.stdout.count("step aside,") == 3
    assert "step b," not in dry.stdout
    assert "stopped at function 'looked_up', which was not called" in dry.stderr
    assert "the prompt of steps 'b', 'c' depends on it" in dry.stderr
    assert "--with-functions" in dry.stderr
    assert called.stdout.count("step b,") == 3
    assert "stopped at step 'b': the prompt of step 'c' depends on its answer" in called.stderr
    alone = in_process(*command, "--with-functions")
    assert alone.returncode == 2
    assert "belongs to --dry-run" in alone.stderr

"""Why rows, items and groups were dropped: in results, files, tables and summaries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chainette import Branch, Chain, Drop, Group, apply, pipe, reduce
from chainette.cli.tables import answers, group_answers, summary
from chainette.errors import DroppedRowError
from chainette.run.progress.stats import RunStats
from pydantic import BaseModel
from rich.console import Console


class Number(BaseModel):
    n: int


def picked(number: Number) -> Number | None:
    if number.n == 1:
        raise Drop("too small")
    return None if number.n == 2 else number


def split(number: Number) -> list[Number]:
    return [Number(n=n) for n in range(number.n)]


def odd(number: Number) -> Number:
    if number.n % 2 == 0:
        raise Drop(f"{number.n} is even")
    return number


def total(group: Group[Number]) -> Number:
    if group.key:
        raise Drop(f"not {group.key}")
    return Number(n=len(group.items))


def parts(group: Group[Number]) -> list[Number]:
    return group.items


def chain_of(*nodes: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=pipe(*nodes))


ROWS = [{"n": n} for n in range(4)]


@pytest.fixture(params=["memory", "disk", "resumed"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "memory":
        return {}
    return {"output_dir": tmp_path / "out", "resume": request.param == "resumed"}


def run_of(chain: Chain[Any, Any], options: dict[str, Any]) -> Any:
    if options.get("resume"):
        chain.run(ROWS, **options, limit=2)
    return chain.run(ROWS, **options)


def printed(*parts: Any) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()


def test_a_row_says_why_it_was_dropped(options: dict[str, Any]) -> None:
    run = run_of(chain_of(apply(picked)), options)
    found = [(it.state, it.drop_reason) for it in run.results]
    assert found == [("ok", None), ("dropped", "too small"), ("dropped", None), ("ok", None)]
    with pytest.raises(DroppedRowError, match="row 1 has no value: a function dropped it: too sm"):
        run.results[1].unwrap()
    with pytest.raises(KeyError, match="the row was dropped: too small"):
        run.results[1]["picked"]


def test_items_say_so_and_the_row_says_it_of_the_first(options: dict[str, Any]) -> None:
    run = run_of(chain_of(apply(split), apply(odd)), options)
    found = [(it.state, it.drop_reason, [i.drop_reason for i in it.items]) for it in run.results]
    assert found == [
        ("dropped", "it returned no items", ["it returned no items"]),
        ("dropped", "0 is even", ["0 is even"]),
        ("ok", "0 is even", ["0 is even", None]),
        ("ok", "0 is even", ["0 is even", None, "2 is even"]),
    ]


def test_what_a_branch_drops_is_no_reason_of_its_row(options: dict[str, Any]) -> None:
    branch = Branch("b", apply(odd)).join("o")
    run = run_of(chain_of(branch, apply(lambda it: it, id="same", input_model=Number)), options)
    assert [(it.state, it.drop_reason) for it in run.results] == [("ok", None)] * 4


@pytest.mark.parametrize("fold", [None, 1])
def test_a_group_says_why_it_was_dropped(fold: int | None, options: dict[str, Any]) -> None:
    run = run_of(chain_of(reduce(apply(total), by="n % 2", fold=fold)), options)
    found = [(it.key, it.state, it.drop_reason) for it in run.groups("total")]
    assert found == [(0, "ok", None), (1, "dropped", "not 1")]
    assert (run.counts.groups, run.counts.dropped_groups, run.counts.failed_groups) == (2, 1, 0)
    with pytest.raises(DroppedRowError, match="group 1 has no value: a function dropped it: not 1"):
        run.groups("total")[1].unwrap()


def test_a_split_group_says_it_of_its_first_item(options: dict[str, Any]) -> None:
    run = run_of(chain_of(reduce(apply(parts), by="n > 1"), apply(odd)), options)
    assert [(it.key, it.state, it.drop_reason) for it in run.groups("odd")] == [
        (False, "ok", "0 is even"),
        (True, "ok", "2 is even"),
    ]
    assert run.counts.dropped_groups == 0


def test_the_tables_and_the_summary_say_it(options: dict[str, Any]) -> None:
    chain = chain_of(apply(picked), reduce(apply(total), by="n"))
    run = run_of(chain, options)
    shown = printed(answers(run, chain), *group_answers(run, chain))
    assert "1 (dropped: too small)" in shown
    assert "2 (dropped) " in shown
    assert "3 (dropped: not 3)" in shown
    assert "2 groups, 0 failed, 1 dropped" in summary(run, RunStats())


def test_the_lines_of_groups_have_it(tmp_path: Path) -> None:
    run = chain_of(reduce(apply(total), by="n % 2")).run(ROWS, output_dir=tmp_path)
    assert run.path is not None
    lines = (run.path / "groups/total.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {
        "key": 1, "row_ids": [1, 3], "dropped": True, "reason": "not 1",
    }  # fmt: skip
    counts = json.loads((run.path / "run.json").read_text())["counts"]
    assert counts["dropped_groups"] == 1

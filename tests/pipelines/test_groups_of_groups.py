"""Groups that are made of other groups, or of their items: which rows they have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, Group, apply, pipe, reduce
from chainette.cli.tables import group_answers
from pydantic import BaseModel
from rich.console import Console


class Doc(BaseModel):
    n: int


class Theme(BaseModel):
    theme: str


def themes(doc: Doc) -> list[Theme]:
    return [Theme(theme=f"t{number}") for number in range(4)]


def same(doc: Doc) -> Theme:
    return Theme(theme=f"t{doc.n % 2}")


def again(group: Group[Theme]) -> list[Theme]:
    return group.items


def one(group: Group[Theme]) -> Theme:
    return Theme(theme=str(group.key))


def said(group: Group[Theme]) -> str:
    before = f"{group.so_far} " if group.so_far else ""
    return f"{before}{len(group.items)}:{group.row_ids}"


def chain_of(*parts: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=pipe(*parts))


def rows(count: int) -> list[dict[str, int]]:
    return [{"n": n} for n in range(count)]


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {} if request.param == "memory" else {"output_dir": tmp_path / "out"}


SPLIT, SAME, AGAIN, ONE = apply(themes), apply(same), apply(again), apply(one)
TWO = apply(one, id="two")
LAST = apply(said)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([SAME, reduce(LAST)], [(3, [0, 1, 2])]),
        ([SPLIT, reduce(LAST, by="theme")], [(3, [0, 1, 2])] * 4),
        ([SPLIT, reduce(LAST)], [(12, [0] * 4 + [1] * 4 + [2] * 4)]),
        ([SAME, reduce(ONE, by="theme"), reduce(LAST)], [(2, [0, 2, 1])]),
        ([SPLIT, reduce(ONE, by="theme"), reduce(LAST)], [(4, [0, 1, 2])]),
        ([SAME, reduce(AGAIN), reduce(LAST, by="theme")], [(2, [0, 1, 2]), (1, [0, 1, 2])]),
        ([SPLIT, reduce(AGAIN), reduce(LAST, by="theme")], [(3, [0, 1, 2])] * 4),
        ([SPLIT, reduce(AGAIN, by="theme"), reduce(LAST)], [(12, [0, 1, 2])]),
        (
            [SPLIT, reduce(AGAIN), reduce(TWO, by="theme"), reduce(LAST)],
            [(4, [0, 1, 2])],
        ),
        (
            [SAME, reduce(AGAIN, by="theme"), reduce(TWO, by="theme"), reduce(LAST, by="theme")],
            [(1, [0, 2]), (1, [1])],
        ),
    ],
)
def test_a_group_has_a_row_id_for_each_item_or_those_of_its_groups_once(
    parts: list[Any], expected: list[tuple[int, list[int]]], place: dict[str, Any]
) -> None:
    run = chain_of(*parts).run(rows(3), **place)
    groups = run.groups("said")
    assert [(it.size, it.row_ids) for it in groups] == expected
    assert [it.value for it in groups] == [f"{size}:{ids}" for size, ids in expected]


def test_a_part_of_a_group_has_the_row_ids_of_its_items(place: dict[str, Any]) -> None:
    ids = reduce(LAST, fold=2)
    (group,) = chain_of(SPLIT, reduce(AGAIN, by="theme"), ids).run(rows(3), **place).groups("said")
    assert group.value == " ".join(["2:[0, 1, 2]"] * 6)
    run = chain_of(SAME, reduce(ONE, by="theme"), ids).run(rows(5), **place, overwrite=bool(place))
    assert [it.value for it in run.groups("said")] == ["2:[0, 2, 4, 1, 3]"]


def test_names_have_the_same_row_ids(place: dict[str, Any]) -> None:
    def named(text: str, names: Any) -> str:
        return str(names["group"].row_ids)

    chain = chain_of(SPLIT, reduce(AGAIN), reduce(LAST, by="theme"), apply(named))
    assert [it.value for it in chain.run(rows(3), **place).groups("named")] == ["[0, 1, 2]"] * 4


def test_the_lines_of_a_split_group_say_once_what_it_is_made_of(tmp_path: Path) -> None:
    def lines(count: int) -> tuple[list[list[dict[str, Any]]], int]:
        path = tmp_path / str(count)
        chain_of(SPLIT, reduce(AGAIN), reduce(LAST, by="theme")).run(rows(count), output_dir=path)
        files = [path / f"groups/{name}.jsonl" for name in ("again", "said")]
        found = [[json.loads(it) for it in file.read_text().splitlines()] for file in files]
        return found, sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    (again, said), size = lines(40)
    assert [it.get("row_ids") is not None for it in again] == [True] + 159 * [False]
    assert [len(it["row_ids"]) for it in said] == [40] * 4
    assert "size" not in said[0]
    assert lines(160)[1] < 5 * size


def test_a_resumed_run_notices_rows_that_only_the_row_ids_tell(tmp_path: Path) -> None:
    chain = chain_of(SAME, reduce(ONE), reduce(LAST))
    for limit, expected in ((2, "1:[0, 1]"), (4, "1:[0, 1, 2, 3]"), (4, "1:[0, 1, 2, 3]")):
        run = chain.run(rows(4), output_dir=tmp_path / "out", resume=True, limit=limit)
        (group,) = run.groups("said")
        assert group.value == expected


def test_the_table_counts_items(place: dict[str, Any]) -> None:
    chain = chain_of(SPLIT, reduce(AGAIN), reduce(LAST))
    run = chain.run(rows(3), **place)
    console = Console(width=100)
    with console.capture() as capture:
        for table in group_answers(run, chain):
            console.print(table)
    counted = [line.split()[2] for line in capture.get().splitlines() if "12:[0" in line]
    assert counted == ["12"]

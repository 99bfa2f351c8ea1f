"""Runs that are read from their folders, without their chains."""

from __future__ import annotations

from pathlib import Path

import pytest
from chainette import Chain, apply
from chainette.errors import OutputDirError
from chainette.reports.stored.names import ColumnNames
from chainette.reports.stored.run_folder import StoredRun
from pydantic import BaseModel

NAMES = ["label", "id", "row_id", "item", "error", "error.type", "label.score", "label[]", "a.b",
         "input", "input.id", "partial", "reasoning.x", ""]  # fmt: skip


@pytest.mark.parametrize("node_ids", [["label"], ["label", "input"], ["inputs", "input", "id"]])
def test_a_name_tells_where_its_column_comes_from(node_ids: list[str]) -> None:
    names = ColumnNames(node_ids)
    columns = [names.of_input(name) for name in NAMES]
    assert len({*columns}) == len(columns)
    assert [names.input_column(name) for name in columns] == NAMES
    for own in ["row_id", "item", "error.message", *(f"{id}.score" for id in node_ids)]:
        assert names.input_column(own) is None


def test_a_name_that_is_not_taken_stays() -> None:
    names = ColumnNames(["label"])
    assert [names.of_input(it) for it in ["text", "a.b", "label_2", "label"]] == [
        "text", "a.b", "label_2", "input.label",
    ]  # fmt: skip


class Number(BaseModel):
    n: int


def half(number: Number) -> Number:
    if number.n % 2:
        raise ValueError("odd")
    return Number(n=number.n // 2)


def test_a_folder_says_what_was_run(tmp_path: Path) -> None:
    chain = Chain(name="halves", steps=[apply(half)])
    chain.run([{"n": n} for n in range(3)], output_dir=tmp_path / "run")
    run = StoredRun(tmp_path / "run")
    assert run.manifest["status"] == "finished"
    assert run.node_ids == ["half"]
    assert run.schema("half")["properties"]["n"]["type"] == "integer"
    assert run.schema("none") == {}
    assert [line["row_id"] for line in run.lines()] == [0, 1, 2]
    assert [line["row_id"] for line in run.errors()] == [1]
    assert [line["output"] for line in run.step_lines("half")] == [{"n": 0}, {"n": 1}]
    assert [*run.dropped()] == [*run.groups("none")] == []


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputDirError, match=r"it has no run\.json"):
        StoredRun(tmp_path)

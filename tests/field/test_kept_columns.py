"""The inputs' columns beside the answers: in tables, errors and results."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chainette import Branch, Chain, Run, apply, rows
from chainette.errors import ChainError, ConfigError, InputError
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.reports.stored.run_folder import StoredRun
from chainette.run.inputs.formats.arrow_values import warn_of_value
from chainette.run.inputs.kept import Kept
from chainette.samplers import choice
from pydantic import BaseModel, ConfigDict, RootModel


class Text(BaseModel):
    text: str


class Label(BaseModel):
    label: str


def label(row: Text) -> Label:
    if row.text == "bad":
        raise ValueError("bad")
    return Label(label=row.text.upper())


def chain(*more: Any) -> Chain:
    return Chain(name="labels", steps=[apply(label), *more])


REVIEWS = [{"id": 7, "text": "a", "tags": ["x"]}, {"id": 8, "text": "bad"}, {"id": 9}]


def kept(run: Run[Any]) -> list[dict[str, Any]]:
    assert run.path is None or StoredRun(run.path).names is not None
    return [dict(result.inputs) for result in run.results]


@pytest.mark.parametrize("folder", ["run", None])
def test_columns_stand_in_front_of_the_answers(tmp_path: Path, folder: str | None) -> None:
    output = tmp_path / folder if folder else None
    run = chain().run(REVIEWS, output_dir=output)
    assert kept(run) == REVIEWS
    first, second, third = run.lines()
    assert list(first.items()) == [
        ("row_id", 0), ("id", 7), ("text", "a"), ("tags", ["x"]), ("label.label", "A"),
    ]  # fmt: skip
    assert list(second)[:3] == ["row_id", "id", "text"]
    assert second["error.type"] == "ApplyError"
    assert third["id"] == 9
    assert "text" not in third


def test_errors_and_drops_say_which_row_it_was(tmp_path: Path) -> None:
    some = apply(lambda it: None if it.label == "B" else it, id="some",
                 input_model=Label, output_model=Label)  # fmt: skip
    run = chain(some).run([*REVIEWS, {"id": 10, "text": "b"}], output_dir=tmp_path / "run")
    stored = StoredRun(run.path or "")
    assert [line["inputs"] for line in stored.errors()] == [REVIEWS[2], REVIEWS[1]] or [
        line["inputs"]["id"] for line in stored.errors()
    ] == [8, 9]
    assert [line["inputs"]["id"] for line in stored.dropped()] == [10]


@pytest.mark.parametrize(
    ("keep", "columns"),
    [
        ("all", {"id", "text", "tags"}), ("none", set()), ([], set()), (["id"], {"id"}),
        (("tags", "id", "id"), {"tags", "id"}), (["all"], set()),
    ],
)  # fmt: skip
def test_what_is_kept(tmp_path: Path, keep: Any, columns: set[str]) -> None:
    for output in (None, tmp_path / "run"):
        run = chain().run(REVIEWS[:1], keep=keep, output_dir=output)
        assert {*run.results[0].inputs} == columns
        assert {*next(run.lines())} == {"row_id", "label.label", *columns}


@pytest.mark.parametrize("keep", ["id", "id,text", 3, None, [1], {"a": 1}])
def test_what_keep_cannot_be(keep: Any) -> None:
    with pytest.raises(ConfigError, match="expected 'all', 'none' or a list of columns"):
        chain().run(REVIEWS, keep=keep)


NAMES = ["row_id", "item", "error", "dropped", "label", "label.label", "label[]", "input.x", "a.b"]


@pytest.mark.parametrize("folder", ["run", None])
def test_a_name_that_is_taken_gets_another_which_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folder: str | None
) -> None:
    row = {"text": "a", **dict.fromkeys(NAMES, 1)}
    run = chain().run([row] * 3, output_dir=tmp_path / folder if folder else None)
    assert kept(run) == [row] * 3
    line = next(run.lines())
    assert [name for name in line if name.startswith("input.")] == [
        f"input.{name}" for name in NAMES[:-1]
    ]
    assert (line["row_id"], line["a.b"], line["label.label"]) == (0, 1, "A")
    assert run.results[0].ok
    (warning,) = [it for it in caplog.messages if "names of the inputs' columns" in it]
    assert "'row_id' is 'input.row_id'" in warning


class Config(BaseModel):
    model_config = ConfigDict(extra="allow")
    text: str
    when: datetime = datetime(2024, 1, 2)


@dataclass
class Point:
    text: str
    price: Decimal


class Pair(NamedTuple):
    text: str
    stars: int


INFINITE = float("inf")


class Words(RootModel[str]):
    pass


class Table(RootModel[dict[str, int]]):
    pass


class Nothing:
    pass


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (Config(text="a", more=1), {"text": "a", "when": "2024-01-02T00:00:00", "more": 1}),  # type: ignore[call-arg]
        (Point("a", Decimal("1.50")), {"text": "a", "price": "1.50"}),
        (Pair("a", 2), {"text": "a", "stars": 2}),
        (Words("a"), {"input": "a"}),
        (Table({"a": 1}), {"a": 1}),
        ("a", {"input": "a"}),
        (3, {"input": 3}),
        (["a", 1], {"input": ["a", 1]}),
        ({1: "a"}, {"1": "a"}),
        (None, {}),
        (Nothing(), {}),
    ],
)
def test_rows_of_any_kind(row: Any, columns: dict[str, Any]) -> None:
    assert Kept("all").of(row) == columns
    anything = Chain(
        name="c", steps=apply(lambda row: 1, id="one", input_model=Any, output_model=int)
    )
    assert kept(anything.run([row, row])) == [columns] * 2


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (float("nan"), None), (INFINITE, INFINITE), (b"abc", "abc"), (np.int64(5), 5),
        ([-INFINITE, {"a": float("nan")}], [-INFINITE, {"a": None}]),
        (np.float32("-inf"), -INFINITE), (np.float64("nan"), None), (Decimal("inf"), "Infinity"),
        (b"\xff", {"$bytes": "/w=="}), (Decimal("1.50"), "1.50"), ({1}, [1]),
        (np.bool_(True), True),
        (np.array([1.0, float("nan")]), [1.0, None]), (np.array(["x", {}]), ["x", {}]),
        (datetime(2024, 1, 2), "2024-01-02T00:00:00"),
        (10**30, 10**30), ("\ud800", "\ufffd"), (["\ud800"], ["\ufffd"]), ({(1, 2): 3}, {"1,2": 3}),
        (Label(label="x"), {"label": "x"}), ([Label(label="x")], [{"label": "x"}]),
        (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"), (np.str_("a"), "a"),
    ],
    ids=str,
)  # fmt: skip
def test_what_json_cannot_hold_is_written_as_outputs_are(
    tmp_path: Path, value: Any, written: Any
) -> None:
    run = chain().run([{"text": "a", "x": value}], output_dir=tmp_path / "run")
    assert run.counts.ok == 1
    assert next(run.lines())["x"] == written
    assert kept(run)[0]["x"] == written


def test_what_is_no_data_is_left_out_which_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    given = [{"text": "a", "image": Nothing(), "lazy": iter([1])} for _ in range(3)]
    assert kept(chain().run(given)) == [{"text": "a"}] * 3
    assert len([it for it in caplog.messages if "'image' holds objects" in it]) == 1
    assert next(given[0]["lazy"]) == 1


class Broken(BaseModel):
    text: str = "a"

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            raise RuntimeError("no")
        return super().__getattribute__(name)


def test_a_row_is_never_lost_because_of_what_is_kept() -> None:
    nested: dict[str, Any] = {"text": "a"}
    nested["self"] = nested
    run = chain().run([nested, {"text": "b"}])
    assert run.counts.ok == 2
    assert Kept("all").of(Broken()) == {}


def test_a_function_that_changes_its_input_does_not_change_what_is_kept(tmp_path: Path) -> None:
    def spoil(row: Any) -> Any:
        row["text"] = "spoilt"
        row["tags"].append("spoilt")
        row["new"] = 1
        return row["text"]

    spoiling = Chain(name="c", steps=apply(spoil, input_model=Any, output_model=str))
    for output in (None, tmp_path / "run"):
        run = spoiling.run([{"text": "a", "tags": ["x"]}], output_dir=output)
        assert kept(run) == [{"text": "a", "tags": ["x"]}]

    def change(row: Text) -> str:
        row.text = "spoilt"
        return row.text

    changing = Chain(name="c", steps=apply(change))
    assert kept(changing.run([Text(text="a")])) == [{"text": "a"}]


def test_columns_choose_what_the_chain_sees_and_keep_what_is_kept() -> None:
    run = chain().run([{"body": "a", "id": 1}], columns={"text": "body"})
    assert run.results[0].unwrap() == Label(label="A")
    assert kept(run) == [{"body": "a", "id": 1}]


@pytest.mark.parametrize(
    ("keep", "columns"), [("all", {"body", "id", "long"}), ("none", set()), (["id"], {"id"})]
)
def test_of_a_table_only_what_is_wanted_is_read(
    tmp_path: Path, keep: Any, columns: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_value.cache_clear()  # it is said once in a process
    zones = pa.array([1, 2], pa.timestamp("us", tz="Mars/Olympus"))
    years = pa.array([0, 10**15], pa.timestamp("s"))  # after the year 9999
    table = pa.table({"body": ["a", "b"], "id": [1, 2], "zone": zones, "long": years})
    pq.write_table(table, tmp_path / "rows.parquet")
    for given in (table, tmp_path / "rows.parquet"):
        run = chain().run(given, columns={"text": "body"}, keep=keep)
        assert run.counts.ok == 2
        first, second = kept(run)
        assert {*first} == columns
        assert {*second} == (columns & {"id"} if keep != "all" else {"body", "id"})
    if keep == "all":
        assert "column 'zone' cannot be read and is not kept" in caplog.text
        assert "are not kept: a value cannot be converted" in caplog.text
    with pytest.raises(InputError, match=r"'zone' cannot be read"):
        chain().run(table)
    odd = pl.DataFrame({"body": ["a"], "id": [1], "odd": pl.Series([object()])})
    first = kept(chain().run(odd, columns={"text": "body"}, keep=keep))[0]
    assert {*first} == columns - {"long"}


def sources(folder: Path) -> Iterator[Any]:
    """Two rows of a table, as inputs whose columns are known."""
    frame = pd.DataFrame({"id": [1, 2], "text": ["a", "b"]})
    frame.to_csv(folder / "rows.csv", index=False)
    frame.to_parquet(folder / "rows.parquet")
    yield from (frame, pl.from_pandas(frame), pa.table(frame), pa.table(frame).to_reader())
    yield from (folder / "rows.csv", folder / "rows.parquet")
    yield rows(2, id=choice([1]), text=choice(["a"]))


def test_a_name_that_no_column_has_is_an_error_where_columns_are_known(tmp_path: Path) -> None:
    for given in sources(tmp_path):
        assert {*kept(chain().run(given, keep=["id"]))[0]} == {"id"}
    for given in sources(tmp_path):
        with pytest.raises(InputError, match=r"no column 'idd' to keep .did you mean 'id'"):
            chain().run(given, keep=["text", "idd"])


def test_elsewhere_a_name_that_no_row_has_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    run = chain().run(REVIEWS, keep=["tags", "no"], limit=3)
    assert kept(run) == [{"tags": ["x"]}, {}, {}]
    assert [it for it in caplog.messages if "keep" in it] == [
        "keep: no row of the inputs had a column 'no'"
    ]


def test_lines_that_cannot_be_read_have_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,text\n1,a\n2,b,c\n")
    run = chain().run(tmp_path / "rows.csv", output_dir=tmp_path / "run")
    assert kept(run) == [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]
    assert [it["inputs"] for it in StoredRun(tmp_path / "run").errors()] == [kept(run)[1]]
    (tmp_path / "rows.jsonl").write_text('{"id": 1, "text": "a"}\n{"id"\n')
    run = chain().run(tmp_path / "rows.jsonl", output_dir=tmp_path / "other")
    assert kept(run) == [{"id": 1, "text": "a"}, {}]


@pytest.mark.parametrize("options", [{"limit": 2}, {"sample": 2}])
def test_a_part_of_the_rows(options: dict[str, int]) -> None:
    given = [{"id": n, "text": str(n)} for n in range(20)]
    run = chain().run(given, **options)  # type: ignore[arg-type]
    assert [it.inputs["id"] for it in run.results] == [it.row_id for it in run.results]


def test_a_resumed_run_makes_its_table_with_the_columns_that_it_keeps(tmp_path: Path) -> None:
    def run(**options: Any) -> Run[Any]:
        return chain().run(REVIEWS, output_dir=tmp_path / "run", **options)

    run(limit=1)
    assert kept(run(resume=True)) == REVIEWS
    assert not run(resume=True, keep="none").nothing_to_do
    assert run(resume=True, keep="none").nothing_to_do
    assert kept(run(resume=True, keep=["id"])) == [{"id": 7}, {"id": 8}, {"id": 9}]
    assert run(resume=True, keep=("id",)).nothing_to_do
    run(retry_errors=True, keep="all")
    assert kept(run(redo=["label"])) == REVIEWS


def test_what_is_kept_does_not_make_other_inputs(tmp_path: Path) -> None:
    table = pa.table({"body": ["a"], "id": [1]})
    options: dict[str, Any] = {"columns": {"text": "body"}, "output_dir": tmp_path / "run"}
    chain().run(table, keep="none", **options)
    assert kept(chain().run(table, resume=True, **options)) == [{"body": "a", "id": 1}]


def test_each_item_of_a_row_has_its_columns(tmp_path: Path) -> None:
    def split(row: Text) -> list[Text]:
        return [row, row]

    splitting = Chain(name="c", steps=[apply(split), apply(label)])
    given = [{"id": 1, "text": "a", "item": "mine"}, {"id": 2, "text": "bad", "item": "mine"}]
    for output in (None, tmp_path / "run"):
        run = splitting.run(given, output_dir=output)
        assert [(it["id"], it["item"], it["input.item"]) for it in run.lines()] == [
            (1, "0", "mine"), (1, "1", "mine"), (2, "0", "mine"), (2, "1", "mine"),
        ]  # fmt: skip
        assert kept(run) == given
    assert [it["inputs"] for it in StoredRun(tmp_path / "run").errors()] == [given[1]] * 2


def test_outputs_of_branches_and_columns_of_inputs_are_told_apart(tmp_path: Path) -> None:
    def parts(row: Text) -> list[Text]:
        return [row, row]

    branching = Chain(
        name="c", steps=[Branch(name="b", steps=[apply(parts), apply(label)]), apply(len_of)]
    )
    given = [{"text": "a", "label[]": 1, "len_of": 2, "reasoning.label": "r", "parts": None}]
    for output in (None, tmp_path / "run"):
        run = branching.run(given, output_dir=output)
        assert kept(run) == given
        assert run.results[0].outputs["label"] == [Label(label="A")] * 2
        assert run.results[0].outputs["len_of"] == 1


def len_of(row: Text) -> int:
    return len(row.text)


def test_one_row_and_streams() -> None:
    one = chain().run_one(REVIEWS[0], full=True)
    assert one.inputs == REVIEWS[0]
    assert chain().run_one({"id": 1}, full=True).inputs == {"id": 1}

    async def given() -> AsyncIterator[dict[str, Any]]:
        for row in REVIEWS:
            yield row

    async def streamed(in_order: bool, **options: Any) -> list[Any]:
        found = chain().stream(given(), in_order=in_order, **options)
        return [dict(result.inputs) async for result in found]

    assert asyncio.run(streamed(True)) == REVIEWS
    assert sorted(asyncio.run(streamed(False)), key=lambda it: it["id"]) == REVIEWS
    assert asyncio.run(streamed(True, keep="none")) == [{}] * 3


def test_rows_that_wait_are_let_go_once_they_are_written(tmp_path: Path) -> None:
    from chainette.run.executor import Executor

    executor = Executor(chain(), REVIEWS * 50, output_dir=tmp_path / "run")
    run = asyncio.run(executor.run())
    assert run.counts.rows == 150
    assert executor._kept is not None
    assert executor._kept.rows == {}


def test_parquet_has_the_columns(tmp_path: Path) -> None:
    chain().run(REVIEWS, output_dir=tmp_path / "run", fmt="parquet")
    table = pq.read_table(tmp_path / "run/flattened.parquet")
    assert table.column_names[:5] == ["row_id", "id", "text", "tags", "label.label"]
    assert table["id"].to_pylist() == [7, 8, 9]


YAML = """
name: c
models: {Row: {text: str}}
steps: [{apply: "{module}:shout", id: shout, input_model: Row, output_model: Row}]
run: {keep: KEEP}
"""


@pytest.mark.parametrize(
    ("keep", "found"), [("[id, text]", ["id", "text"]), ("none", "none"), ("all", "all")]
)
def test_yaml_says_it_too(tmp_path: Path, keep: str, found: Any) -> None:
    path = tmp_path / "c.yml"
    path.write_text(YAML.replace("KEEP", keep).replace("{module}", "keep_functions"))
    (tmp_path / "keep_functions.py").write_text("def shout(row): return row\n")
    assert load_yaml_chain(path).options["keep"] == found


def test_yaml_with_another_word_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    path.write_text(YAML.replace("KEEP", "id").replace("{module}", "keep_functions"))
    with pytest.raises(
        ChainError, match=r"c\.yml:5: run\.keep: expected 'all' or 'none', or a list"
    ):
        load_yaml_chain(path)


@pytest.mark.parametrize(
    ("flags", "columns"),
    [([], ["id", "text"]), (["--keep", "none"], []), (["--keep", "id, text"], ["id", "text"]),
     (["--keep", "text"], ["text"])],
)  # fmt: skip
def test_the_command_line_says_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], columns: list[str]
) -> None:
    from chainette.cli.app import app
    from typer.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "kept_by_command.py").write_text(
        "from chainette import Chain, apply\n"
        "def size(row: dict) -> int: return len(row['text'])\n"
        "chain = Chain(name='c', steps=apply(size))\n"
    )
    Path("rows.jsonl").write_text(json.dumps({"id": 1, "text": "a"}) + "\n")
    command = ["run", "kept_by_command:chain", "-i", "rows.jsonl", "-o", "out", *flags]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (line,) = StoredRun("out").lines()
    assert list(line) == ["row_id", *columns, "size"]
    logging.getLogger("chainette").setLevel(logging.NOTSET)

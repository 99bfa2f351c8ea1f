"""Data frames as inputs, and a run as a data frame."""

from __future__ import annotations

import builtins
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chainette import Branch, Chain, Run, apply
from chainette.errors import ConfigError, InputError
from chainette.run.output.parquet import write_table
from pydantic import BaseModel, Field


class Text(BaseModel):
    text: str


class Tone(Enum):
    DRY = "dry"
    WARM = "warm"


class Part(BaseModel):
    x: int
    day: date | None = None


class Tree(BaseModel):
    children: list[Tree] = []


class Answer(BaseModel):
    label: Literal["pos", "neg", "mixed"]
    tone: Tone = Tone.WARM
    n: int = 1
    share: float = 1
    ok: bool = True
    day: date = date(2024, 1, 2)
    at: datetime = datetime(2024, 1, 2, 3)
    aware: datetime = datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    hour: time = time(1, 2)
    length: timedelta = timedelta(days=1, seconds=2)
    price: Decimal = Decimal("1.50")
    part: Part = Part(x=1, day=date(2024, 5, 6))
    parts: list[Part] = [Part(x=2)]
    tags: list[Literal["a", "b"]] = ["a"]
    words: dict[str, int] = {"a": 1}
    either: int | str = 1
    maybe: Literal["yes"] | None = None
    tree: Tree = Tree(children=[Tree()])
    hidden: int = Field(default=1, exclude=True)


TYPES = {
    "label": pa.dictionary(pa.int32(), pa.string()), "tone": pa.dictionary(pa.int32(), pa.string()),
    "n": pa.int64(), "share": pa.float64(), "ok": pa.bool_(), "day": pa.date32(),
    "at": pa.timestamp("us"), "aware": pa.timestamp("us", "UTC"), "hour": pa.time64("us"),
    "length": pa.duration("us"), "price": pa.decimal128(38, 2),
    "part": pa.struct([("x", pa.int64()), ("day", pa.date32())]),
    "parts": pa.list_(pa.struct([("x", pa.int64()), ("day", pa.date32())])),
    "tags": pa.list_(pa.string()), "words": pa.string(), "either": pa.int64(),
    "maybe": pa.dictionary(pa.int32(), pa.string()),
    "tree": pa.struct([("children", pa.list_(pa.string()))]),
}  # fmt: skip


def answer(row: Text) -> Answer:
    if row.text == "bad":
        raise ValueError("bad")
    return Answer(label="pos")


def chain(*steps: Any) -> Chain:
    return Chain(name="answers", steps=[*(steps or [apply(answer)])])


FRAME = pd.DataFrame({"text": ["a", "bad", "c"], "id": [7, 8, 9]}, index=[5, 3, 4])


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {"output_dir": tmp_path / "run"} if request.param == "disk" else {}


def test_columns_have_the_types_of_the_models(place: dict[str, Any]) -> None:
    run = chain().run([{"text": "a"}, {"text": "bad"}], **place)
    table = run.to_arrow()
    assert {it.name: it.type for it in table.schema if it.name.startswith("answer.")} == {
        f"answer.{name}": kind for name, kind in TYPES.items()
    }
    assert table["answer.label"].combine_chunks().dictionary.to_pylist() == ["pos", "neg", "mixed"]
    row = table.to_pylist()[0]
    assert row["answer.price"] == Decimal("1.50")
    assert row["answer.parts"] == [{"x": 2, "day": None}]
    assert row["answer.aware"].isoformat() == "2024-01-02T02:00:00+00:00"
    assert row["answer.tree"] == {"children": ['{"children": []}']}


@pytest.mark.parametrize("rows", [[], [{"text": "bad"}]])
def test_without_answers_the_columns_are_the_same(rows: Any, place: dict[str, Any]) -> None:
    table = chain().run(rows, **place).to_arrow()
    assert table.num_rows == len(rows)
    for name, kind in TYPES.items():
        found = table.schema.field(f"answer.{name}").type
        assert found == kind or (name in ("price", "aware", "either")), name
    assert pl.DataFrame(chain().run(rows)).height == len(rows)
    assert len(chain().run(rows).to_pandas()) == len(rows)


@pytest.mark.parametrize(
    ("keep", "columns"), [("all", ["text", "n"]), (["n"], ["n"]), ("none", [])]
)
def test_without_rows_the_columns_of_a_frame_are_the_same(keep: Any, columns: list[str]) -> None:
    empty = pl.DataFrame({"text": ["a"], "n": [1]}).head(0)
    for given in (empty, empty.to_arrow(), empty.to_pandas()):
        found = chain().run(given, keep=keep).to_arrow()
        assert found.column_names[: len(columns) + 2] == ["row_id", *columns, "answer.label"]
        assert "n" not in columns or found.schema.field("n").type == pa.int64()
    assert chain().run(empty).to_polars().select("text", "n").schema == empty.schema
    assert chain().run([]).to_arrow().column_names[1] == "answer.label"


def test_parquet_has_these_types(tmp_path: Path) -> None:
    chain().run(FRAME, output_dir=tmp_path / "run", fmt="parquet")
    flattened = pq.read_table(tmp_path / "run/flattened.parquet")
    step = pq.read_table(tmp_path / "run/steps/answer.parquet")
    for name in ("label", "day", "at", "price", "part", "parts"):
        assert flattened.schema.field(f"answer.{name}").type == TYPES[name]
        assert step.schema.field(f"output.{name}").type == TYPES[name]
    assert flattened.column_names[:3] == ["row_id", "text", "id"]


def test_missing_answers_leave_integers_and_booleans_what_they_are() -> None:
    frame = chain().run([{"text": "a"}, {"text": "bad"}]).to_pandas()
    kinds = frame.dtypes.astype(str)
    assert kinds["row_id"] == "int64"
    assert kinds["answer.n"] == "Int64"
    assert kinds["answer.ok"] == "boolean"
    assert kinds["answer.label"] == "category"
    assert kinds["answer.at"] == "datetime64[us]"
    assert kinds["answer.day"] == "date32[day][pyarrow]"
    assert list(frame["answer.n"]) == [1, pd.NA]
    assert frame["answer.part"][0] == {"x": 1, "day": date(2024, 5, 6)}
    assert list(frame["answer.tags"][0]) == ["a"]


def pandas_frames() -> Iterator[Any]:
    yield FRAME
    yield FRAME.set_index("id")
    yield FRAME.set_index(["id", pd.Index([1, 2, 3], name=None)])
    yield FRAME.set_axis(pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"]))
    yield FRAME.assign(row_id=[1, 2, 3], item="i", error="e", answer=1)
    yield FRAME.reset_index(drop=True)


@pytest.mark.parametrize("frame", [*pandas_frames()], ids=range(6))
def test_answers_join_the_frame_that_they_are_of(frame: Any, place: dict[str, Any]) -> None:
    run = chain().run(frame, **place)
    joined = frame.join(run.to_pandas())
    assert joined.index.equals(frame.index)
    assert joined.index.names == frame.index.names
    assert list(joined.columns[: len(frame.columns)]) == list(frame.columns)
    assert list(joined["text"]) == ["a", "bad", "c"]
    assert list(joined["answer.n"]) == [1, pd.NA, 1]
    assert joined["error.message"].notna().tolist() == [False, True, False]


@pytest.mark.parametrize("options", [{"limit": 1}, {"sample": 2}])
def test_a_part_of_the_rows_joins_those(options: dict[str, int]) -> None:
    run = chain().run(FRAME, **options)  # type: ignore[arg-type]
    joined = FRAME.join(run.to_pandas())
    done = [result.row_id for result in run.results if result.ok]
    assert [*joined["answer.n"].notna()] == [n in done for n in range(3)]


def test_an_index_that_repeats_itself_is_said(caplog: pytest.LogCaptureFixture) -> None:
    frame = FRAME.set_axis(["x", "x", "y"])
    found = chain().run(frame).to_pandas()
    assert "multiply" in caplog.text
    beside = pd.concat([frame, found], axis=1)
    assert list(beside["answer.n"]) == [1, pd.NA, 1]
    assert list(beside["text"]) == ["a", "bad", "c"]


def test_the_columns_of_a_frame_keep_their_types() -> None:
    frame = pd.DataFrame(
        {
            "text": ["a", "b"], "kind": pd.Categorical(["u", "v"], ["v", "u"], ordered=True),
            "small": pd.array([1, None], "Int8"),
            "at": pd.to_datetime(["2024-01-01", None], utc=True),
            "month": pd.period_range("2024-01", periods=2, freq="M"), "share": [0.5, None],
            "price": [Decimal("1.5"), Decimal("2")], "any": [1, "x"],
        }, index=pd.Index(["p", "q"], name="key"),
    )  # fmt: skip
    run = chain().run(frame)
    found = run.to_pandas(inputs=True)[list(frame.columns)]
    for name in ("text", "kind", "small", "at", "month", "share"):
        pd.testing.assert_series_equal(found[name], frame[name])
    assert "key" not in run.to_pandas(inputs=True).columns
    assert run.results[0].inputs["key"] == "p"
    assert run.to_polars()["key"].to_list() == ["p", "q"]
    assert run.to_pandas(inputs=False).columns[0].startswith("answer.")


def test_columns_of_polars_keep_their_types(place: dict[str, Any]) -> None:
    frame = pl.DataFrame(
        {
            "text": ["a", "b"], "kind": pl.Series(["u", "v"], dtype=pl.Enum(["v", "u"])),
            "small": pl.Series([1, None], dtype=pl.Int8), "at": [datetime(2024, 1, 1), None],
            "price": pl.Series([Decimal("1.50"), None], dtype=pl.Decimal(10, 2)),
            "list": [[1], None], "struct": [{"a": date(2024, 1, 1)}, None], "float": [0.5, None],
            "row_id": [5, 6],
        }
    )  # fmt: skip
    found = chain().run(frame, **place).to_polars()
    renamed = frame.rename({"row_id": "input.row_id"})
    assert found.select(renamed.columns).equals(renamed)
    assert found.select(renamed.columns).schema == renamed.schema


def test_columns_of_arrow_and_parquet_keep_their_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["a", "b"], "small": pa.array([1, None], pa.uint8()),
            "most": pa.array([2**64 - 1, 1], pa.uint64()),
            "at": pa.array([0, None], pa.timestamp("ms", "Europe/Paris")),
            "code": pa.array(["x", "y"]).dictionary_encode(), "day": pa.array([1, 2], pa.date32()),
            "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
            "bytes": pa.array([b"\xff", b"a"]), "none": pa.nulls(2),
            "price": pa.array([Decimal("1.5"), None], pa.decimal128(7, 3)),
            "long": pa.array([1, None], pa.duration("ms")),
            "hour": pa.array([1, 2], pa.time32("ms")),
            "large": pa.array(["a", "b"], pa.large_string()),
            "half": pa.array([1, 2], pa.float16()),
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "rows.parquet")
    for given in (table, table.to_reader(), tmp_path / "rows.parquet"):
        found = chain().run(given).to_arrow()
        same = ("text", "small", "most", "large", "at", "code", "day", "price", "long", "hour")
        for name in (*same, "half"):
            assert found[name].to_pylist() == table[name].to_pylist()
            assert found.schema.field(name).type == table.schema.field(name).type
        assert found["map"].to_pylist() == ['{"a": 1}', None]


def test_rows_of_dicts_are_typed_by_all_of_them() -> None:
    rows = [{"text": "a", "n": 1}, {"text": "b", "n": 2.5, "more": [1]}, {"text": "c", "x": {}}]
    table = chain().run(rows).to_arrow()
    assert [str(table.schema.field(it).type) for it in ("n", "more", "x")] == [
        "double", "list<item: int64>", "string",
    ]  # fmt: skip
    assert table.column_names[:5] == ["row_id", "text", "n", "more", "x"]


def test_every_library_of_arrow_reads_a_run(place: dict[str, Any]) -> None:
    run = chain().run(FRAME, **place)
    assert pl.DataFrame(run).shape == run.to_polars().shape == run.to_arrow().shape
    assert pa.table(run).equals(run.to_arrow())
    found = duckdb.sql('select id, "answer.part".x as x from run order by id').fetchall()
    assert found == [(7, 1), (8, None), (9, 1)]
    again = chain().run(run)
    assert [it.inputs["id"] for it in again.results] == [7, 8, 9]


def split(row: Text) -> list[Text]:
    return [Text(text=part) for part in row.text.split()]


def test_a_row_that_was_split_has_a_line_for_each_item_or_lists() -> None:
    frame = pd.DataFrame({"text": ["a b", "c"], "id": [1, 2]}, index=["x", "y"])
    run = chain(apply(split), apply(answer)).run(frame)
    assert list(run.to_pandas().index) == ["x", "x", "y"]
    assert list(run.to_pandas()["item"]) == ["0", "1", "0"]
    assert list(frame.join(run.to_pandas())["id"]) == [1, 1, 2]
    lists = run.to_pandas(explode=False)
    assert list(lists.index) == ["x", "y"]
    assert [list(it) for it in lists["split.text"]] == [["a", "b"], ["c"]]
    assert [list(it) for it in lists["answer.n"]] == [[1, 1], [1]]
    table = run.to_polars(explode=False)
    assert table["id"].to_list() == [1, 2]
    assert table["answer.label"].to_list() == [["pos", "pos"], ["pos"]]
    assert chain().run(FRAME).to_polars(explode=False)["answer.n"].to_list() == [1, None, 1]


def test_a_branch_that_splits_has_lists() -> None:
    branching = chain(Branch(name="b", steps=[apply(split), apply(answer)]), apply(size))
    table = branching.run([{"text": "a b"}]).to_arrow()
    assert table.schema.field("answer[]").type.value_type.field("label").type == pa.string()
    assert [it["n"] for it in table["answer[]"].to_pylist()[0]] == [1, 1]
    assert "answer.label" not in table.column_names


def size(row: Text) -> int | None:
    return len(row.text)


def odd(row: Text) -> Any:
    return {"text": 1, "label": None} if row.text == "a" else Text(text="b")


def test_values_that_are_not_of_their_type_are_kept_as_they_are(tmp_path: Path) -> None:
    def wrong(row: Text) -> Answer:
        made = Answer(label="pos")
        wide = made.model_copy(update={"label": "other", "n": "many", "at": "never"})
        return wide if row.text == "a" else made

    table = chain(apply(wrong)).run([{"text": "a"}, {"text": "b"}]).to_arrow()
    assert table["wrong.label"].to_pylist() == ["other", "pos"]
    assert table["wrong.n"].to_pylist() == ['"many"', "1"]
    found = chain(apply(odd, output_model=Any)).run([{"text": "a"}, {"text": "b"}]).to_arrow()
    assert found["odd.text"].to_pylist() == ["1", '"b"']


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    size: int = 1
    name: str = "d"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    size: str = "small"
    lives: int = 9


class Home(BaseModel):
    pet: Dog | Cat


def pet(row: Text) -> Dog | Cat:
    return Dog() if row.text == "dog" else Cat()


def home(row: Text) -> Home:
    return Home(pet=pet(row))


def test_one_of_several_models_has_the_fields_of_all() -> None:
    rows = [{"text": "dog"}, {"text": "cat"}]
    table = chain(apply(pet)).run(rows).to_arrow()
    assert table.schema.field("pet.kind").type == pa.dictionary(pa.int32(), pa.string())
    assert table["pet.size"].to_pylist() == ["1", '"small"']
    assert table["pet.lives"].to_pylist() == [None, 9]
    (first, second) = chain(apply(home)).run(rows).to_arrow()["home.pet"].to_pylist()
    assert first == {"kind": "dog", "size": "1", "name": "d", "lives": None}
    assert second == {"kind": "cat", "size": '"small"', "name": None, "lives": 9}


class Money(BaseModel):
    price: Decimal
    at: datetime


@pytest.mark.parametrize(
    ("prices", "kind"),
    [
        (["1", "2.505"], pa.decimal128(38, 3)), (["1E+3", "-0.1"], pa.decimal128(38, 1)),
        (["1" * 18 + "." + "2" * 20], pa.decimal128(38, 20)), (["1" * 39], pa.string()),
        (["NaN", "1"], pa.string()),
    ],
)  # fmt: skip
def test_decimals_have_the_digits_that_they_need(prices: list[str], kind: pa.DataType) -> None:
    def money(row: dict[str, Any]) -> Money:
        return Money.model_construct(price=Decimal(row["p"]), at=datetime(2024, 1, 1))

    run = chain(apply(money)).run([{"p": price} for price in prices])
    found = run.to_arrow()["money.price"]
    assert found.type == kind
    if kind != pa.string():
        assert found.to_pylist() == [Decimal(price) for price in prices]


def test_times_with_and_without_an_offset_stay_texts() -> None:
    def money(row: dict[str, Any]) -> Money:
        return Money(price=1, at=row["at"])

    run = chain(apply(money)).run([{"at": "2024-01-01T00:00:00"}, {"at": "2024-01-01T00:00:00Z"}])
    assert run.to_arrow()["money.at"].to_pylist() == ["2024-01-01T00:00:00", "2024-01-01T00:00:00Z"]


def test_relations_lazy_frames_and_named_columns_are_rows() -> None:
    relation = duckdb.sql(
        "select 'a' as text, 1.5::decimal(10, 2) as price union all select 'b', 2"
    )
    run = chain().run(relation)
    assert [it.inputs for it in run.results] == [
        {"text": "a", "price": "1.50"}, {"text": "b", "price": "2.00"},
    ]  # fmt: skip
    assert run.to_arrow().schema.field("price").type == pa.decimal128(12, 2)
    assert duckdb.sql("select count(*) from run").fetchall() == [(2,)]
    relation = duckdb.sql("select 'a' as text from range(10)")
    assert chain().run(relation, sample=2).counts.rows == chain().run(relation, limit=2).counts.rows
    lazy = pl.LazyFrame({"text": ["a", "b"], "n": [1, 2]}).filter(pl.col("n") > 1)
    assert [it.inputs for it in chain().run(lazy).results] == [{"text": "b", "n": 2}]
    for column in (FRAME["text"], pl.Series("text", ["a", "bad", "c"])):
        assert [it.ok for it in chain().run(column).results] == [True, False, True]
    assert FRAME["text"].to_frame().join(chain().run(FRAME["text"]).to_pandas()).shape[0] == 3
    with pytest.raises(InputError, match="expected rows, not one column"):
        chain().run(pd.Series(["a"]))


def test_a_dataset_of_hugging_face_is_typed_by_its_features() -> None:
    datasets = pytest.importorskip("datasets")
    features = {"text": datasets.Value("string"), "n": datasets.Value("int8")}
    given = datasets.Dataset.from_dict(
        {"text": ["a", "b"], "n": [1, None]}, features=datasets.Features(features)
    )
    run = chain().run(given)
    assert [it.inputs for it in run.results] == [{"text": "a", "n": 1}, {"text": "b", "n": None}]
    assert run.to_arrow().schema.field("n").type == pa.int8()
    with pytest.raises(InputError, match="no column 'm' to keep"):
        chain().run(given, keep=["m"])


def test_a_frame_that_changes_after_the_run_does_not_change_it() -> None:
    frame = FRAME.copy()
    run = chain().run(frame)
    frame.loc[5, "id"] = 100
    frame["text"] = "x"
    assert list(run.to_pandas(inputs=True)["id"]) == [7, 8, 9]


def test_a_finished_run_that_is_resumed_has_the_index_too(tmp_path: Path) -> None:
    chain().run(FRAME, output_dir=tmp_path / "run")
    again = chain().run(FRAME, output_dir=tmp_path / "run", resume=True)
    assert again.nothing_to_do
    assert list(FRAME.join(again.to_pandas())["answer.n"]) == [1, pd.NA, 1]


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run = chain().run([{"text": "a"}])
    real = builtins.__import__

    def without(*names: str) -> None:
        def find(name: str, *more: Any) -> Any:
            if name.partition(".")[0] in names:
                raise ImportError(name)
            return real(name, *more)

        monkeypatch.setattr(builtins, "__import__", find)

    without("pandas")
    with pytest.raises(ConfigError, match=r"pip install \"chainette\[pandas\]\""):
        run.to_pandas()
    without("polars")
    with pytest.raises(ConfigError, match=r"chainette\[polars\]"):
        run.to_polars()
    without("pyarrow")
    for use in (run.to_pandas, run.to_polars, run.to_arrow, run.__arrow_c_stream__):
        with pytest.raises(ConfigError, match=r"need an extra: pip install \"chainette\["):
            use()
    for frame in (FRAME, pl.DataFrame({"text": ["a"]})):
        assert chain().run(frame).counts.rows


LOADED = """
import sys
import chainette
from chainette import Chain, apply
def same(row: dict) -> dict: return row
run = Chain(name="c", steps=apply(same)).run([{"a": 1}])
assert not {"pandas", "polars", "pyarrow", "duckdb"} & {*sys.modules}, sys.modules
"""


def test_a_run_loads_no_library_of_frames() -> None:
    subprocess.run([sys.executable, "-c", LOADED], check=True)


def test_lines_without_types_are_typed_by_their_values(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"row_id": 0, "a": 1}, {"row_id": 1, "a": None, "b": [1.5]}]
    write_table(lambda: iter(lines), tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet").to_pylist() == [
        {"row_id": 0, "a": 1, "b": None}, {"row_id": 1, "a": None, "b": [1.5]},
    ]  # fmt: skip


def test_a_run_that_was_made_by_hand_has_frames() -> None:
    run: Run[Any] = Run(
        results=[], counts=chain().run([]).counts, lines=lambda: iter([{"row_id": 0, "a.b": 1}])
    )
    assert run.to_arrow().to_pylist() == [{"row_id": 0, "a.b": 1}]


def arrow_column(values: list[Any], kind: Any) -> Any:
    return pd.Series(values, dtype=pd.ArrowDtype(kind))


ODD: dict[str, tuple[Any, Any]] = {
    "bytes": (arrow_column([b"a", b"\xff", None], pa.binary()), [b"a", b"\xff", None]),
    "fixed": (arrow_column([b"ab", b"\xff\xff", None], pa.binary(2)), [b"ab", b"\xff\xff", None]),
    "lists": (arrow_column([[b"\xff"], [], None], pa.list_(pa.binary())), [[b"\xff"], [], None]),
    "map": (
        arrow_column([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        ['[["k", 1]]', "[]", None],
    ),
    "bins": (pd.cut([1, 5, 9], [0, 3, 6, 10]), ["(0, 3]", "(3, 6]", "(6, 10]"]),
    "codes": (pd.Categorical([1, 3, None]), [1, 3, None]),
    "words": (pd.Categorical([b"x", b"y", None]), ["x", "y", None]),
}


@pytest.mark.parametrize("name", ODD)
def test_a_column_of_an_odd_type_keeps_its_values(name: str) -> None:
    column, expected = ODD[name]
    found = chain().run(pd.DataFrame({"text": ["a", "b", "c"], name: column}))
    values = found.to_pandas(inputs=True)[name].tolist()
    assert [None if it is pd.NA or it != it else it for it in values] == expected
    assert found.to_pandas(inputs=True)["answer.n"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(1)])
def test_bytes_stay_bytes(kind: pa.DataType, place: dict[str, Any]) -> None:
    table = pa.table({"text": ["a", "b", "c"], "raw": pa.array([b"a", b"\xff", None], kind)})
    for given in (table, pl.from_arrow(table)):
        run = chain().run(given, **place)
        assert run.to_polars()["raw"].to_list() == [b"a", b"\xff", None]
        assert run.to_arrow()["raw"].to_pylist() == [b"a", b"\xff", None]
        place = {}


def test_a_relation_that_cannot_be_read_is_an_error_of_the_inputs() -> None:
    connection = duckdb.connect()
    connection.sql("create table t as select 'a' as text")
    gone = connection.sql("from t")
    connection.sql("drop table t")
    failing = "case when i = 3000 then error('boom') else 'a' end as text"
    broken = connection.sql(f"select {failing} from range(5000) q(i)")
    with pytest.raises(InputError, match=r"relation of DuckDB cannot be read: .*not exist"):
        chain().run(gone)
    with pytest.raises(InputError, match=r"cannot be read to its end: .*boom"):
        chain().run(broken)
    closed = connection.sql("select 'a' as text")
    connection.close()
    with pytest.raises(InputError, match=r"relation of DuckDB cannot be read: .*closed"):
        chain().run(closed)


@pytest.mark.parametrize("column", [pa.array(["a", "b"]), pa.chunked_array([["a"], ["b"]])])
def test_a_column_of_arrow_is_rows_of_one_value(column: Any) -> None:
    upper = apply(str.upper, id="upper", input_model=str, output_model=str)
    run = chain(upper).run(column)
    assert run.to_arrow().select(["input", "upper"]).to_pylist() == [
        {"input": "a", "upper": "A"},
        {"input": "b", "upper": "B"},
    ]
    with pytest.raises(InputError, match="expected rows, not"):
        chain().run(column)


def test_a_column_without_a_name_is_none_of_the_levels() -> None:
    frame = pd.DataFrame([["a", 1, 2]], columns=pd.Index(["text", None, 0], dtype=object))
    frame.index.name = 0
    found = chain().run(frame).to_pandas(inputs=True)
    assert found[["None", "0"]].to_numpy().tolist() == [[1, 2]]


def test_a_column_that_arrow_does_not_have_leaves_the_others_their_types() -> None:
    columns = {"text": ["a", "b"], "at": [datetime(2024, 1, 1), None], "wide": [1, 2**100]}
    frame = pl.DataFrame(columns, schema_overrides={"wide": pl.Int128})
    run = chain().run(frame)
    assert run.to_arrow().schema.field("at").type == pa.timestamp("us")
    assert run.to_polars()["wide"].to_list() == [1, 2**100]
    sparse = pd.DataFrame({"text": ["a", "b"], "at": pd.to_datetime(["2024-01-01", None])})
    sparse["sparse"] = pd.arrays.SparseArray([0, 1])
    assert pa.types.is_timestamp(chain().run(sparse).to_arrow().schema.field("at").type)


def test_levels_of_an_index_have_types() -> None:
    days = pd.date_range("2024-01-01", periods=2, tz="Europe/Paris", name="day")
    index = pd.MultiIndex.from_arrays([days, pd.array([1, None], "Int8")], names=["day", "n"])
    frame = pd.DataFrame({"text": ["a", "b"]}, index=index)
    for rows in (frame, frame.iloc[:0]):
        table = chain().run(rows).to_arrow()
        assert table.column_names[:4] == ["row_id", "day", "n", "text"]
        assert table.schema.field("n").type == pa.int8()
        assert str(table.schema.field("day").type).endswith("tz=Europe/Paris]")


def test_longer_decimals_than_most_libraries_have_are_read_by_all() -> None:
    prices = pa.array([Decimal("1.5"), None], pa.decimal256(50, 2))
    run = chain().run(pa.table({"text": ["a", "b"], "price": prices}))
    assert run.to_polars()["price"].to_list() == [Decimal("1.5"), None]


def test_an_output_of_other_fields_has_no_empty_column_beside_them() -> None:
    def count(row: dict[str, str]) -> dict[str, int]:
        return {row["text"]: 1}

    run = Chain(name="counts", steps=apply(count)).run([{"text": "a"}, {"text": "b"}])
    assert run.to_arrow().column_names == ["row_id", "text", "count.a", "count.b"]


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars", "numpy"])
def test_a_dataset_that_gives_frames_is_rows(kind: str) -> None:
    datasets = pytest.importorskip("datasets")
    given = datasets.Dataset.from_dict({"text": ["a", "b"], "n": [1, 2]})
    rows = [{"text": "a", "n": 1}, {"text": "b", "n": 2}]
    for dataset in (given.with_format(kind), given.to_iterable_dataset().with_format(kind)):
        assert [it.inputs for it in chain().run(dataset).results] == rows
    narrow = given.with_format(kind, columns=["text"])
    assert chain().run(narrow).results[1].inputs == {"text": "b"}

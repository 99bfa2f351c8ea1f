"""Inputs in the hands of people: paths, cursors, arrays, iterators and values of options."""

from __future__ import annotations

import collections
import csv
import io
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from chainette import Chain, apply
from chainette.errors import ConfigError, InputError, OutputDirError
from pydantic import BaseModel


class Review(BaseModel):
    text: str
    stars: int | None = None


ROWS: list[dict[str, Any]] = [{"text": "a", "stars": 1}, {"text": "b", "stars": 2}]
ONE = '{"text": "a", "stars": 1}\n'


def chain() -> Chain:
    return Chain(
        name="c", steps=apply(lambda row: row, id="same", input_model=Review, output_model=Any)
    )


def count(inputs: Any, **options: Any) -> int:
    return chain().run(inputs, **options).counts.ok


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home and the working directory, with one file."""
    (tmp_path / "rows.jsonl").write_text(ONE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        "~/rows.jsonl",
        Path("~/rows.jsonl"),
        "~/*.jsonl",
        "rows.jsonl ",
        "rows.jsonl\n",
        '"rows.jsonl"',
    ],
)
def test_a_path_is_understood_as_it_is_written(path: Any, home: Path) -> None:
    assert count(path) == 1


def test_an_address_of_a_file_is_its_path(home: Path) -> None:
    name = home / "a b.jsonl"
    name.write_text(ONE)
    assert count(name.as_uri()) == 1


def test_a_name_that_begins_or_ends_with_spaces_is_found(home: Path) -> None:
    (home / " odd.jsonl").write_text(ONE)
    assert count(" odd.jsonl") == 1


def test_the_users_home_is_the_folder_of_a_run(home: Path) -> None:
    run = chain().run(ROWS, output_dir="~/out", cache=Path("~/cache"))
    assert run.path == home / "out"
    assert (home / "out/run.json").exists()
    assert not (home / "~").exists()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("row.jsonl", "did you mean 'rows.jsonl'?"),
        ("$DATA/rows.jsonl", "use os.path.expandvars"),
        ("${DATA}/rows.jsonl", "use os.path.expandvars"),
        ('[{"text": "a"}]', "is JSON, not the path of a file: give json.loads"),
        ('{"text": "a"}\n{"text": "b"}', "is JSON, not the path of a file"),
        ("s4://bucket/rows.jsonl", "no file system has the scheme 's4'"),
    ],
)
def test_a_path_that_is_none_says_what_to_give(path: str, words: str, home: Path) -> None:
    with pytest.raises(InputError) as caught:
        chain().run(path)
    assert words in str(caught.value)


def database(factory: Any = None) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = factory
    connection.executescript("create table r(text, stars); insert into r values('a', 1)")
    return connection


def frame() -> Any:
    return pytest.importorskip("pandas").DataFrame(ROWS)


Named = collections.namedtuple("Named", "text stars")
STRUCTURED = np.array([("a", 1)], dtype=[("text", "U5"), ("stars", "i4")])
NOT_ROWS: dict[str, tuple[Callable[[], Any], str]] = {
    "a cursor": (lambda: database().execute("select * from r"), "dict(zip(names, value))"),
    "rows of a database": (
        lambda: database(sqlite3.Row).execute("select * from r").fetchall(), "[dict(value) for",
    ),
    "a reader of CSV": (lambda: csv.reader(io.StringIO("text\na\n")), "dict(zip(names, value))"),
    "named tuples": (lambda: [Named("a", 1)], "value._asdict()"),
    "tuples": (lambda: zip("ab", [1, 2], strict=True), "dict(zip(names, value))"),
    "an array": (lambda: np.array([["a", "1"]]), "dict(zip(names, value))"),
    "an array of texts": (lambda: np.array(["a", "b"]), "[{'text': value} for value"),
    "a structured array": (lambda: STRUCTURED, "value.dtype.names"),
    "lines of JSON": (lambda: [ONE], "json.loads(value)"),
    "names of files": (lambda: ["a.jsonl", "b.jsonl"], "give a pattern"),
    "paths": (lambda: [Path("a.jsonl")], "give a pattern"),
    "a list too many": (lambda: [ROWS], "give the inner list itself"),
    "columns as arrays": (lambda: {"text": np.array(["a"])}, "zip(*columns.values())"),
    "columns of Polars": (lambda: pl.DataFrame(ROWS).to_dict(), "zip(*columns.values())"),
    "rows by key": (lambda: {"x": ROWS[0]}, "list(rows.values())"),
    "models by key": (lambda: {"x": Review(text="a")}, "list(rows.values())"),
    "a frame as a dict": (lambda: frame().to_dict(), "give the frame itself"),
    "rows of a frame": (lambda: frame().iterrows(), "give the data frame itself"),
    "named rows of a frame": (lambda: frame().itertuples(), "value._asdict()"),
    "groups of a frame": (lambda: frame().groupby("stars"), "give the data frame itself"),
    "frames": (lambda: [frame(), frame()], "pd.concat(frames)"),
    "a list of series": (lambda: [frame().iloc[0]], "[dict(value) for"),
    "values of a frame": (lambda: frame().values, "dict(zip(names, value))"),
    "an index of a frame": (lambda: frame().set_index("text"), "give df.reset_index()"),
    "levels of a frame": (lambda: frame().pivot(columns="stars"), "has several levels: join"),
    "a frame as JSON": (lambda: frame().to_json(), "is JSON, not the path"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), NOT_ROWS.values(), ids=NOT_ROWS)
def test_what_is_nearly_rows_is_refused_with_the_way_to_make_them(
    make: Callable[[], Any], words: str
) -> None:
    with pytest.raises(InputError) as caught:
        chain().run(make())
    assert words.replace("has several", "have several") in str(caught.value)


def test_splits_that_are_streamed_are_named() -> None:
    datasets = pytest.importorskip("datasets")
    stream = datasets.Dataset.from_list(ROWS).to_iterable_dataset()
    with pytest.raises(InputError, match="not splits: give one of them: train"):
        chain().run(datasets.IterableDatasetDict(train=stream))
    assert count(stream) == 2


def test_a_frame_of_a_users_own_class_is_its_rows() -> None:
    pandas = pytest.importorskip("pandas")

    class Frame(pandas.DataFrame):
        pass

    assert count(Frame([{"text": "a", "more": [1]}, {"text": "b", "more": "x"}])) == 2


USED_UP: dict[str, Callable[[], Any]] = {
    "an iterator": lambda: iter(ROWS),
    "a map": lambda: map(dict, ROWS),
    "a reader of CSV": lambda: csv.DictReader(io.StringIO("text,stars\na,1\n")),
    "a generator": lambda: (row for row in ROWS),
}


@pytest.mark.parametrize("make", USED_UP.values(), ids=USED_UP)
def test_an_iterator_that_is_used_up_is_warned_of(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    rows = make()
    with caplog.at_level(logging.WARNING):
        assert count(rows) > 0
        assert not caplog.records
        assert count(rows) == 0
        assert count([]) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "the inputs had no rows; an iterator can be read only once: give a list, or make it again"
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": -1}, "limit=-1: expected a whole number that is not negative"),
        ({"limit": True}, "limit=True"),
        ({"limit": 1.5}, "limit=1.5: expected a whole number"),
        ({"sample": 0.5}, "sample=0.5: expected a whole number"),
        ({"sample": -1}, "sample=-1"),
        ({"max_cost": "$5"}, "max_cost='$5': expected a number"),
        ({"max_errors": -0.1}, "max_errors=-0.1"),
        ({"max_errors": float("nan")}, "max_errors=nan"),
        ({"columns": ["text"]}, "columns=['text']: expected a dict of columns by field"),
        ({"columns": "text"}, "columns='text': expected a dict"),
        ({"columns": {"text": 0}}, "expected a dict of columns"),
        ({"columns": {}}, "columns={}: expected a dict of columns by field, such as"),
        ({"fmt": "csv"}, "fmt='csv': expected 'jsonl' or 'parquet'"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_one_message(options: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chain().run(ROWS, **options)
    assert words in str(caught.value)


def test_numbers_of_other_libraries_are_numbers() -> None:
    assert count(ROWS, limit=np.int64(1)) == 1
    assert count(ROWS, limit=1.0) == 1
    assert count(ROWS, limit=0) == 0


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ({"columns": {"text": "a"}}, {"columns": {"text": "b"}}, "columns"),
        ({"columns": {"text": "text"}}, {}, "columns"),
        ({}, {"columns": {"text": "text"}}, "columns"),
        ({}, {"encoding": "latin-1"}, "encoding"),
        ({"encoding": "UTF-8"}, {"encoding": "latin-1"}, "encoding"),
        ({}, {"delimiter": ","}, "delimiter"),
    ],
)
def test_a_run_that_reads_its_inputs_in_another_way_is_not_resumed(
    tmp_path: Path, before: Any, after: Any, name: str
) -> None:
    (tmp_path / "rows.csv").write_text("text,a,b\nx,1,2\ny,3,4\n")
    shared: dict[str, Any] = {"output_dir": tmp_path / "run", "resume": True}
    chain().run(tmp_path / "rows.csv", limit=1, **shared, **before)
    with pytest.raises(OutputDirError, match=rf"changed since: the inputs \({name}\); choose an"):
        chain().run(tmp_path / "rows.csv", **shared, **after)
    assert chain().run(tmp_path / "rows.csv", **shared, **before).counts.ok == 2

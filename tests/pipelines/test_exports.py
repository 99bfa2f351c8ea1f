"""Tables of runs as files of other formats, read back by other programs."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import fsspec
import openpyxl
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from chainette import Chain, Drop, Group, Run, apply, reduce
from chainette.errors import ConfigError, ExportError, OutputDirError
from chainette.reports.export import xlsx_file
from chainette.reports.run import Counts
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl.utils.escape import unescape
from pydantic import BaseModel
from typer.testing import CliRunner


class Row(BaseModel):
    n: int
    key: str


class Answer(BaseModel):
    label: Literal["good", "bad"]
    note: str | None = None
    tags: list[str] = []


class Total(BaseModel):
    total: int


def judge(row: Row) -> Answer:
    if row.n % 5 == 4:
        raise ValueError("no answer")
    if row.n % 5 == 3:
        raise Drop("not wanted")
    return Answer(label="bad" if row.n % 2 else "good", note=None if row.n else "=1+1, é\n\"x\"",
                  tags=["a"] * row.n)  # fmt: skip


ROWS = [{"n": n, "key": "ab"[n % 2]} for n in range(10)]
JUDGE = apply(judge, id="judge")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run[Any]:
    folder = tmp_path_factory.mktemp("exports") / "run"
    return Chain(name="c", steps=[JUDGE]).run(ROWS, output_dir=folder)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Run[Any]:
    """A run with splits and groups."""

    def split(row: Row) -> list[Total]:
        if row.n == 3:
            raise ValueError("three")
        return [Total(total=row.n), Total(total=-row.n)]

    def sum_up(group: Group[Total]) -> Total:
        return Total(total=sum(item.total for item in group.items))

    steps = [apply(split, id="split"), reduce(apply(sum_up, id="sum"), by="chain_input.key")]
    folder = tmp_path_factory.mktemp("exports") / "groups"
    return Chain(name="c", steps=steps).run(ROWS[:5], output_dir=folder)


def without_nothing(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if value is not None}


def of_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [*csv.DictReader(file)]


def of_xlsx(path: Path) -> list[dict[str, Any]]:
    book = openpyxl.load_workbook(path, read_only=True)
    header, *rows = [*book.worksheets[0].iter_rows(values_only=True)] or [()]
    cells = [[unescape(it) if isinstance(it, str) else it for it in row] for row in rows]
    book.close()
    names = [unescape(str(name)) for name in header]
    return [dict(zip(names, row, strict=True)) for row in cells]


def of_db(path: Path, query: str = "SELECT * FROM flattened") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]


def text(value: Any) -> Any:
    """A nested value as tables of plain cells have it."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.text(CHARACTERS, max_size=12) | st.sampled_from(
    ["", "=1+1", "+", "-1", "@x", "0012", "1e5", "true", "NaN", " a ", "a\rb", "\r\n", '"', '""',
     "_x0041_", "\x01", "\ufffe", "😀", "https://x.example", "null"]
)  # fmt: skip
EDGES = [0, 2**53 + 1, 2**63 - 1, 2**63, -(2**63)]
INTEGERS = st.integers(-(2**70), 2**70) | st.sampled_from(EDGES)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False) | TEXTS
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXTS, SCALARS, max_size=2)
NAMES = st.sampled_from(["a", "a.b", "A", "select", 'x"y', "é", "b,c", " d", "e;f", "key", "item"])
LINES = st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=4).map(
    lambda found: [{"row_id": index, **line} for index, line in enumerate(found)]
)


def exported(lines: list[dict[str, Any]], path: Path) -> Path:
    run: Run[Any] = Run([], Counts(), lines=lambda: iter(lines))
    run.export(path, overwrite=True)
    return path


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_json_lines_come_back_as_they_were(lines: list[dict[str, Any]]) -> None:
    path = exported(lines, FOLDER / "t.jsonl")
    assert [json.loads(line) for line in path.read_bytes().decode().split("\n")[:-1]] == lines


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_csv_comes_back_with_numbers_and_nested_values_as_text(lines: list[dict[str, Any]]) -> None:
    found = of_csv(exported(lines, FOLDER / "t.csv"))
    assert len(found) == len(lines)
    for line, row in zip(lines, found, strict=True):
        for name, cell in row.items():
            value = line.get(name)
            if isinstance(value, str):
                assert cell == value
            elif value is None:
                assert cell == ""
            else:
                again = float(cell) if cell in ("Infinity", "-Infinity") else json.loads(cell)
                assert again == value
                assert type(again) is type(value)
    assert exported(lines, FOLDER / "t.csv").read_bytes().count(b"\r\n") >= len(lines)


@settings(max_examples=30, deadline=None)
@given(LINES.filter(bool))
def test_other_readers_of_csv_agree(lines: list[dict[str, Any]]) -> None:
    path = exported(lines, FOLDER / "t.csv")
    expected = [[*row.values()] for row in of_csv(path)]
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, lineterminator=None)
    assert frame.to_numpy().tolist() == expected
    table = pl.read_csv(path, infer_schema=False, truncate_ragged_lines=False)
    cells = [["" if it is None else it for it in row] for row in table.rows()]
    assert cells == expected
    names = dict.fromkeys(name for line in lines for name in line)
    nothing = [[line.get(name) is None for name in names] for line in lines]
    assert [[it is None for it in row] for row in table.rows()] == nothing


@settings(max_examples=40, deadline=None)
@given(LINES)
@example([{"row_id": 0, "a": 1.7976931348623155e308}])
def test_workbooks_hold_texts_as_texts_and_numbers_as_far_as_excel_does(
    lines: list[dict[str, Any]],
) -> None:
    found = of_xlsx(exported(lines, FOLDER / "t.xlsx"))
    assert len(found) == len(lines)
    for line, row in zip(lines, found, strict=True):
        for name, cell in row.items():
            value = line.get(name)
            if value is None or value == "":
                assert cell in (None, "")
            elif type(value) is int:
                assert str(cell) == str(value)
                assert isinstance(cell, str) == (abs(value) >= 10**15)
            elif isinstance(value, float):
                same = float(cell) if isinstance(cell, str) else cell
                assert math.isclose(same, value, rel_tol=1e-14, abs_tol=1e-300)
            else:
                assert cell == text(value)
                assert type(cell) is type(text(value))


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_databases_hold_every_value_exactly(lines: list[dict[str, Any]]) -> None:
    found = of_db(exported(lines, FOLDER / "t.db"))
    names = [*dict.fromkeys(name for line in lines for name in line)]
    assert len(found) == len(lines)
    for line, row in zip(lines, found, strict=True):
        assert len(row) == len(names)
        for name, cell in zip(names, row.values(), strict=True):
            value = text(line.get(name))
            if type(value) is int and not -(2**63) <= value < 2**63:
                value = str(value)
            assert cell == value
            assert isinstance(cell, type(value)) or isinstance(value, bool)


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_parquet_holds_what_the_frames_hold(lines: list[dict[str, Any]]) -> None:
    table = pq.read_table(exported(lines, FOLDER / "t.parquet"))
    assert table.num_rows == len(lines)
    assert table.column_names == [*dict.fromkeys(name for line in lines for name in line)]


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    global FOLDER
    FOLDER = tmp_path_factory.mktemp("tables")


FOLDER = Path()


@pytest.mark.parametrize(
    "name",
    ["t.csv", "t.tsv", "t.jsonl", "t.ndjson", "t.parquet", "t.xlsx", "t.db", "t.sqlite", "T.CSV"],
)
def test_every_format_has_every_row(name: str, run: Run[Any], tmp_path: Path) -> None:
    path = tmp_path / name
    assert run.export(path) == path
    readers: dict[str, Any] = {
        ".csv": of_csv,
        ".tsv": lambda it: pd.read_csv(it, sep="\t").to_dict("records"),
        ".jsonl": lambda it: [*map(json.loads, it.read_text().splitlines())],
        ".ndjson": lambda it: [*map(json.loads, it.read_text().splitlines())],
        ".parquet": lambda it: pq.read_table(it).to_pylist(),
        ".xlsx": of_xlsx,
        ".db": of_db,
        ".sqlite": of_db,
    }
    rows = readers[path.suffix.lower()](path)
    assert [int(row["row_id"]) for row in rows] == list(range(10))
    assert list(tmp_path.iterdir()) == [path]


def test_packed_text_is_unpacked_by_others(run: Run[Any], tmp_path: Path) -> None:
    run.export(tmp_path / "t.csv.gz")
    unpacked = gzip.decompress((tmp_path / "t.csv.gz").read_bytes()).decode()
    assert len([*csv.DictReader(io.StringIO(unpacked))]) == 10


@pytest.mark.parametrize(("only", "ids"), [("ok", [0, 1, 2, 5, 6, 7]), ("failed", [4, 9])])
def test_only_some_rows_are_exported(
    only: Literal["ok", "failed"], ids: list[int], run: Run[Any], tmp_path: Path
) -> None:
    run.export(tmp_path / "t.csv", only=only)
    assert [int(row["row_id"]) for row in of_csv(tmp_path / "t.csv")] == ids
    run.export(tmp_path / "t.db", only=only)
    assert [row["row_id"] for row in of_db(tmp_path / "t.db")] == ids


def test_one_nodes_table_is_exported(run: Run[Any], tmp_path: Path) -> None:
    run.export(tmp_path / "t.csv", step="judge")
    rows = of_csv(tmp_path / "t.csv")
    assert sorted(row["row_id"] for row in rows) == ["0", "1", "2", "3", "5", "6", "7", "8"]
    assert [row["row_id"] for row in rows if row["kind"] == "dropped"] == ["3", "8"]
    assert {row["output.label"] for row in rows} == {"good", "bad", ""}
    run.export(tmp_path / "u.csv", step=JUDGE)
    assert (tmp_path / "u.csv").read_bytes() == (tmp_path / "t.csv").read_bytes()


def test_a_database_has_all_tables_and_keys_that_hold(run: Run[Any], tmp_path: Path) -> None:
    run.export(tmp_path / "t.db")
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master "
                                                       "WHERE type = 'table'")]  # fmt: skip
        assert tables == ["flattened", "judge", "errors", "dropped"]
        keys = database.execute("PRAGMA foreign_key_list(judge)").fetchall()
        assert [key[2:5] for key in keys] == [("flattened", "row_id", "row_id")]
    joined = of_db(
        tmp_path / "t.db",
        'SELECT f."judge.label" AS a, j."output.label" AS b FROM flattened f JOIN judge j '
        "USING (row_id)",
    )
    assert len(joined) == 8
    assert all(row["a"] == row["b"] for row in joined)


def test_splits_and_groups_are_exported(groups: Run[Any], tmp_path: Path) -> None:
    groups.export(tmp_path / "t.db")
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("SELECT count(*) FROM rows").fetchall() == [(5,)]
        assert database.execute("SELECT count(*) FROM flattened").fetchall() == [(9,)]
        found = database.execute('SELECT key, "sum.total" FROM groups_sum').fetchall()
    assert found == [("a", 0), ("b", 0)]
    groups.export(tmp_path / "g.csv", groups="sum")
    assert [row["key"] for row in of_csv(tmp_path / "g.csv")] == ["a", "b"]


def test_names_that_sqlite_takes_for_the_same_stay_apart(tmp_path: Path) -> None:
    class Both(BaseModel):
        a: int
        A: int

    @apply(id="Flattened", input_model=Row, output_model=Both)
    def both(row: Row) -> Both:
        return Both(a=row.n, A=-row.n)

    run = Chain(name="c", steps=[both]).run(ROWS[:3], output_dir=tmp_path / "run")
    run.export(tmp_path / "t.db")
    rows = of_db(tmp_path / "t.db")
    assert [(row["Flattened.a"], row["Flattened.A_2"]) for row in rows] == [
        (0, 0),
        (1, -1),
        (2, -2),
    ]
    assert len(of_db(tmp_path / "t.db", "SELECT * FROM Flattened_2")) == 3


@pytest.mark.parametrize(
    ("target", "choices", "words"),
    [
        ("t.doc", {}, "no format ends in .doc; give .csv, .tsv, .jsonl, .parquet, .xlsx, .db"),
        ("t", {}, "its name does not tell the format"),
        ("no/t.csv", {}, "there is no such folder"),
        (".", {"format": "csv"}, "is a folder; name a file in it"),
        ("there.csv", {}, "exists already; choose another name, or replace it (overwrite=True"),
        ("t.xlsx.gz", {}, ".gz is for .csv, .tsv and .jsonl"),
        ("-", {}, "give the path of a file"),
        ("t.csv", {"step": "jugde"}, "no node with the id 'jugde' (did you mean 'judge'?)"),
        ("t.csv", {"groups": "judge"}, "no reduce with the id 'judge'; it has none"),
        ("t.csv", {"step": "judge", "only": "ok"}, "a node's table has only its answers"),
        ("t.csv", {"only": "bad"}, "only is 'bad'; give 'ok' or 'failed'"),
        ("t.csv", {"format": "excel"}, "no format 'excel'"),
        ("https://example.com/t.csv", {}, "https://example.com/t.csv: files cannot be written"),
        ("run/errors.jsonl", {"overwrite": True}, "is a file of the run itself"),
    ],
)
def test_what_cannot_be_exported_is_one_error_and_no_file(
    target: str, choices: dict[str, Any], words: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    run = Chain(name="c", steps=[JUDGE]).run(ROWS[:1], output_dir="run")
    Path("there.csv").write_text("mine")
    with pytest.raises(ExportError) as caught:
        run.export(target, **choices)
    assert words in str(caught.value)
    assert sorted(it.name for it in tmp_path.iterdir()) == ["run", "there.csv"]
    assert Path("there.csv").read_text() == "mine"


def test_what_does_not_fit_on_a_sheet_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [{"row_id": 0, "a.text": "x" * 32_767}, {"row_id": 1, "a.text": "é" * 32_768}]
    with pytest.raises(ExportError, match=r"line 2 of the table, column 'a.text': 32,768 char"):
        exported(long, tmp_path / "t.xlsx")
    monkeypatch.setattr(xlsx_file, "ROWS", 3)
    exported(long[:1] * 2, tmp_path / "t.xlsx")
    with pytest.raises(ExportError, match=r"3 rows do not fit on a sheet, which has 3 with"):
        exported(long[:1] * 3, tmp_path / "u.xlsx")
    wide = {"row_id": 0, **{f"a.{index}": index for index in range(2000)}}
    with pytest.raises(ExportError, match=r"has 2,001 columns, and SQLite takes 2,000"):
        exported([wide], tmp_path / "t.db")
    assert [it.name for it in tmp_path.iterdir()] == ["t.xlsx"]


def test_texts_like_formulas_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [{"row_id": 0, "a.x": '=HYPERLINK("http://x")'}, {"row_id": 1, "a.x": -1}]
    exported(lines, tmp_path / "t.csv")
    assert "1 text begins with =, +, - or @" in caplog.text
    caplog.clear()
    exported(lines, tmp_path / "t.xlsx")
    assert not caplog.text
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").worksheets[0]
    assert [cell.data_type for cell in sheet["B"]] == ["s", "s", "n"]


def test_numbers_that_json_does_not_have_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = [float("nan"), [float("-inf")], 1e308, "NaN", {"Infinity": 1}]
    lines = [{"row_id": index, "a.x": it} for index, it in enumerate(numbers)]
    exported(lines[2:], tmp_path / "finite.jsonl")
    assert not caplog.text
    exported(lines, tmp_path / "t.jsonl")
    assert "2 lines have NaN or an infinite number" in caplog.text
    found = [*map(json.loads, (tmp_path / "t.jsonl").read_text().splitlines())]
    assert repr([it["a.x"] for it in found]) == repr(numbers)


def test_addresses_are_targets_too(run: Run[Any]) -> None:
    run.export("memory://out/t.csv")
    with fsspec.open("memory://out/t.csv") as file:
        assert file.read().count(b"\r\n") == 11
    with pytest.raises(ExportError, match=r"^memory://out/t.csv: exists already"):
        run.export("memory://out/t.csv")
    run.export("memory://out/t.csv", overwrite=True)
    with pytest.raises(ConfigError, match="pip install gcsfs"):
        run.export("gs://bucket/t.csv")


def command(*words: str | Path) -> Any:
    from chainette.cli.app import app

    return CliRunner().invoke(app, ["export", *map(str, words)], catch_exceptions=True)


def test_the_command_needs_only_the_folder(run: Run[Any], tmp_path: Path) -> None:
    assert run.path is not None
    done = command(run.path, tmp_path / "t.csv")
    assert (done.exit_code, done.stdout) == (0, "")
    assert f"{tmp_path / 't.csv'}: 10 lines" in done.stderr
    assert "1 text begins with =" in done.stderr
    assert isinstance(command(run.path, tmp_path / "t.csv").exception, ExportError)
    assert command(run.path, tmp_path / "t.csv", "--overwrite").exit_code == 0
    assert isinstance(command(tmp_path, tmp_path / "u.csv").exception, OutputDirError)
    lines = command(run.path, "-").stdout.splitlines()
    assert [json.loads(line)["row_id"] for line in lines] == list(range(10))
    failed = command(run.path, "-", "--format", "csv", "--only", "failed").stdout
    assert [row["row_id"] for row in csv.DictReader(io.StringIO(failed))] == ["4", "9"]


def test_an_unfinished_run_gives_what_it_has_and_says_so(run: Run[Any], tmp_path: Path) -> None:
    assert run.path is not None
    copy = tmp_path / "run"
    for file in run.path.rglob("*"):
        if file.is_file():
            place = copy / file.relative_to(run.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            content = file.read_bytes()
            if "flattened" in place.parts:
                content = b"".join(content.splitlines(keepends=True)[:3]) + b'{"row_id":3,"ju'
            if place.name == "run.json":
                content = content.replace(b'"finished"', b'"interrupted"')
            place.write_bytes(content)
    done = command(copy, tmp_path / "t.db")
    assert "the run is interrupted: the table has the rows that have ended so far" in done.stderr
    assert [row["row_id"] for row in of_db(tmp_path / "t.db")] == [0, 1, 2]
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("SELECT count(*) FROM judge").fetchall() == [(8,)]


def test_the_command_imports_no_backend_and_no_engine(run: Run[Any], tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['chainette', 'export', *sys.argv[1:]]\n"
        "from chainette.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: code = end.code\n"
        "names = ('chainette_openai', 'aiohttp', 'fsspec', 'pyarrow', 'pandas', 'xlsxwriter')\n"
        "print(code, [it for it in names if it in sys.modules])\n"
    )
    words = [sys.executable, "-c", code, str(run.path), str(tmp_path / "t.csv")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0 []", done.stderr


MEMORY = """
import json, resource, sys, tracemalloc
from pathlib import Path
from chainette.reports.export.export import Choice, export_run
from chainette.reports.stored.run_folder import StoredRun
target = sys.argv[2]
export_run(StoredRun(sys.argv[1] + "/small"), "warm-" + target, Choice())
tracemalloc.start()
export_run(StoredRun(sys.argv[1] + "/" + sys.argv[3]), target, Choice())
print(tracemalloc.get_traced_memory()[1])
"""


def folder_of(path: Path, rows: int) -> None:
    """A run's folder of so many rows, as a run of one function leaves it."""
    Chain(name="c", steps=[JUDGE]).run(ROWS[:1], output_dir=path)
    with (
        (path / "flattened/000000.jsonl").open("w") as table,
        (path / "steps/judge/000000.jsonl").open("w") as steps,
    ):
        for line in made(rows):
            table.write(json.dumps(line) + "\n")
            output = {"label": "good", "note": line["judge.note"], "tags": []}
            steps.write(json.dumps({"row_id": line["row_id"], "output": output}) + "\n")


def made(rows: int) -> Iterator[dict[str, Any]]:
    for index in range(rows):
        yield {"row_id": index, "judge.label": "good", "judge.note": "x" * 200, "judge.tags": []}


@pytest.mark.exhaustive
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "xlsx", "db"])
def test_memory_does_not_grow_with_the_rows(format: str, tmp_path: Path) -> None:
    for name, rows in {"small": 10, "middle": 25_000, "large": 60_000}.items():
        folder_of(tmp_path / name, rows)
    peaks = []
    for name in ["middle", "large"]:
        words = [sys.executable, "-c", MEMORY, str(tmp_path), f"{name}.{format}", name]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.25 * peaks[0] + 1_000_000


def test_what_failed_comes_last_even_if_the_first_row_did(tmp_path: Path) -> None:
    lines = [
        {"row_id": 0, "error.node_id": "a", "error.message": "no"},
        {"row_id": 1, "a.x": 1, "dropped": True},
        {"row_id": 2, "a.x": 1, "a.y": 2},
    ]
    exported(lines, tmp_path / "t.csv")
    names = ["row_id", "a.x", "a.y", "error.node_id", "error.message", "dropped"]
    assert [*of_csv(tmp_path / "t.csv")[0]] == names
    exported([], tmp_path / "u.csv")
    assert (tmp_path / "u.csv").read_text() == "row_id\n"


@pytest.mark.parametrize("rows", [[], [{"n": 4, "key": "a"}]])
def test_without_answers_the_columns_of_a_table_are_the_same(rows: Any, tmp_path: Path) -> None:
    run = Chain(name="c", steps=[JUDGE]).run(rows, output_dir=tmp_path / "run")
    answers = ["judge.label", "judge.note", "judge.tags"]
    run.export(tmp_path / "t.csv")
    header = (tmp_path / "t.csv").read_text().splitlines()[0].split(",")
    assert [name for name in header if name.startswith("judge")] == answers
    run.export(tmp_path / "t.db")
    with closing(sqlite3.connect(tmp_path / "t.db")) as base:
        found = [it[1] for it in base.execute("pragma table_info(flattened)")]
    assert [name for name in found if name.startswith("judge")] == answers
    run.export(tmp_path / "t.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx").worksheets[0]
    assert [it.value for it in sheet[1] if str(it.value).startswith("judge")] == answers


@pytest.mark.parametrize("format", ["csv", "xlsx", "db", "parquet"])
def test_lines_that_are_added_meanwhile_are_left_out(format: str, tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [{"row_id": 0, "a.x": 1}]

    def growing() -> Iterator[dict[str, Any]]:
        yield from [*lines]
        lines.append({"row_id": len(lines), "a.new": "x"})

    run: Run[Any] = Run([], Counts(), lines=growing)
    path = run.export(tmp_path / f"t.{format}")
    readers: dict[str, Any] = {"csv": of_csv, "xlsx": of_xlsx, "db": of_db}
    readers["parquet"] = lambda path: pq.read_table(path).to_pylist()
    rows = [{name: int(value) for name, value in row.items()} for row in readers[format](path)]
    assert rows == [{"row_id": 0, "a.x": 1}]


FULL = """
import os, resource, signal, sys
from chainette.errors import ExportError
from chainette.reports.run import Counts, Run
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import pyarrow.parquet, sqlite3, xlsxwriter
lines = [{"row_id": index, "a": os.urandom(99).hex()} for index in range(2000)]
run = Run([], Counts(), lines=lambda: iter(lines))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for format in ["csv", "jsonl", "parquet", "xlsx", "db", "csv.gz"]:
    try:
        run.export("t." + format)
    except ExportError as error:
        print(error)
print(os.listdir())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit of the size of files")
def test_a_full_disk_is_one_error_and_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FULL]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    *errors, files = done.stdout.splitlines()
    assert (len(errors), files) == (6, "[]"), done.stderr
    assert all(": cannot be written: " in error for error in errors)


def test_groups_alone_are_a_database_of_one_table(groups: Run[Any], tmp_path: Path) -> None:
    groups.export(tmp_path / "t.db", groups="sum")
    with closing(sqlite3.connect(tmp_path / "t.db")) as database:
        names = database.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("groups_sum",)]

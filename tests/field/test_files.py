"""Files as people have them, and the one message about those that cannot be read."""

from __future__ import annotations

import gzip
import json
from datetime import date, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chainette import Chain, apply, load_engines
from chainette.errors import ConfigError, InputError
from pydantic import BaseModel


class Row(BaseModel):
    text: str
    n: int = 0


def chain(model: Any = Row) -> Chain:
    return Chain(
        name="c", steps=apply(lambda row: row, id="same", input_model=model, output_model=Any)
    )


def rows(inputs: str | Path, model: Any = Row, **options: Any) -> list[Any]:
    return [result.unwrap() for result in chain(model).run(inputs, **options).results]


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


TWO = [Row(text="a", n=1), Row(text="b", n=2)]
LINES = '{"text": "a", "n": 1}\n{"text": "b", "n": 2}\n'
ARRAY = '[{"text": "a", "n": 1}, {"text": "b", "n": 2}]'
MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,n\na,1\nb,2\n"),
        ("a.csv", "text,n\r\na,1\r\nb,2"),
        ("a.csv", "text;n\na;1\nb;2\n"),
        ("a.csv", "text\tn\na\t1\nb\t2\n"),
        ("a.tsv", "text\tn\na\t1\nb\t2\n"),
        ("a.csv", "sep=;\r\ntext;n\r\na;1\r\nb;2\r\n"),
        ("a.csv", "text, n\na, 1\nb, 2\n"),
        ("a.csv", 'text, n\n"a", 1\n"b", 2\n'),
        ("a.csv", " text , n \na,1\nb,2\n"),
        ("a.csv", '"text","a;b;c",n\na,x,1\nb,x,2\n'),
        ("a.csv", "\n\ntext,n\n\na,1\n\nb,2\n\n"),
        ("a.csv", ",text,n\n0,a,1\n1,b,2\n"),
        ("a.csv", "text,n,\na,1,\nb,2,\n"),
        ("a.csv", "text,n\na,1,\nb,2,,\n"),
        ("a.csv", MARK + b"text,n\na,1\nb,2\n"),
        ("a.csv", MARK * 2 + b'"text",n\na,1\nb,2\n'),
        ("a.csv", b"\n" + MARK + b"text,n\na,1\nb,2\n"),
        ("a.csv.gz", "text,n\na,1\nb,2\n"),
        ("a.tsv.gz", "text\tn\na\t1\nb\t2\n"),
        ("a.jsonl", LINES),
        ("a.jsonl", LINES.replace("\n", "\r\n")),
        ("a.jsonl", LINES.rstrip()),
        ("a.jsonl", LINES.replace("}\n", "},\n")),
        ("a.jsonl", "[\n" + LINES.replace("}\n", "},\n") + "]\n"),
        ("a.jsonl", ARRAY),
        ("a.jsonl", json.dumps(json.loads(ARRAY), indent=2)),
        ("a.jsonl", MARK + LINES.encode()),
        ("a.jsonl", MARK * 2 + LINES.encode()),
        ("a.jsonl", MARK * 2 + ARRAY.encode()),
        ("a.jsonl", LINES.encode().replace(b"\n", b"\n" + MARK, 1)),
        ("a.json", LINES),
        ("a.json", LINES.replace("}\n", "},\n")),
        ("a.json", ARRAY),
        ("a.json", "[\n" + LINES.replace("}\n", "},\n") + "]"),
        ("a.jsonl.gz", LINES),
        ("a.json.gz", ARRAY),
        ("a.ndjson.gz", LINES),
    ],
)
def test_rows_are_read_as_programs_write_them(
    name: str, content: str | bytes, tmp_path: Path
) -> None:
    assert rows(write(tmp_path / name, content)) == TWO


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,n\ncafé,1\n".encode("latin-1") * 3, "a.csv:2: not UTF-8, probably Latin-1"),
        ("a.csv", b"text\n" + b"x\n" * 2_000_000 + b"\xe9", "a.csv:2000002: not UTF-8"),
        ("a.csv", "text,n\na,1\n".encode("utf-16"), "not UTF-8, probably UTF-16"),
        ("a.csv", "text,n\na,1\n".encode("utf-16-le"), "not UTF-8, probably UTF-16"),
        ("a.jsonl", LINES.encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        ("a.json", ARRAY.encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        ("a.csv", 'text,n\na,1\n"b,2\nc,3\n', "a.csv:3: a quote of this row is never closed"),
        ("a.csv", 'text,n\na,1\nb,"2', "a.csv:3: a quote of this row is never closed"),
        (
            "a.json",
            '{"data": [{"text": "a"}]}',
            "not one object; its rows may be those under 'data'",
        ),
        ("a.json", '{\n  "data": [\n    {"text": "a"}\n  ]\n}', "not one object"),
        ("a.jsonl", '{\n  "text": "a"\n}\n', "not one object"),
        ("a.jsonl", '{\n  "text": "a"\n}\n{\n  "text": "b"\n}\n', "its rows span several lines"),
        ("a.json", "", "a.json: is empty"),
        ("a.jsonl", "text,n\na,1\nb,2\n", "a.jsonl:1: not JSON"),
        ("a.json", "3", "expected a JSON array"),
        ("a.jsonl.gz", None, "cannot be decompressed|[Nn]ot a gzip"),
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "is gzip, whatever its name says"),
        ("a.csv", b"PK\x03\x04\0", "is a ZIP archive or a spreadsheet"),
        ("a.txt", "a", "unknown format '.txt'"),
        ("a.xlsx", "a", "unknown format '.xlsx'"),
        ("a.parquet", "a", "is not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_error(
    name: str, content: str | bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is None:
        path.write_text(LINES)
    else:
        write(path, content)
    with pytest.raises(InputError, match=message):
        chain().run(path)


def test_a_truncated_archive_is_one_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv.gz", "text,n\n" + "a,1\n" * 1000)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="cannot be decompressed"):
        chain().run(path)


def test_a_long_field_is_read_and_the_limit_of_the_process_is_kept(tmp_path: Path) -> None:
    import csv

    before = csv.field_size_limit()
    long = "x" * 200_000
    assert rows(write(tmp_path / "a.csv", f"text,n\n{long},1\n")) == [Row(text=long, n=1)]
    assert csv.field_size_limit() == before


def test_a_line_break_in_quotes_belongs_to_the_field(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,n\n"a\nb",1\n')
    assert rows(path) == [Row(text="a\nb", n=1)]


def test_spaces_are_kept_where_the_header_has_none(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "a.csv", "text,n\n  a ,1\n")) == [Row(text="  a ", n=1)]


def test_rows_of_a_pattern_are_numbered_from_file_to_file(tmp_path: Path) -> None:
    write(tmp_path / "data/b.jsonl", '{"text": "b", "n": 2}\n')
    first = write(tmp_path / "data/a.jsonl", '{"text": "a", "n": 1}\n')
    pattern = str(tmp_path / "data/*.jsonl")
    run = chain().run(pattern, output_dir=tmp_path / "run")
    assert [result.row_id for result in run.results] == [0, 1]
    assert rows(pattern) == TWO
    assert rows(pattern, sample=1, limit=1) == TWO[:1]
    digests = [json.loads((tmp_path / "run/run.json").read_text())["inputs"]["sha256"]]
    first.write_text('{"text": "c", "n": 1}\n')
    chain().run(pattern, output_dir=tmp_path / "run", overwrite=True)
    digests += [json.loads((tmp_path / "run/run.json").read_text())["inputs"]["sha256"]]
    assert digests[0] != digests[1]
    with pytest.raises(InputError, match="there are no such files"):
        chain().run(str(tmp_path / "data/*.csv"))


def test_brackets_in_the_name_of_a_file_are_not_a_pattern(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "a[1].jsonl", LINES)) == TWO


def test_a_folder_of_parquet_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(InputError, match=r"without Parquet files; name the files in it"):
        chain().run(folder)
    for name, row in zip(["part-1", "part-0"], reversed(TWO), strict=True):
        pq.write_table(pa.Table.from_pylist([row.model_dump()]), folder / f"{name}.parquet")
    write(folder / "_SUCCESS", "")
    write(folder / ".hidden.parquet", "")
    assert rows(folder) == TWO
    assert rows(folder, sample=2) == TWO


UTC = timezone.utc
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901)


@pytest.mark.parametrize(
    ("array", "annotation", "expected"),
    [
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())), dict[str, int], {"a": 1}),
        (
            pa.array([[[("a", [1])]]], pa.list_(pa.map_(pa.string(), pa.list_(pa.int8())))),
            list[dict[str, list[int]]],
            [{"a": [1]}],
        ),
        (pa.array([1767323045678901234], pa.timestamp("ns")), datetime, NOW),
        (pa.array([NOW], pa.timestamp("us", "UTC")), datetime, NOW.replace(tzinfo=UTC)),
        (pa.array([1767323045], pa.timestamp("s")), datetime, NOW.replace(microsecond=0)),
        (pa.array([NOW], pa.timestamp("us", "+02:00")), datetime, NOW.replace(tzinfo=UTC)),
        (
            pa.array([{"at": 1767323045678901234}], pa.struct([("at", pa.timestamp("ns"))])),
            dict[str, datetime],
            {"at": NOW},
        ),
        (pa.array([Decimal("1.10")], pa.decimal128(9, 2)), Decimal, Decimal("1.10")),
        (pa.array([Decimal("1.10")], pa.decimal128(9, 2)), float, 1.1),
        (pa.array([Decimal("1.10")], pa.decimal256(50, 2)), Decimal, Decimal("1.10")),
        (
            pa.array([NOW], pa.timestamp("us", "Europe/Oslo")),
            datetime,
            NOW.replace(tzinfo=UTC),
        ),
        (pa.array([1_000_000_000], pa.time64("ns")), clock, clock(0, 0, 1)),
        (pa.array([1.5], pa.float16()), float, 1.5),
        (pa.array(["x"], pa.string_view()), str, "x"),
        (pa.array([["x"]], pa.list_view(pa.string())), list[str], ["x"]),
        (pa.array(["x"]).dictionary_encode(), str, "x"),
        (pa.array([["x"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), list[str], ["x"]),
        (pa.array(["x"], pa.large_string()), str, "x"),
        (pa.array([["x"]], pa.large_list(pa.large_string())), list[str], ["x"]),
        (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), list[int], [1, 2]),
        (pa.array([[{"a": 1}]]), list[dict[str, int]], [{"a": 1}]),
        (pa.array([date(2026, 1, 2)]), date, date(2026, 1, 2)),
        (pa.array([1_500_000_000], pa.duration("ns")), timedelta, timedelta(seconds=1.5)),
        (pa.array([None], pa.null()), int | None, None),
        (pa.array([b"x"]), bytes, b"x"),
    ],
    ids=lambda it: str(getattr(it, "type", ""))[:40],
)
@pytest.mark.parametrize("on_disk", [True, False])
def test_columns_of_every_type_are_values(
    array: Any, annotation: Any, expected: Any, on_disk: bool, tmp_path: Path
) -> None:
    from pydantic import create_model

    model = create_model("Cell", value=(annotation, ...))
    inputs: Any = pa.table({"value": array})
    if on_disk:
        pq.write_table(inputs, tmp_path / "a.parquet")
        inputs = tmp_path / "a.parquet"
    (row,) = rows(inputs, model)
    assert row.value == expected


def test_a_value_that_python_does_not_have_fails_its_row_only(tmp_path: Path) -> None:
    class When(BaseModel):
        at: datetime

    table = pa.table({"at": pa.array([0, 10**15, 1], pa.timestamp("s"))})
    run = chain(When).run(table)  # type: ignore[arg-type]
    assert [result.ok for result in run.results] == [True, False, True]
    assert "input row 1: cannot be converted" in str(run.results[1].error)


def test_engines_yml_fills_only_the_names_that_the_chain_does_not_bring(
    in_process: Any, project: Path
) -> None:
    engine = (project / "engines.yml").read_text()
    chain = (project / "numbers_chain.py").read_text()
    url = engine.rpartition("endpoint: ")[2].strip()
    brought = f"register_engine('e', backend='openai', model='m', endpoint='{url}')"
    run = ("run", "numbers_chain.py:chain", "-i", "rows.jsonl", "-o")
    filled = in_process(*run, "filled")
    assert filled.returncode == 0, filled.stderr
    assert "engines from ./engines.yml: e\n" in filled.stderr
    (project / "engines.yml").write_text(engine.replace(url, "http://127.0.0.1:9/v1"))
    brought = f"from chainette import register_engine\n{brought}\n"
    (project / "numbers_chain.py").write_text(brought + chain)
    own = in_process(*run, "own")
    assert own.returncode == 0, own.stderr
    assert "engines from" not in own.stderr


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- name: e\n\tbackend: openai\n", 2),
        ("- name: e\n  headers:\n  \tX: y\n", 3),
        ("-\tname: e\n\tbackend: openai\n", 1),
    ],
)
def test_a_tab_in_yaml_is_named_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    file = write(tmp_path / "engines.yml", text)
    with pytest.raises(ConfigError, match=rf"engines.yml:{line}: not valid YAML: a tab"):
        load_engines(file)


def test_a_control_character_in_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "engines.yml", "- name: e\n  model: '\x07'\n")
    with pytest.raises(ConfigError, match=r"engines.yml:2: not valid YAML: the character U\+0007"):
        load_engines(file)

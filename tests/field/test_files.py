"""Files as people have them, and the one message about those that cannot be read."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chainette import Chain, apply, load_engines
from chainette.errors import ConfigError, InputError
from pydantic import AliasChoices, BaseModel, Field


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
    path.write_bytes(PACK[path.suffix](data) if path.suffix in PACK else data)
    return path


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}
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
        ("a.csv", "text|n\na|1\nb|2\n"),
        ("a.csv", "text| n\na| 1\nb| 2\n"),
        ("a.csv", '"text, or words"|text|n\nx|a|1\nx|b|2\n'),
        ("a.csv", "text\x01n\na\x011\nb\x012\n"),
        ("a.csv", "text\x1fn\na\x1f1\nb\x1f2\n"),
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
        ("a.jsonl.zst", LINES),
        ("a.JSONL.zst", LINES.rstrip()),
        ("a.json.zst", ARRAY),
        ("a.csv.zst", "text,n\na,1\nb,2\n"),
        ("a.tsv.zst", "text\tn\na\t1\nb\t2\n"),
        ("a.jsonl.bz2", LINES),
        ("a.csv.xz", "text,n\na,1\nb,2\n"),
        ("a.tsv", MARK + b"text\tn\r\na\t1\r\nb\t2"),
        ("a.json", MARK + LINES.encode()),
        ("a.json", MARK + ARRAY.encode()),
        ("a.json", LINES.replace("\n", "\r\n")),
        ("a.jsonl", LINES.replace("}\n", "}, \r\n")),
        ("a.jsonl", "[" + LINES.replace("}\n", "},\n", 1).rstrip() + "]"),
        ("a.jsonl", "[\n" + LINES.replace("}\n", "},\n", 1) + "]"),
        ("a.jsonl", "\n\n" + LINES + "\n\n"),
        ("a.csv", 'text,n\n"a",1\n"b",2'),
        ("a.csv", "text , n\r\na, 1\r\nb, 2\r\n"),
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
        ("a.jsonl", LINES.encode("utf-16"), "probably UTF-16; read it with encoding='utf-16'"),
        ("a.json", ARRAY.encode("utf-16"), "read it with encoding='utf-16'"),
        ("a.csv", "text,n\ncafé,1\n".encode("latin-1"), "read it with encoding='cp1252'"),
        ("a.csv.zst", "text,n\ncafé,1\n".encode("latin-1"), "read it with encoding='cp1252'"),
        (
            "a.jsonl",
            '{"text": "é"}\n{"text": "a"}\n{"text": "ü"}\n'.encode("latin-1"),
            "a.jsonl: not UTF-8, probably Latin-1 or Windows-1252; read it with encoding='cp1252'",
        ),
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
        ("a.jsonl", zstd(b"{}"), "is Zstandard, whatever its name says"),
        ("a.csv", lzma.compress(b"{}"), "is xz, whatever its name says"),
        ("a.csv", bz2.compress(b"{}"), "is bzip2, whatever its name says"),
        ("a.jsonl.zst", None, "cannot be decompressed"),
        ("a.jsonl.xz", None, "cannot be decompressed"),
        ("a.jsonl.bz2", None, "[Ii]nvalid data stream"),
        ("a.parquet.zst", "a", "unknown format '.zst'; known: .jsonl.* of text"),
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


@pytest.mark.parametrize("suffix", PACK)
def test_a_truncated_archive_is_one_error(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a.csv{suffix}", "text,n\n" + "a,1\n" * 1000)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="cannot be decompressed"):
        chain().run(path)


ENCODED: dict[str, tuple[str, str]] = {
    "cp1252": ("cp1252", "cp1252"),
    "latin-1": ("latin-1", "ISO-8859-1"),
    "UTF-16 with a mark": ("utf-16", "utf-16"),
    "UTF-16 without a mark": ("utf-16-le", "UTF-16LE"),
    "big-endian UTF-16": ("utf-16-be", "utf_16_be"),
    "UTF-8": ("utf-8", "utf-8"),
    "UTF-8 with a mark": ("utf-8-sig", "utf-8"),
}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.csv.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("kind", ENCODED)
def test_a_file_in_another_encoding_is_read_where_it_is_named(
    kind: str, name: str, tmp_path: Path
) -> None:
    codec, option = ENCODED[kind]
    lines = '{"text": "café", "n": 1}\n{"text": "ü", "n": 2}\n'
    texts = {
        ".csv": "text,n\r\ncafé,1\r\nü,2\r\n",
        ".tsv": "text\tn\ncafé\t1\nü\t2",
        ".jsonl": lines,
        ".json": f"[{lines.strip()}]".replace("\n", ",\n"),
    }
    path = write(tmp_path / name, texts["." + name.split(".")[1]].encode(codec))
    assert rows(path, encoding=option) == [Row(text="café", n=1), Row(text="ü", n=2)]
    if ".jsonl" in name:  # whose lines are counted
        assert len(rows(path, encoding=option, sample=2)) == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.csv", {"encoding": "latin1x"}, "unknown encoding 'latin1x'; known are utf-8, utf-16"),
        ("a.csv", {"encoding": "base64"}, "unknown encoding 'base64'"),
        ("a.csv", {"encoding": "ascii"}, "a.csv:2: not ascii"),
        ("a.csv", {"delimiter": "::"}, "delimiter is '::'; give one character, or tab"),
        ("a.csv", {"delimiter": '"'}, "give one character"),
        ("a.jsonl", {"delimiter": ";"}, "a.jsonl: delimiter is for CSV files"),
        ("a.parquet", {"encoding": "latin-1"}, "encoding is for files of text"),
    ],
)
def test_an_encoding_or_delimiter_that_cannot_be_is_one_error(
    name: str, options: Any, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, "text,n\ncafé,1\n")
    with pytest.raises(InputError, match=message):
        chain().run(path, **options)


def test_an_encoding_of_rows_in_memory_is_refused() -> None:
    with pytest.raises(InputError, match="the inputs are rows already"):
        chain().run([{"text": "a"}], encoding="latin-1")


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("text|n\na,x|1\nb|2\n", "|"),
        ("text;n\na,x;1\nb;2\n", ";"),
        ("text,extra;n\na,x;1\n", ";"),
        ("text\tn\na,x\t1\nb\t2\n", "tab"),
        ("text\tn\na,x\t1\nb\t2\n", "\\t"),
        ("text~n\na,x~1\nb~2\n", "~"),
    ],
)
def test_a_delimiter_that_is_named_is_used(content: str, delimiter: str, tmp_path: Path) -> None:
    class Loose(BaseModel):
        text: str = Field(validation_alias=AliasChoices("text", "text,extra"))
        n: int

    path = write(tmp_path / "a.csv", content)
    assert rows(path, Loose, delimiter=delimiter)[0] == Loose(text="a,x", n=1)


@pytest.mark.parametrize("delimiter", [":", "^", "~", "¦", "§", "،"])
def test_a_delimiter_that_is_not_certain_is_named(delimiter: str, tmp_path: Path) -> None:
    lines = ["text n", "a 1", "b 2"]
    path = write(tmp_path / "a.csv", "\n".join(lines).replace(" ", delimiter))
    with pytest.raises(InputError, match="no column 'text'") as failure:
        rows(path)
    assert f"is the delimiter, say delimiter={delimiter!r}" in str(failure.value)
    assert rows(path, delimiter=delimiter) == TWO


def test_the_command_takes_the_encoding_and_the_delimiter(in_process: Any, tmp_path: Path) -> None:
    (tmp_path / "c.py").write_text(
        "from pydantic import BaseModel\nfrom chainette import Chain, apply\n"
        "class Row(BaseModel):\n    text: str\n    n: int\n"
        "def same(row: Row) -> Row:\n    return row\n"
        "chain = Chain(name='c', steps=apply(same))\n"
    )
    write(tmp_path / "a.csv", "text|n\ncafé|1\n".encode("latin-1"))
    command = ["run", f"{tmp_path}/c.py:chain", "-i", str(tmp_path / "a.csv"), "-o"]
    done = in_process(*command, str(tmp_path / "a"), "--delimiter", "|")
    assert done.returncode == 2
    assert "--encoding cp1252" in done.stderr
    done = in_process(*command, str(tmp_path / "b"), "--delimiter", "|", "--encoding", "latin-1")
    assert done.returncode == 0, done.stderr
    (line,) = (tmp_path / "b/flattened/000000.jsonl").read_text().splitlines()
    assert json.loads(line)["same.text"] == "café"


@pytest.mark.parametrize("encoding", [None, "utf-8", "latin-1", "utf-16"])
def test_standard_input_is_read_in_its_encoding(
    encoding: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = '{"text": "café", "n": 1}\n{"text": "b", "n": 2}\n'
    data = lines.encode(encoding or "utf-8-sig")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))
    assert rows("-", encoding=encoding) == [Row(text="café", n=1), Row(text="b", n=2)]
    import sys

    assert not sys.stdin.buffer.closed


def test_a_line_without_utf_8_among_others_fails_its_row_only(tmp_path: Path) -> None:
    lines = [b'{"text": "\xc3\xa9"}', b'{"text": "\xe9"}', b'{"text": "\xfc"}']
    run = chain().run(write(tmp_path / "a.jsonl", b"\n".join(lines)))
    assert [result.ok for result in run.results] == [True, False, False]


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
MILLIS = NOW.replace(microsecond=678000, tzinfo=UTC)
ZERO = timedelta(0)
EPOCH = datetime(1970, 1, 1)
ID = UUID(int=7)
UNION = pa.UnionArray.from_dense(
    pa.array([1], pa.int8()), pa.array([0], pa.int32()), [pa.array([1]), pa.array(["x"])]
)
SPARSE = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1]), pa.array(["x"])])
MAP = pa.map_(pa.string(), pa.int64())


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
        (pa.array([1_000_000_000], pa.time64("ns")), time, time(0, 0, 1)),
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
        (pa.array([b"ab"], pa.binary(2)), bytes, b"ab"),
        (pa.array([b"x"], pa.binary_view()), bytes, b"x"),
        (pa.array([["x"], None], pa.list_view(pa.string()))[:1], list[str], ["x"]),
        (pa.array([[["x"]]], pa.list_view(pa.list_view(pa.string()))), list[Any], [["x"]]),
        (pa.array([[1]], pa.large_list_view(pa.duration("ns"))), list[Any], [timedelta(0)]),
        (pa.array([[[1]]], pa.list_(pa.list_view(pa.duration("ns")))), Any, [[timedelta(0)]]),
        (pa.array([1.5]).cast(pa.float16()), float, 1.5),
        (pa.array([float("nan")]).cast(pa.float16()), Any, None),
        (pa.array([2**64 - 1], pa.uint64()), int, 2**64 - 1),
        (pa.array([Decimal("1.10")], pa.decimal256(60, 2)), Decimal, Decimal("1.10")),
        (pa.array([date(2026, 1, 2)], pa.date64()), date, date(2026, 1, 2)),
        (pa.array([time(1, 2)], pa.time32("s")), time, time(1, 2)),
        (pa.array([1_000], pa.time64("ns")), time, time(0, 0, 0, 1)),
        (pa.array([5], pa.duration("s")), timedelta, timedelta(seconds=5)),
        (pa.array([NOW], pa.timestamp("ms", "Europe/Oslo")), datetime, MILLIS),
        (pa.MapArray.from_arrays([0, 1], [{"x": 1}], ["a"]), Any, [[{"x": 1}, "a"]]),
        (pa.array([[(1, "a")]], pa.map_(pa.int8(), pa.string())), dict[int, str], {1: "a"}),
        (pa.DictionaryArray.from_arrays([0], pa.array([0], pa.timestamp("ns"))), Any, EPOCH),
        (pa.DictionaryArray.from_arrays([0], pa.array([[("k", 1)]], MAP)), Any, {"k": 1}),
        (pa.DictionaryArray.from_arrays([0], pa.array(["x"], pa.string_view())), str, "x"),
        (pa.RunEndEncodedArray.from_arrays([1], ["abc"]), str, "abc"),
        (pa.RunEndEncodedArray.from_arrays([1], pa.array([1], pa.duration("ns"))), Any, ZERO),
        (pa.RunEndEncodedArray.from_arrays([1], pa.array([[("k", 1)]], MAP)), Any, {"k": 1}),
        (pa.array([pa.MonthDayNano([1, 2, 500_000_000])]), str, "P1M2DT0.5S"),
        (pa.array([[pa.MonthDayNano([14, 0, 0])]]), list[str], ["P14M0DT0S"]),
        (UNION, Any, "x"),
        (SPARSE, Any, 1),
        (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([ID.bytes], pa.binary(16))), UUID, ID),
        (
            pa.array([[ID.bytes]], pa.list_(pa.binary(16))).cast(pa.list_(pa.uuid())),
            list[UUID],
            [ID],
        ),
        (pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'])), str, '{"a": 1}'),
        (pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1], pa.int8())), bool, True),
        (
            pa.ExtensionArray.from_storage(pa.opaque(pa.binary(), "t", "v"), pa.array([b"x"])),
            bytes,
            b"x",
        ),
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
        try:
            pq.write_table(inputs, tmp_path / "a.parquet")
        except pa.ArrowNotImplementedError:
            pytest.skip("Parquet does not have this type")
        inputs = tmp_path / "a.parquet"
    (row,) = rows(inputs, model)
    assert row.value == expected


UNREADABLE = {
    "a time zone": (pa.array([0], pa.timestamp("s", "Mars/Base")), "time zone 'Mars/Base'"),
    "a nested time zone": (
        pa.array([[0]], pa.list_(pa.timestamp("s", "Mars/Base"))),
        "time zone 'Mars/Base'",
    ),
    "two fields of one name": (
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
        "two of its fields have the name 'a'",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("on_disk", [True, False])
def test_a_column_that_cannot_be_read_is_named_once_at_the_start(
    kind: str, on_disk: bool, tmp_path: Path
) -> None:
    array, message = UNREADABLE[kind]
    inputs: Any = pa.table({"text": ["a"], "odd": array})
    if on_disk:
        pq.write_table(inputs, tmp_path / "a.parquet")
        inputs = tmp_path / "a.parquet"
    with pytest.raises(InputError, match=f"the column 'odd' cannot be read: .*{message}"):
        chain().run(inputs, output_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert rows(inputs, columns={"text": "text"}) == [Row(text="a")]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([object()]), "the column 'odd' cannot be read: it has objects"),
    ],
)
def test_a_column_of_polars_that_cannot_be_read_is_named(column: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        chain().run(pl.DataFrame({"text": ["a"], "odd": column}))


def test_a_value_that_python_does_not_have_fails_its_row_only(tmp_path: Path) -> None:
    class When(BaseModel):
        at: datetime

    table = pa.table({"at": pa.array([0, 10**15, 1], pa.timestamp("s"))})
    run = chain(When).run(table)  # type: ignore[arg-type]
    assert [result.ok for result in run.results] == [True, False, True]
    assert "row 1: the column 'at' cannot be converted" in str(run.results[1].error)
    frame = pl.DataFrame({"id": [1, 2], "at": [0, 1], "far": [10**15, 0]}).cast(
        {"at": pl.Datetime("ms"), "far": pl.Datetime("ms")}
    )
    for given in (frame, frame.to_arrow()):
        kept = chain(When).run(given, columns={"at": "at"})  # type: ignore[arg-type]
        assert [{*result.inputs} for result in kept.results] == [{"id", "at"}, {"id", "at", "far"}]
        (lost, _) = chain(When).run(given, columns={"at": "far"}).results  # type: ignore[arg-type]
        assert "row 0: the column 'far' cannot be converted" in str(lost.error)


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

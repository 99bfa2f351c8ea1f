"""What else files of rows hold, as other programs and people write them."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chainette import Chain, apply
from chainette.errors import InputError

Read = Callable[..., list[Any]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """The rows of a file with some content; the error's text in place of one that failed."""

    def read(name: str, content: str | bytes | None) -> list[Any]:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        node = apply(lambda row: row, id="same", input_model=dict[str, Any], output_model=Any)
        results = Chain(name="c", steps=node).run(path).results
        return [it.value if it.ok else str(it.error).rpartition("/")[2] for it in results]

    return read


AB = [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize(
    "content",
    [
        "a|b\n1|2\n3|4\n",
        '"sep=;"\na;b\n1;2\n3;4\n',
        "SEP=|\r\na|b\r\n1|2\r\n3|4\r\n",
        "a\u00a0,\u200bb\n1,2\n3,4\n",
        "a,b\n1,2\n   \n3,4\n\t\n",
        "a,b\n1,2\n3,4\n\x1a",
        'a,b\n"1" ,2\n"3"\t,"4" \n',
        "a,b\r1,2\r3,4\r",
        "a,b\r\r\n1,2\r\r\n3,4\r\r\n",
        "a,b\n1,2\r\n3,4",
    ],
)
def test_tables_are_read_as_they_are_written(read: Read, content: str) -> None:
    assert read("a.csv", content) == AB


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("a,b\n007,1e5\n", {"a": "007", "b": "1e5"}),
        ("a,b\n12345678901234567890123,1.10\n", {"a": "12345678901234567890123", "b": "1.10"}),
        ("a,b\nTRUE,NA\n", {"a": "TRUE", "b": "NA"}),
        ('a,b\n5" pipe,6" nail\n', {"a": '5" pipe', "b": '6" nail'}),
        ('a,b\n"C:\\dir\\","x"\n', {"a": "C:\\dir\\", "b": "x"}),
        ('a,b\n"1 ""x"" , y",2\n', {"a": '1 "x" , y', "b": "2"}),
        ("a,b\nx\u2028y\x85z\x0b,2\n", {"a": "x\u2028y\x85z\x0b", "b": "2"}),
        ("a,b\nx\0y,2\n", {"a": "x\0y", "b": "2"}),
        ("a,A\n1,2\n", {"a": "1", "A": "2"}),
    ],
)
@pytest.mark.skipif(sys.version_info < (3, 11), reason="its csv module refuses U+0000")
def test_cells_of_tables_do_not_change(read: Read, content: str, row: Any) -> None:
    assert read("a.csv", content) == [row]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('t,d\nJeans,"2\\" seam"\nJeans,"a"\n', r'csv:2: a quote in a value is written as \\"'),
        ('t,d\nA,"ok"\nA,"he said \\"hi\\" twice"\n', r"csv:3: a quote in a value is written as"),
        ('a,b\n"b,2\n"c,3\n', r"csv:2: text follows the end of a quoted value"),
        ('a,b\n"x" "y",2\n"z,3\n', r"csv:3: a quote of this row is never closed"),
        ('"a"b,c\n1,2\n', r"csv:1: text follows"),
        ('"a","b"\n"1",5,6\n"2",7,8\n', r"more values than the 2 columns of the header"),
        ("text\nHello, you\nBye, you\n", r"more values than the 1 columns"),
        ("Report\n\na,b\n1,2\n", r"is its first line the header"),
        ("a,b\n'x, y',2\n", r"are texts that hold the delimiter in quotes"),
    ],
)
def test_a_table_whose_rows_are_not_certain_is_one_error(
    read: Read, content: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read("a.csv", content)


def test_a_row_that_is_not_csv_fails_alone(read: Read) -> None:
    content = 'a,b\n1,2\n"John" Smith,5\n"J ""W""",x\n"JOHN "W"",6\n1,2,3\n'
    assert read("a.csv", content) == [
        {"a": "1", "b": "2"},
        "a.csv:3: text follows the end of a quoted value; quotes in a value are doubled",
        {"a": 'J "W"', "b": "x"},
        "a.csv:5: text follows the end of a quoted value; quotes in a value are doubled",
        "a.csv:6: more values than the 2 columns",
    ]


def test_columns_without_a_name_are_told_of_once(
    read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    assert read("a.csv", ",a,,b,\n0,1,,2,\n1,2,lost,3,\n1,2,lost,3,\n")[2] == {"a": "2", "b": "3"}
    assert [it.getMessage().rpartition("/")[2] for it in caplog.records] == [
        "a.csv: column 3 has no name in the header and is left out"
    ]


A = [{"a": 1}, {"a": 2}]
HUGE = 123456789012345678901234567890


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.jsonl", '\x1e{"a": 1}\n\x1e{"a": 2}\n', A),
        ("a.jsonl", '{"a": 1}\r{"a": 2}\r', A),
        ("a.jsonl", '[\n {\n  "a": 1\n },\n {\n  "a": 2\n }\n]\n', A),
        ("a.jsonl", '{"a": "x\ty"}\n', [{"a": "x\ty"}]),
        ("a.jsonl", '{"a": "x\u2028y\x85z"}\n', [{"a": "x\u2028y\x85z"}]),
        ("a.jsonl", '[\n{"a": "x\u2028y\x85z"},\n{"a": 2},\n]\n', [{"a": "x\u2028y\x85z"}, A[1]]),
        ("a.jsonl", '{"a": NaN, "b": [NaN]}\n', [{"a": None, "b": [None]}]),
        ("a.json", '[{"a": NaN}]', [{"a": None}]),
        ("a.jsonl", '{"a": 9007199254740993}\n', [{"a": 9007199254740993}]),
        ("a.jsonl", f'{{"a": {HUGE}}}\n', [{"a": HUGE}]),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"a": 1}\n', mtime=0) + gzip.compress(b'{"a": 2}\n', mtime=0),
            A,
        ),
        ("x y é [1]*?.jsonl", '{"a": 1}\n{"a": 2}\n', A),
    ],
)
def test_json_is_read_as_programs_write_it(
    read: Read, name: str, content: str | bytes, rows: list[Any]
) -> None:
    assert read(name, content) == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '[{"a": "caf\xe9"}]'.encode("latin-1"), r"json:1: not UTF-8"),
        ("a.json", '[{"a": 1}] xx', r"json:1: text follows the JSON, at column 12"),
        ("a.jsonl", '{"a": 1}{"a": 2}\n', r"its rows span several lines, or share one"),
        ("a.json", '[{"a": 1, "a": 2}]', r"json: the key 'a' appears twice"),
        ("a.jsonl", '{"a": 1}\n'.encode("utf-32"), r"probably UTF-32"),
    ],
)
def test_json_that_cannot_be_read_is_one_error(
    read: Read, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(name, content)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' appears twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' appears twice"),
        ('{"a": 1} {"a": 2}', "not JSON: Extra data at column 10"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "not JSON: maximum recursion depth"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON: Exceeds the limit"),
        (b'{"a": "\xe9"}', "not UTF-8"),
        ("null", "Input should be a valid dictionary"),
    ],
)
def test_a_line_that_loses_a_value_fails_alone(read: Read, line: str | bytes, message: str) -> None:
    data = line if isinstance(line, bytes) else line.encode()
    good, bad, last = read("a.jsonl", b'{"a": 1}\n' + data + b'\n{"a": 2}\n')
    assert [good, last] == A
    assert message in bad


def parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), buffer)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(zipfile.ZipInfo("a.csv"), "a\n1\n")
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.parquet"])
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (gzip.compress(b'{"a": 1}', mtime=0), "gzip"),
        (b"BZh91AY&SY\xe9\xff", "bzip2"),
        (b"\x28\xb5\x2f\xfd\xe9\xff", "Zstandard"),
        (archive(), "a ZIP archive or a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of an old Office"),
        (b"ARROW1\0\0", "Arrow"),
        (b"\n<!DOCTYPE html>\n<html><body>Sign in, please</body></html>\n", "a web page"),
        (LFS, "a pointer to a file in Git LFS"),
    ],
)
def test_a_file_of_another_kind_is_named(read: Read, name: str, content: bytes, kind: str) -> None:
    if name == "a.parquet":
        content = content.lstrip()
    with pytest.raises(InputError, match=f"{name}: is {kind}"):
        read(name, content)


def test_parquet_under_another_name_is_named(read: Read) -> None:
    with pytest.raises(InputError, match=r"a.csv: is Parquet, whatever its name says"):
        read("a.csv", parquet())
    assert read("a.parquet", parquet()) == [{"a": 1}]


def test_a_pipe_is_refused_with_the_way_to_read_it(read: Read, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match=r"a.jsonl: is a pipe or a device.* give - as the input"):
        read("a.jsonl", None)


def test_links_are_followed(read: Read, tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
    (tmp_path / "a.jsonl").symlink_to("b.jsonl")
    assert read("a.jsonl", None) == A
    for target in ("missing", "c.jsonl"):
        (tmp_path / "c.jsonl").symlink_to(target)
        with pytest.raises(InputError, match="No such file"):
            read("c.jsonl", None)
        (tmp_path / "c.jsonl").unlink()


@pytest.mark.parametrize(
    ("content", "encoding", "rows"),
    [
        ('{"a": "é"}\n'.encode(), "latin-1", [{"a": "é"}]),
        ('{"a": "é"}\n'.encode(), "ascii", [{"a": "é"}]),
        ('\ufeff{"a": "é"}\r\n'.encode(), "cp1252", [{"a": "é"}]),
        (b'[{"a": 1},\n{"a": 2}]', "utf-8", A),
        (b"", "utf-8", []),
    ],
)
@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_standard_input_is_utf_8_whatever_the_locale_is(
    content: bytes, encoding: str, rows: list[Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(content), encoding=encoding)
    monkeypatch.setattr(sys, "stdin", stdin)
    node = apply(lambda row: row, id="same", input_model=dict[str, Any], output_model=Any)
    assert [it.value for it in Chain(name="c", steps=node).run(name).results] == rows
    assert not stdin.closed


def test_a_closed_standard_input_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    node = apply(lambda row: row, id="same", input_model=dict[str, Any], output_model=Any)
    with pytest.raises(InputError, match="standard input is closed"):
        Chain(name="c", steps=node).run("-")

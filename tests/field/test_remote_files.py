"""Inputs in buckets and on web servers: a real S3 server, and servers that break off."""

from __future__ import annotations

import gzip
import io
import json
import os
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import anyio
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trustme
from chainette import Chain, Step, apply, rows
from chainette.errors import ChainError, ConfigError, ExportError, InputError, OutputDirError
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.remote import opening, reading
from chainette.remote.address import is_address, scrubbed, shown
from chainette.run.inputs.files import Files, InputRow
from chainette.run.inputs.reading_ahead import read_in_thread
from chainette.run.inputs.source import InputSource
from chainette.testing import fake_engine
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import BaseModel

SECRET = "SENTINEL"
ROWS = [{"text": f"row {index} ä", "number": index} for index in range(2000)]


class Row(BaseModel):
    text: str
    number: int


def lines(rows: Any = ROWS) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: Any = ROWS) -> bytes:
    cells = "".join(f"{row['text']},{row['number']}\n" for row in rows)
    return f"text,number\n{cells}".encode()


def parquet(rows: Any = ROWS) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


FILES = {
    "rows.jsonl": lines(),
    "rows.jsonl.gz": gzip.compress(lines()),
    "rows.json": json.dumps(ROWS).encode(),
    "rows.csv": table(),
    "rows.parquet": parquet(),
}


def chain(model: Any = Row) -> Chain[Any, Any]:
    @apply(id="same", input_model=model)
    def same(item: Any) -> Any:
        return item

    return Chain(name="c", steps=[same])


def read(address: str, **options: Any) -> list[Any]:
    """The values that a run takes from an address."""

    async def collected() -> list[Any]:
        given = dict.fromkeys(("limit", "sample", "columns")) | options
        source = InputSource(address, model=Row, **given)
        return [Row.model_validate(row.value).model_dump() async for row in source.rows()]

    return anyio.run(collected)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WAIT", 0.001)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 server that listens on this machine."""
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": f"{SECRET}KEY",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        for name, content in FILES.items():
            client.put_object(Bucket="bucket", Key=f"data/{name}", Body=content)
        for number in range(3):
            part = ROWS[number * 10 : number * 10 + 10]
            client.put_object(Bucket="bucket", Key=f"parts/{number}.jsonl", Body=lines(part))
            name = f"folder/day={number}/part.parquet"
            client.put_object(Bucket="bucket", Key=name, Body=parquet(part))
        client.put_object(Bucket="bucket", Key="folder/_old/part.parquet", Body=parquet())
        yield client
        server.stop()


class Web:
    """A web server whose answers are functions of a request."""

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[Any], None]] = {}
        self.requests: list[tuple[str, str | None]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                web.requests.append((f"{self.command} {self.path}", self.headers.get("Range")))
                web.pages.get(path, lambda it: answer(it, status=404))(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *args: None  # type: ignore[method-assign]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def give(self, path: str, content: bytes = b"", **answers: Any) -> str:
        self.pages[path] = lambda it: answer(it, content, **answers)
        return self.url + path

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def answer(
    request: Any,
    content: bytes = b"",
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    ranges: bool = False,
    cut: Callable[[], int | None] = lambda: None,
) -> None:
    """Answer a request, whole or broken off."""
    start, wanted = 0, request.headers.get("Range") if ranges else None
    headers = dict(headers or {})
    if wanted and status == 200:
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start, end = int(first), int(last or len(content) - 1) + 1
        status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{len(content)}"
        content = content[start:end]
    request.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "HEAD":
        return
    most = cut()
    request.wfile.write(content[:most])
    if most is not None and most < len(content):
        request.wfile.flush()
        request.connection.shutdown(2)
        request.close_connection = True


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_every_format_in_a_bucket_gives_its_rows(name: str, s3: Any) -> None:
    assert read(f"s3://bucket/data/{name}") == ROWS


@pytest.mark.parametrize(
    ("address", "count"),
    [
        ("s3://bucket/parts/*.jsonl", 30),
        ("s3://bucket/parts/[01].jsonl", 20),
        ("s3://bucket/**/?.jsonl", 30),
        ("s3://bucket/folder", 30),
        ("s3://bucket/folder/", 30),
        ("s3://bucket/folder/day=1", 10),
        ("  's3://bucket/parts/0.jsonl' ", 10),
        (Path("s3://bucket/parts/0.jsonl"), 10),
    ],
)
def test_patterns_and_folders_in_a_bucket_give_their_files_in_order(
    address: Any, count: int, s3: Any
) -> None:
    found = read(address)
    assert len(found) == count
    assert found == sorted(found, key=lambda row: row["number"])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("s3://bucket/data/row.jsonl", "No such file or directory (did you mean 'rows.jsonl'?)"),
        ("s3://bucket/data/*.tsv", "there are no such files"),
        ("s3://nowhere/data/rows.jsonl", "there is no such bucket"),
        ("s3://nowhere/data/*.jsonl", "there is no such bucket"),
        ("s3://bucket/parts", "is a directory without Parquet files; name the files in it, such "
         "as s3://bucket/parts/*.jsonl"),
        ("s3://", "Cannot traverse all of S3"),
        ("s3://bucket/data/empty.parquet", "is not a Parquet file"),
        ("s3://bucket/data/notes.txt", "unknown format '.txt'"),
    ],
)  # fmt: skip
def test_what_is_not_in_a_bucket_is_one_error_with_the_address(
    address: str, words: str, s3: Any
) -> None:
    s3.put_object(Bucket="bucket", Key="data/empty.parquet", Body=b"")
    s3.put_object(Bucket="bucket", Key="data/notes.txt", Body=b"x")
    with pytest.raises(InputError) as caught:
        list(Files(address).rows())
    assert words in str(caught.value)
    assert str(caught.value).startswith("s3://")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_rows_in_a_bucket_are_counted_for_a_sample(name: str, s3: Any) -> None:
    found = read(f"s3://bucket/data/{name}", sample=5)
    assert len(found) == 5
    assert found == read(f"s3://bucket/data/{name}", sample=5)
    assert len(read("s3://bucket/data/rows.csv", sample=5)) == 5


def test_a_changed_file_is_noticed_when_a_run_is_resumed(s3: Any, tmp_path: Path) -> None:
    address = "s3://bucket/changing.jsonl"
    s3.put_object(Bucket="bucket", Key="changing.jsonl", Body=lines(ROWS[:3]))
    chain().run(address, output_dir=tmp_path / "run", limit=2)
    resumed = chain().run(address, output_dir=tmp_path / "run", resume=True)
    assert resumed.counts.ok == 3
    inputs = json.loads((tmp_path / "run/run.json").read_text())["inputs"]
    assert inputs["path"] == address
    assert "ETag=" in inputs["sha256"]
    s3.put_object(Bucket="bucket", Key="changing.jsonl", Body=lines(ROWS[3:6]))
    with pytest.raises(OutputDirError, match="changed since: the inputs"):
        chain().run(address, output_dir=tmp_path / "run", resume=True)


def test_yaml_names_inputs_data_and_examples_by_address(s3: Any, tmp_path: Path) -> None:
    example = {"input": {"text": "a", "number": 1}, "output": "good"}
    s3.put_object(Bucket="bucket", Key="few.jsonl", Body=json.dumps(example).encode())
    (tmp_path / "c.yaml").write_text("""
name: c
inputs: s3://bucket/parts/0.jsonl
models: {Row: {text: str, number: int}}
steps:
  - id: judge
    engine_name: remote
    input_model: Row
    output_model: str
    user_prompt: "{{ text }}"
    examples: s3://bucket/few.jsonl
""")
    with fake_engine("remote", lambda prompt: "fine") as engine:
        loaded = load_yaml_chain(tmp_path / "c.yaml")
        run = loaded.chain.run(loaded.inputs)
    assert [result.value for result in run.results] == ["fine"] * 10
    assert [it["content"] for it in engine.requests[0]][:2] == ["a", "good"]
    drawn = rows(5, seed=1, given="s3://bucket/parts/*.jsonl", number=1)
    assert {row["text"] for row in drawn} <= {row["text"] for row in ROWS[:30]}
    with pytest.raises(ChainError, match=r"examples: s3://bucket/none.jsonl: No such file"):
        Step(
            id="s", engine_name="remote", input_model=Row, output_model=str,
            user_prompt="{{ text }}", examples="s3://bucket/none.jsonl",
        )  # fmt: skip


def test_a_table_is_exported_into_a_bucket(s3: Any, tmp_path: Path) -> None:
    run = chain().run(ROWS[:3], output_dir=tmp_path / "run")
    run.export("s3://bucket/out/t.csv")
    assert (
        read("s3://bucket/out/t.csv", columns={"text": "same.text", "number": "same.number"})
        == (ROWS[:3])
    )
    with pytest.raises(ExportError, match=r"^s3://bucket/out/t.csv: exists already"):
        run.export("s3://bucket/out/t.csv")
    with pytest.raises(ExportError, match="bucket"):
        run.export("s3://nowhere/t.csv")


def test_a_run_has_its_folder_on_this_machine(tmp_path: Path) -> None:
    with pytest.raises(OutputDirError, match=r"^s3://bucket/out: is an address; a run's folder"):
        chain().run(ROWS[:1], output_dir="s3://bucket/out")


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("name", FILES)
def test_a_web_server_gives_rows_with_and_without_ranges(name: str, ranges: bool, web: Web) -> None:
    assert read(web.give(f"/{name}", FILES[name], ranges=ranges)) == ROWS


@pytest.mark.parametrize(
    ("path", "headers", "content"),
    [
        ("/rows.csv", {"Content-Encoding": "gzip"}, gzip.compress(table())),
        ("/rows.csv.gz", {"Content-Encoding": "gzip"}, gzip.compress(table())),
        ("/rows.csv.gz", {}, gzip.compress(table())),
        ("/export", {"Content-Type": "text/csv; charset=utf-8"}, table()),
        ("/a%20b.jsonl", {}, lines()),
        ("/rows.jsonl", {"ETag": '"1"'}, lines()),
    ],
)
def test_answers_are_read_as_servers_send_them(
    path: str, headers: dict[str, str], content: bytes, web: Web
) -> None:
    address = web.give(path, content, headers=headers)
    assert read(address) == ROWS
    assert read(f"{address}?v=1&sig=%2F") == ROWS
    assert f"GET {path}?v=1&sig=%2F" in [it for it, _ in web.requests]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.jsonl.gz", "rows.parquet"])
def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    name: str, ranges: bool, web: Web
) -> None:
    breaks = iter([1000, 70, None, 4000, 2000])
    address = web.give(
        f"/{name}", FILES[name], ranges=ranges, cut=lambda: next(breaks, None),
        headers={"ETag": '"1"'},
    )  # fmt: skip
    assert read(address) == ROWS


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_a_file_that_is_never_whole_is_an_error_and_not_fewer_rows(name: str, web: Web) -> None:
    web.give(f"/{name}", FILES[name], cut=lambda: 30_000)
    with pytest.raises(InputError, match=r"not completed|ended after"):
        read(f"{web.url}/{name}?sig={SECRET}")


def test_a_file_that_changes_while_it_breaks_is_an_error(web: Web) -> None:
    tags = iter(range(100))

    def page(request: Any) -> None:
        tag = next(tags)
        headers = {"ETag": f'"{tag}"'}
        answer(request, FILES["rows.jsonl"], headers=headers, cut=lambda: 60_000)

    web.pages["/rows.jsonl"] = page
    with pytest.raises(InputError, match="it changed while it was read"):
        read(f"{web.url}/rows.jsonl")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "a login is needed"),
        (403, "access is denied (403); a signed link may have expired"),
        (404, "there is no such file"),
        (410, "the file is gone"),
        (503, "the server answered with status 503"),
    ],
)
def test_what_a_web_server_refuses_is_one_error_without_secrets(
    status: int, words: str, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.give("/rows.jsonl", status=status)
    address = f"{web.url}/rows.jsonl?X-Amz-Signature={SECRET}".replace("//", f"//u:{SECRET}@")
    with pytest.raises(InputError) as caught:
        read(address)
    assert str(caught.value).startswith(f"{web.url}/rows.jsonl?…: {words}")
    assert SECRET not in str(caught.value) + caplog.text


def test_a_web_page_in_place_of_data_is_one_error(web: Web) -> None:
    for name in FILES:
        address = web.give(f"/{name}", b"\n<!DOCTYPE html><html>Log in</html>")
        with pytest.raises(InputError, match=r"web page|not a Parquet|cannot be decompressed"):
            read(address)


def test_no_secret_of_an_address_is_written(
    web: Web,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("DEBUG", "chainette")
    web.give("/rows.jsonl", lines(ROWS[:5]))
    address = f"{web.url}/rows.jsonl?X-Amz-Signature={SECRET}#{SECRET}"
    address = address.replace("//", f"//{SECRET}:{SECRET}@")
    run = chain().run(address, output_dir=tmp_path / "run")
    assert SECRET not in repr(run) + caplog.text + capfd.readouterr().err
    example = {"input": {"text": "a", "number": 1}, "output": "good"}
    web.give("/few.jsonl", json.dumps(example).encode())
    with fake_engine("remote", lambda prompt: "fine"):
        step = Step(
            id="s", engine_name="remote", input_model=Row, output_model=str,
            user_prompt="{{ text }}", examples=address.replace("rows", "few"),
        )  # fmt: skip
        data = rows(3, seed=1, given=address, number=1)
        Chain(name="c", steps=[step]).run(data, output_dir=tmp_path / "run/drawn")
    written = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert json.loads((tmp_path / "run/run.json").read_text())["inputs"]["path"] == (
        f"{web.url}/rows.jsonl?…"
    )
    assert [file for file in written if SECRET.encode() in file.read_bytes()] == []


def test_a_file_without_a_version_is_known_by_its_content(web: Web, tmp_path: Path) -> None:
    address = web.give("/rows.csv", table(ROWS[:3]))
    chain().run(address, output_dir=tmp_path / "run", limit=2)
    assert chain().run(address, output_dir=tmp_path / "run", resume=True).counts.ok == 3
    web.give("/rows.csv", table(ROWS[3:6]))
    with pytest.raises(OutputDirError, match="changed since: the inputs"):
        chain().run(address, output_dir=tmp_path / "run", resume=True)


def test_a_file_of_few_rows_is_not_fetched_whole(web: Web) -> None:
    content = lines([{"text": "x" * 1000, "number": index} for index in range(20_000)])
    sent, has_read = 0, threading.Event()

    class Counted:
        def __init__(self, file: Any) -> None:
            self._file = file

        def write(self, block: bytes) -> int:
            nonlocal sent
            for start in range(0, len(block), 1 << 16):
                if sent > len(content) / 2:  # a busy machine would send all before the reader ends
                    has_read.wait(10)
                part = block[start : start + (1 << 16)]
                self._file.write(part)
                sent += len(part)
            return len(block)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

    def page(request: Any) -> None:
        request.wfile = Counted(request.wfile)
        answer(request, content)

    web.pages["/rows.jsonl"] = page
    assert len(read(f"{web.url}/rows.jsonl", limit=3)) == 3
    has_read.set()
    assert sent < len(content)


def test_a_run_ends_with_the_rows_that_came_before_the_file_broke(web: Web, tmp_path: Path) -> None:
    address = web.give("/rows.jsonl", lines(), headers={"ETag": '"1"'})
    seen = 0

    def cut() -> int | None:
        nonlocal seen
        seen += 1
        return 40_000 if seen > 1 else None

    web.give("/rows.jsonl", lines(), headers={"ETag": '"1"'}, cut=cut)
    with pytest.raises(InputError, match=r"not completed|ended after"):
        chain().run(address, output_dir=tmp_path / "run")
    web.give("/rows.jsonl", lines(), headers={"ETag": '"1"'})
    resumed = chain().run(address, output_dir=tmp_path / "run", resume=True)
    assert resumed.counts.ok == len(ROWS)
    assert [result.row_id for result in resumed.results] == list(range(len(ROWS)))


def test_certificates_are_verified(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.give("/rows.jsonl", lines(ROWS[:3]))
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    web.server.socket = context.wrap_socket(web.server.socket, server_side=True)
    address = f"{web.url}/rows.jsonl?sig={SECRET}".replace("http:", "https:")
    with pytest.raises(InputError, match=r"rows.jsonl\?…: cannot be reached: .*certificate"):
        read(address)
    with authority.cert_pem.tempfile() as file:
        monkeypatch.setenv("SSL_CERT_FILE", file)
        assert read(address) == ROWS[:3]


def test_a_run_that_ends_does_not_wait_for_a_server_that_never_answers() -> None:
    answered = threading.Event()

    def silent() -> Iterator[InputRow]:
        answered.wait()
        yield InputRow(0, {}, "row 0")

    async def cancelled() -> None:
        with anyio.move_on_after(0.05):
            async for _ in read_in_thread(silent()):
                raise AssertionError

    anyio.run(cancelled)  # else the program would hang here
    answered.set()


def test_other_file_systems_are_read_too() -> None:
    with fsspec.open("memory://folder/rows.jsonl", "wb") as file:
        file.write(lines(ROWS[:3]))
    assert read("memory://folder/rows.jsonl") == ROWS[:3]
    assert read("memory://folder/*.jsonl") == ROWS[:3]
    assert Files("memory://folder/*.jsonl").digest() != Files("memory://folder/rows.jsonl").count()


def test_archives_and_caches_stand_in_front_of_others() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x/rows.jsonl", lines(ROWS[:3]))
        file.writestr("y.csv", table(ROWS[:3]))
    with fsspec.open("memory://archives/a.zip", "wb") as target:
        target.write(archive.getvalue())
    assert read("zip://y.csv::memory://archives/a.zip") == ROWS[:3]
    assert read("zip://**/*.jsonl::memory://archives/a.zip") == ROWS[:3]
    assert read("simplecache::zip://y.csv::memory://archives/a.zip") == ROWS[:3]
    found = Files("zip://**/*.jsonl::memory://archives/a.zip")
    assert list(map(str, found.paths)) == ["zip://x/rows.jsonl::memory://archives/a.zip"]
    with pytest.raises(InputError, match=r"No such file or directory"):
        read("zip://y.csv::memory://archives/b.zip")


class Unsteady(MemoryFileSystem):
    """A file system that fails, and that ends files early, as often as it is told."""

    protocol = "unsteady"
    faults: ClassVar[list[Exception | int]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("unsteady://")))

    def open(self, path: str, *args: Any, **options: Any) -> Any:
        file = super().open(path, *args, **options)
        if "b" not in (args or ["rb"])[0] or not self.faults:
            return file
        fault = self.faults.pop(0)
        if isinstance(fault, Exception):
            raise fault
        return io.BytesIO(file.read()[:fault])


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
@pytest.mark.parametrize(
    "faults",
    [
        [OSError("reset"), 10_000, ConnectionResetError(), 0, TimeoutError()],
        [100, 101, 5_000, 5_001],
    ],
)
def test_blocks_that_are_lost_are_asked_for_again(
    name: str, faults: list[Exception | int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("unsteady", Unsteady, clobber=True)
    fsspec.filesystem("unsteady").pipe(f"/{name}", FILES[name])
    monkeypatch.setattr(Unsteady, "faults", [*faults])
    assert read(f"unsteady://{name}") == ROWS
    assert Unsteady.faults == []


def test_blocks_that_never_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("unsteady", Unsteady, clobber=True)
    fsspec.filesystem("unsteady").pipe("/rows.jsonl", FILES["rows.jsonl"])
    monkeypatch.setattr(Unsteady, "faults", [70_000] * 100)
    with pytest.raises(InputError, match=r"rows.jsonl: ended after 70000 of \d+ bytes, again"):
        read("unsteady://rows.jsonl")
    monkeypatch.setattr(Unsteady, "faults", [PermissionError("not yours")] * 2)
    with pytest.raises(InputError, match=r"rows.jsonl: Permission denied: not yours"):
        read("unsteady://rows.jsonl")


def test_text_that_is_not_utf_8_far_inside_a_table_is_an_error(web: Web) -> None:
    content = table() + "äöü\n".encode("cp1252")
    with pytest.raises(InputError, match="not UTF-8, probably Latin-1 or Windows-1252"):
        read(web.give("/rows.csv", content))
    assert len(read(web.give("/good.csv", table().decode().encode("cp1252")), encoding="cp1252"))


MISSING = {
    "s3://b/x.csv": ("s3fs", "pip install s3fs"),
    "gs://b/x.csv": ("gcsfs", "pip install gcsfs"),
    "az://b/x.csv": ("adlfs", "pip install adlfs"),
    "abfs://b@account/x.csv": ("adlfs", "pip install adlfs"),
    "sftp://host/x.csv": ("paramiko", "pip install paramiko"),
}


@pytest.mark.parametrize("address", MISSING)
def test_a_missing_package_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package, words = MISSING[address]
    for name in [it for it in sys.modules if it.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys.modules["fsspec.registry"], "registry", {})
    with pytest.raises(ConfigError) as caught:
        Files(address)
    assert words in str(caught.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ConfigError, match=r'pip install "chainette\[remote\]" s3fs'):
        opening.file_system("s3://bucket/x.csv")


def test_nothing_remote_is_loaded_before_an_address_is_used(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines(ROWS[:2]))
    code = (
        "import sys; from chainette.run.inputs.files import Files;"
        "from chainette.cli.app import app;"
        "list(Files('rows.jsonl').rows());"
        "print([it for it in ('fsspec', 's3fs', 'xlsxwriter', 'sqlite3') if it in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"https://u:{SECRET}@h/a.csv?X={SECRET}#{SECRET}", "https://h/a.csv?…"),
        (f"https://{SECRET}@h:1/a.csv", "https://h:1/a.csv"),
        ("s3://bucket/a?b[0-9]*.csv", "s3://bucket/a?b[0-9]*.csv"),
        (f"s3://key:{SECRET}@bucket/a.csv?secret={SECRET}", "s3://bucket/a.csv?…"),
        ("abfs://container@account.dfs.core.windows.net/a.csv",
         "abfs://container@account.dfs.core.windows.net/a.csv"),
        (f"zip://*.csv::https://u:{SECRET}@h/a.zip?{SECRET}", "zip://*.csv::https://h/a.zip?…"),
        ("data/*.jsonl", "data/*.jsonl"),
        ("hf:owner/name", "hf:owner/name"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_what_opens_it(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert SECRET not in scrubbed(f"error of {address}: {address}", address)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/k", True),
        ("https://h", True),
        ("zip://a::s3://b/k.zip", True),
        ("file:///a", False),
        ("C://a", False),
        ("a/b://c", False),
        ('{"a": "s3://b"}', False),
        ("see https://h", False),
    ],
)
def test_addresses_are_told_from_paths(text: str, expected: bool) -> None:
    assert is_address(text) is expected

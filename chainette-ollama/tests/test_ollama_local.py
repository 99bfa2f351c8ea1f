"""The backend `ollama`: its server, its store of models, and pulls."""

from __future__ import annotations

import http.server
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from chainette import Chain, LLMOutput, Step, register_engine
from chainette.backend import BaseClient, free_port
from chainette.engine.client import retry
from chainette.engine.server import process as process_module
from chainette.engine.server.progress import Startup, listening
from chainette.errors import EngineStartError, EngineUnreachableError
from chainette.testing.ollama.server import FakeOllama
from chainette.testing.script import Reply
from pydantic import BaseModel

CHAINETTE = str(Path(sys.executable).with_name("chainette"))
NDJSON = {"Content-Type": "application/x-ndjson"}
PROGRAM = """#!{python}
import http.server, json, os, pathlib, sys, time
print("server config HTTPS_PROXY:" + os.environ.get("HTTPS_PROXY", ""), file=sys.stderr)
if os.environ.get("FAKE_OLLAMA") == "exit":
    sys.exit("Error: could not create directory mkdir /nowhere: permission denied")
store = pathlib.Path(os.environ["OLLAMA_MODELS"])
partial, whole, total = store / "partial", store / "whole", store / "total"
if not os.environ.get("OLLAMA_NOPRUNE"):
    partial.unlink(missing_ok=True)
host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")

class Handler(http.server.BaseHTTPRequestHandler):
    def say(self, answer):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode() + b"\\n")
    def do_GET(self):
        names = whole.read_text().split() if whole.exists() else []
        models = {{"models": [{{"name": name, "model": name}} for name in names]}}
        self.say({{"version": "0.0.0"}} if self.path == "/api/version" else models)
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/pull":
            return self.pull(body["model"])
        if self.path == "/api/show":
            return self.say({{"capabilities": ["completion"]}})
        reason = "stop" if body["messages"] else "load"
        message = {{"role": "assistant", "content": "fine"}}
        self.say({{"model": "m", "message": message, "done": True, "done_reason": reason}})
    def pull(self, model):
        done = int(partial.read_text()) if partial.exists() else 0
        self.say({{"status": "pulling manifest"}})
        print("begins at", done, file=sys.stderr, flush=True)
        while done < int(total.read_text() if total.exists() else 2000):
            done += 100
            state = {{"status": "pulling ab", "digest": "ab", "total": 10**9, "completed": done}}
            self.wfile.write(json.dumps(state).encode() + b"\\n")
            (store / "next").write_text(str(done))
            (store / "next").rename(partial)
            time.sleep(0.002)
        whole.write_text(model + ":latest")
        self.wfile.write(json.dumps({{"status": "success"}}).encode())
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


class Row(BaseModel):
    text: str = ""


def step(engine: str) -> Step:
    fields = {"input_model": Row, "output_model": str, "user_prompt": "{{ text }}."}
    return Step(id=engine, engine_name=engine, **fields)  # type: ignore[arg-type]


class Pulls(FakeOllama):
    """A server without models whose pulls are scripted; the last of them succeeds."""

    def __init__(self, *pulls: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.models.clear()
        self.pulls = [*pulls]
        self.pulled: list[str] = []

    def other(self, path: str, body: Any) -> Any:
        if path != "/api/pull":
            return super().other(path, body)
        self.pulled.append(body["model"])
        if not self.pulls:
            return super().other(path, body)
        pull = self.pulls.pop(0)
        if isinstance(pull, Reply):
            return pull, pull.body or b""
        states = [{"error": pull}] if isinstance(pull, str) else pull
        return Reply(headers=NDJSON), b"".join(json.dumps(each).encode() + b"\n" for each in states)


def part(done: int, digest: str = "sha256:ab", total: int = 2_000_000_000) -> dict[str, Any]:
    return {"status": "pulling ab", "digest": digest, "total": total, "completed": done}


def make_client(port: int, **fields: Any) -> BaseClient:
    fields = {"model": "tiny", "port": port, **fields}
    return register_engine("e", backend="ollama", **fields).engine


def one(client: BaseClient) -> LLMOutput:
    return client.generate(["hi"])[0]


def start_error(client: BaseClient) -> str:
    error = one(client).error
    assert isinstance(error, EngineStartError), error
    return str(error).removeprefix("engine 'e': ")


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.0)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program `ollama` on PATH, and the folder of its store."""
    folder, store = tmp_path / "bin", tmp_path / "store"
    folder.mkdir()
    store.mkdir()
    (folder / "ollama").write_text(PROGRAM.format(python=sys.executable))
    (folder / "ollama").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("OLLAMA_MODELS", str(store))
    monkeypatch.delenv("OLLAMA_NOPRUNE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield store
    for server in list(process_module._instances):
        server.stop()
    for record in tmp_path.glob("state/chainette/servers/*.json"):
        os.killpg(json.loads(record.read_text())["pid"], signal.SIGKILL)


WILL_FAIL_AGAIN = {
    "pull model manifest: file does not exist": "there is no such model; see https://ollama.com/",
    "write /root/.ollama/models/blobs/x-partial: no space left on device": "free some space",
    "max retries exceeded: write x-partial: no space left on device": "free some space",
    "There is not enough space on the disk.": "free some space",
    "mkdir /usr/share/ollama: permission denied": "OLLAMA_MODELS to a folder of its own",
    "open x-partial: read-only file system": "OLLAMA_MODELS to a folder of its own",
    "pull model manifest: 412: The model requires a newer version of Ollama.": "update Ollama",
    "pull model manifest: 401: {}": "the registry refuses it without a login",
    "pull model manifest: unauthorized": "the registry refuses it without a login",
    "tls: failed to verify certificate: x509: unknown authority": "does not trust the certificate",
    "dial tcp: lookup registry.ollama.ai: no such host": "is this machine online?",
    "something that we have not seen": "something that we have not seen",
}
MAY_PASS = [
    "max retries exceeded",
    "max retries exceeded: unexpected EOF",
    'Get "https://x.test/v2": read tcp 10.0.0.2:5->10.0.0.1:443: read: connection reset by peer',
    'Get "https://x.test/v2": dial tcp 10.0.0.1:443: i/o timeout',
    'Get "https://x.test/v2": net/http: TLS handshake timeout',
    "dial tcp: lookup x.test on 127.0.0.53:53: server misbehaving",
    "dial tcp 10.0.0.1:443: connect: network is unreachable",
    "pull model manifest: 503: busy",
    "unexpected status code 502",
    "pull model manifest: 429: too many requests",
    "stream error: stream ID 3; INTERNAL_ERROR",
    "context canceled",
    "digest mismatch, file must be downloaded again: want sha256:a, got sha256:b",
]


@pytest.mark.parametrize("words", WILL_FAIL_AGAIN)
def test_a_pull_that_cannot_succeed_is_not_tried_again(words: str) -> None:
    with Pulls(words) as server:
        message = start_error(make_client(server.port))
        assert server.pulled == ["tiny"]
    assert message.startswith(f"cannot pull tiny: {words}")
    assert WILL_FAIL_AGAIN[words] in message
    assert "what has come is kept" not in message


@pytest.mark.parametrize("words", MAY_PASS)
def test_a_pull_is_tried_again_after_an_error_that_may_pass(words: str) -> None:
    with Pulls(words, words) as server:
        assert one(make_client(server.port)).error is None
        assert len(server.pulled) == 3


def test_a_pull_is_tried_as_often_as_requests_are_and_then_says_why() -> None:
    words = ["max retries exceeded: EOF"] * 9
    with Pulls(*words) as server:
        message = start_error(make_client(server.port, max_retries=2))
        assert len(server.pulled) == 3
    assert message == "cannot pull tiny: max retries exceeded: EOF"


def test_a_pull_goes_on_as_long_as_bytes_come() -> None:
    """Without a network, a name is not known; one that comes and goes is worth the wait."""
    lost = {"error": "max retries exceeded: lookup x.test: no such host"}
    pulls = [[part(done * 10**8), lost] for done in range(1, 9)]
    with Pulls(*pulls) as server:
        assert one(make_client(server.port, max_retries=1)).error is None
        assert len(server.pulled) == 9


def test_a_pull_that_ends_says_that_its_bytes_are_kept() -> None:
    with Pulls([part(10**9), {"error": "write x-partial: no space left on device"}]) as server:
        message = start_error(make_client(server.port))
    assert message.endswith("what has come is kept, and the next pull goes on from there")


@pytest.mark.parametrize(
    "broken",
    [
        Reply(status=503, body=b'{"error": "busy"}'),
        Reply(
            headers=NDJSON, body=json.dumps(part(1)).encode() + b'\n{"sta', send=0.9, then="drop"
        ),
        Reply(headers=NDJSON, body=b'{"status": "pulling manifest"}\n'),
        Reply(headers=NDJSON, body=b"<html>\n"),
        Reply(headers=NDJSON, body=b""),
    ],
)
def test_a_pull_that_breaks_off_is_taken_up_again(broken: Reply) -> None:
    with Pulls(broken) as server:
        assert one(make_client(server.port)).error is None
        assert len(server.pulled) == 2
    with Pulls(broken) as server:
        assert start_error(make_client(server.port, max_retries=0)).startswith("cannot pull tiny: ")


def test_a_name_that_ollama_refuses_is_an_error_with_its_words() -> None:
    with FakeOllama(modelfiles={}) as server:
        assert "invalid model name" in start_error(make_client(server.port, model="a b"))


def test_a_silent_pull_has_the_limit_of_a_load_and_not_that_of_a_row() -> None:
    states = b'{"status": "verifying sha256 digest"}\n{"status": "success"}\n'
    slow = Reply(headers=NDJSON, body=states, delay=0.4)
    with Pulls(slow) as server:
        assert one(make_client(server.port, timeout=0.2)).error is None
    with Pulls(slow) as server:
        silent = make_client(server.port, load_timeout=0.1, max_retries=0)
        assert "no answer for 0.1 s" in start_error(silent)


@pytest.mark.parametrize(
    ("listed", "model", "is_pulled"),
    [
        ("smol:latest", "smol", False),
        ("smol:latest", "library/smol:latest", False),
        ("smol:latest", "registry.ollama.ai/library/smol", False),
        ("Smol:latest", "smol", False),
        ("me/smol:latest", "me/smol", False),
        ("hf.co/me/smol:Q4_K_M", "hf.co/me/smol:Q4_K_M", False),
        ("smol:135m", "smol", True),
        ("me/smol:latest", "smol", True),
    ],
)
def test_a_model_that_is_there_under_its_whole_name_is_not_pulled(
    listed: str, model: str, is_pulled: bool
) -> None:
    with Pulls() as server:
        server.models.append(listed)
        assert one(make_client(server.port, model=model)).error is None
        assert bool(server.pulled) is is_pulled


def test_a_model_of_the_cloud_is_pulled_only_by_name_and_where_the_server_asks_for_it() -> None:
    class Older(Pulls):
        def _missing(self, path: str, model: str) -> tuple[int, str] | None:
            return None if self.pulled or not self.is_older else (404, f"model '{model}' not found")

        is_older = False

    for is_older in (False, True):
        with Older() as server:
            server.is_older = is_older
            assert one(make_client(server.port, model="gpt-oss:20b-cloud")).error is None
            assert len(server.pulled) == is_older


def test_the_display_has_bytes_time_and_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainette.engine.server import download

    clock = iter(range(100))
    monkeypatch.setattr(download, "monotonic", lambda: next(clock))
    small = part(400, "sha256:cd", 400)
    states = [*({"status": "pulling manifest"}, part(0), part(500_000_000), part(2_000_000_000))]
    end = [small, {"status": "verifying sha256 digest"}, {"status": "success"}]
    seen: list[Startup] = []
    with Pulls([*states, *end]) as server, listening(seen.append):
        assert one(make_client(server.port)).error is None
    assert [(each.detail, each.share) for each in seen if each.what == "pulling tiny"] == [
        ("pulling manifest", None),
        ("0.0 of 2.0 GB", 0.0),
        ("0.5 of 2.0 GB, 3 s left, 500 MB/s", 0.25),
        ("2.0 of 2.0 GB", 1.0),
        ("2.0 of 2.0 GB", 1.0),
        ("verifying sha256 digest", None),
        ("success", None),
        ("", None),
    ]


def test_a_pull_works_where_the_package_cannot_be_imported() -> None:
    """In a process of its own, since the package is imported here."""
    hostile = {
        "ALL_PROXY": "socks5://127.0.0.1:9",
        "OLLAMA_HOST": "0.0.0.0:abc",
        "SSL_CERT_FILE": "/no/such/file",
    }
    code = """
import sys
from chainette import register_engine
client = register_engine("e", backend="ollama", model="m", port=int(sys.argv[1])).engine
print(client.generate(["hi"])[0].error)
assert "ollama" not in sys.modules
"""
    with Pulls() as server:
        ended = subprocess.run(
            [sys.executable, "-c", code, str(server.port)],
            env={**os.environ, **hostile},
            capture_output=True,
            text=True,
        )
        assert server.pulled == ["m"]
    assert (ended.stdout.strip(), ended.returncode) == ("None", 0), ended.stderr


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _NoHTTP(http.server.BaseHTTPRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        self.rfile.readline()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"<html>My pages</html>"), "with a body that is not JSON: My pages"),
        ((404, b"nothing here"), "answered 404"),
        ((401, b""), "answered 401"),
        ((500, b"oh"), "answered 500"),
        ((200, b'{"status": "ok"}'), '/api/version answered {"status": "ok"}'),
        ((200, b"[]"), "/api/version answered []"),
        (None, "the connection failed"),
    ],
)
def test_another_program_on_the_port_is_named(
    answer: Any, words: str, program: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler = _Page if answer else _NoHTTP
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.answer = answer  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    port = server.server_address[1]
    try:
        message = start_error(make_client(port))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    name = psutil.Process().name()
    assert message.startswith(f"127.0.0.1:{port} is in use by another program ({name}, process ")
    assert "that is not Ollama" in message
    assert words in message
    assert "set another `port`" in message


def test_a_program_that_exits_shows_its_last_lines(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_OLLAMA", "exit")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:SENTINEL-123@127.0.0.1:9")
    message = start_error(make_client(free_port()))
    assert "ollama did not start: it ended with exit code 1" in message
    assert "Error: could not create directory mkdir /nowhere: permission denied" in message
    assert "SENTINEL" not in message


def test_a_server_that_crashes_is_started_again_and_its_last_lines_are_shown(
    program: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (program / "whole").write_text("tiny:latest")
    client = make_client(free_port())
    assert one(client).error is None
    server = client.server()
    assert server is not None
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    while server.running:
        time.sleep(0.01)
    assert one(client).error is None
    (warning,) = [each.getMessage() for each in caplog.records if "ended" in each.msg]
    assert "ollama ended with exit code 137 and is started again; last lines of" in warning
    assert "server config" in warning


@pytest.mark.parametrize("named", ["OLLAMA_MODELS", "default", "other"])
def test_an_empty_store_is_named_before_anything_is_pulled(
    named: str, program: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[int] = []
    monkeypatch.setattr(
        logging.getLogger("chainette.engine.warning"),
        "warning",
        lambda *words: known.append(words[0] % words[1:]),
    )
    expected = f"engine 'e': no models in {program} (OLLAMA_MODELS); pulling tiny"
    if named == "other":
        with Pulls() as server:
            assert one(make_client(server.port)).error is None
        where = "the store of the server that runs (OLLAMA_MODELS in its own environment)"
        expected = f"engine 'e': no models in {where}; pulling tiny"
    else:
        client = make_client(free_port())
        client.server().ensure_running()  # type: ignore[union-attr]
        if named == "default":
            monkeypatch.delenv("OLLAMA_MODELS")
            monkeypatch.setenv("HOME", str(program))
            where = f"{program}/.ollama/models (the default: OLLAMA_MODELS is not set)"
            expected = f"engine 'e': no models in {where}; pulling tiny"
        assert [each.error for each in client.generate(["a", "b"])] == [None, None]
    assert known == [expected]


def test_an_engine_with_an_endpoint_starts_nothing(program: Path) -> None:
    port = free_port()
    client = make_client(port, endpoint=f"http://127.0.0.1:{port}")
    assert isinstance(one(client).error, EngineUnreachableError)
    assert client.server() is None


def test_two_engines_share_the_server_and_each_pulls_its_model(program: Path) -> None:
    port = free_port()
    for name in ("a", "b"):
        register_engine(name, backend="ollama", model="tiny", port=port)
    run = Chain(name="c", steps=[step("a") | step("b")]).run([{}])
    assert run.counts.failed == 0
    running = [each for each in process_module._instances if each.running]
    assert len(running) <= 1


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _enough(program: Path) -> str:
    """Let what has come be the whole model; return how much that is."""
    kept = (program / "partial").read_text()
    (program / "total").write_text(kept)
    return kept


def _logs(program: Path) -> str:
    return "".join(path.read_text() for path in program.parent.glob("state/chainette/log/*.log"))


def test_an_interrupted_run_ends_its_pull_at_once_and_goes_on_next_time(
    program: Path, tmp_path: Path
) -> None:
    """Rows in flight have 30 s otherwise, and this pull would take hours."""
    (program / "total").write_text(str(10**9))
    register_engine("e", backend="ollama", model="tiny", port=free_port())
    chain, rows = Chain(name="c", steps=[step("e")]), [{"text": "a"}, {"text": "b"}]

    def interrupt() -> None:
        _wait_for(program / "partial")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        chain.run(rows, output_dir=tmp_path / "out")
    thread.join()
    kept = _enough(program)
    run = chain.run(rows, output_dir=tmp_path / "out", resume=True)
    assert (run.counts.ok, run.counts.failed) == (2, 0)
    assert f"begins at {kept}\n" in _logs(program)


def test_an_interrupted_warm_up_keeps_the_server_and_what_has_come(
    program: Path, tmp_path: Path
) -> None:
    engine = {"name": "own", "backend": "ollama", "model": "tiny", "port": free_port()}
    (tmp_path / "engines.yml").write_text(json.dumps([engine]))
    (program / "total").write_text(str(10**9))
    words = [CHAINETTE, "engines", "warmup", "own"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    _wait_for(program / "partial")
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=25)[1]
    assert process.returncode == 130, errors
    assert f"no models in {program} (OLLAMA_MODELS); pulling tiny" in errors
    time.sleep(0.05)  # for the server, which goes on, to notice it
    kept = _enough(program)
    again = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "already running" in again.stdout
    assert "models: tiny:latest" in again.stdout
    assert f"begins at {kept}\n" in _logs(program)


def test_a_warm_up_uses_the_server_that_somebody_else_has_started(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from chainette.cli.commands.warmup import warmup_engines

    with Pulls() as server:
        make_client(server.port)
        warmup_engines(["e"])
        assert server.pulled == ["tiny"]
    shown = capsys.readouterr().out
    assert f"e: {server.endpoint} (runs already; nothing to start)" in shown
    assert "models: tiny" in shown
    assert not list((tmp_path / "state").glob("chainette/servers/*.json"))

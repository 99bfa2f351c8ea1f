"""Fixtures of the tests across distributions."""

from __future__ import annotations

import fcntl
import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import psutil
import pytest
from chainette.cli import main
from chainette.engine.server.process import ServerProcess, server_process
from chainette.registry import engines as registry

ROOT = Path(__file__).parent.parent
collect_ignore = ["plugin_author"]  # its tests are those of a project of its own
Chainette = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_finish() -> None:
    """Hide what the collection made from the garbage collector, which looks at it in many tests."""
    gc.collect()
    gc.freeze()


CHAIN = """
from chainette import Chain, Step
from pydantic import BaseModel

class Row(BaseModel):
    number: int

class Answer(BaseModel):
    text: str

chain = Chain(name="numbers", steps=[Step(
    id="say", input_model=Row, output_model=Answer, engine_name="e",
    user_prompt="Say {{ number }}",
)])
"""


SERVER = """
import http.server, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        models = b'{"data": [{"id": "m"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(models)))
        self.end_headers()
        self.wfile.write(models)

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
DOCKER = """#!{python}
import json, os, pathlib, signal, subprocess, sys
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([words, os.environ.get("SECRET_TOKEN")]) + "\\n")
if words[0] == "run":
    if "broken" in words:
        print("no such image", file=sys.stderr)
        sys.exit(125)
    port = words[words.index("--publish") + 1].split(":")[1]
    nothing = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    command = [sys.executable, str(here / "server.py"), port]
    server = subprocess.Popen(command, start_new_session=True, **nothing)
    (here / "pid").write_text(str(server.pid))
    if "ill" in words:
        server.kill()
    print("0123456789abcdef")
elif words[0] == "inspect":
    try:
        os.kill(int((here / "pid").read_text()), 0)
        state = pathlib.Path(f"/proc/{{(here / 'pid').read_text()}}/stat")
        print("false" if state.exists() and " Z " in state.read_text() else "true")
    except OSError:
        print("false")
elif words[0] == "logs":
    print("CUDA error: no device; token hf_SENTINEL")
elif words[0] == "rm":
    os.kill(int((here / "pid").read_text()), signal.SIGKILL)
"""
VLLM = """#!{python}
import os, pathlib, sys
port = sys.argv[sys.argv.index("--port") + 1]
server = pathlib.Path(__file__).parent / "server.py"
os.execv(sys.executable, [sys.executable, str(server), port])
"""


class FakeOpenAI(ThreadingHTTPServer):
    """An OpenAI-compatible server on loopback; `reply` says what it answers to a request's body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply: Callable[[dict[str, Any]], tuple[int, Any]] = self.say

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @staticmethod
    def say(body: dict[str, Any]) -> tuple[int, Any]:
        text = json.dumps({"text": body["messages"][-1]["content"]})
        return 200, {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


class _Handler(BaseHTTPRequestHandler):
    server: FakeOpenAI

    def do_GET(self) -> None:
        self._answer(200, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(*self.server.reply(body))

    def _answer(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def openai_server() -> Iterator[FakeOpenAI]:
    server = FakeOpenAI()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time is in here."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Shared:
    """Files that pytest-xdist's workers make once for all of them; without workers, for itself.

    Args:
        folder: A folder of this test run that all workers know.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._leave: list[Callable[[], None]] = []

    def folder_made_by(self, name: str, make: Callable[[Path], object]) -> Path:
        """A folder that the first worker to ask for it fills."""
        folder = self.folder / name
        with locked(self.folder / f"{name}.lock"):
            if not folder.exists():
                unfinished = self.folder / f"{name}.unfinished"
                shutil.rmtree(unfinished, ignore_errors=True)  # its maker failed
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(folder)
        return folder

    @contextmanager
    def mypy_cache(self) -> Iterator[Path]:
        """The cache of mypy, for one process at a time: its databases are locked while it runs."""
        with locked(self.folder / "mypy.lock"):
            yield self.folder / "mypy"

    def llama_server(self, alias: str) -> str:
        """Base URL of a real llama.cpp server whose model has this name.

        It ends with the worker that started it, which therefore waits for the others.
        """
        users = self.folder / f"users of {alias}"
        address, lock = self.folder / f"{alias}.address", self.folder / f"{alias}.lock"
        mine = users / str(os.getpid())
        server = None
        with locked(lock):
            users.mkdir(exist_ok=True)
            if not _living(users):
                server = llama_cpp(alias)
                address.write_text(server.ensure_running() + "/v1")
            mine.touch()

        def leave() -> None:
            mine.unlink()
            while server is not None:
                with locked(lock):  # nobody joins while it ends
                    if not _living(users):
                        server.stop()
                        return
                time.sleep(0.1)

        self._leave.append(leave)
        return address.read_text()

    def leave(self) -> None:
        """Let go of the servers."""
        for leave in self._leave:
            leave()


def _living(users: Path) -> list[Path]:
    return [user for user in users.iterdir() if psutil.pid_exists(int(user.name))]


def llama_cpp(alias: str) -> ServerProcess:
    from chainette_llamacpp.server import default_model_path

    command = [sys.executable, "-m", "chainette_llamacpp.server", "--alias", alias]
    command += ["--model-path", str(default_model_path()), "--address-file", "{address_file}"]
    return server_process([*command, "--threads", "1"], name=alias)


@pytest.hookimpl(optionalhook=True)  # not every environment has xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One worker more than there are processors, since a fifth of the time tests only wait."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return (os.cpu_count() or 1) + 1


SHARED = pytest.StashKey[Shared]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Not in a fixture, where the time that others take would count as that of a test."""
    if shared := session.config.stash.get(SHARED, None):
        shared.leave()


@pytest.fixture(scope="session")
def shared(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    return pytestconfig.stash.setdefault(SHARED, Shared(folder))


@pytest.fixture(scope="session")
def llama_server(shared: Shared) -> str:
    """Base URL of a real llama.cpp server with the small model."""
    return shared.llama_server("smol")


@pytest.fixture(scope="session")
def wheels(shared: Shared) -> Path:
    """A folder with a wheel and an sdist of every distribution."""

    def build(folder: Path) -> None:
        projects = [
            *ROOT.glob("chainette-*/pyproject.toml"),
            *ROOT.glob("examples/*/pyproject.toml"),
        ]
        for project in projects:
            command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
            subprocess.run([*command, str(project.parent)], check=True, capture_output=True)

    return shared.folder_made_by("wheels", build)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """The examples of a clone, whose model has one thread.

    Two servers with a thread for each processor take four times as long: their threads wait for
    each other without letting others work.
    """
    folder = tmp_path / "clone/examples"
    shutil.copytree(ROOT / "examples", folder, ignore=shutil.ignore_patterns("chainette-llamacpp"))
    with (folder / "engines.llamacpp.yml").open("a") as engines:
        engines.write("  threads: 1\n")
    return folder


@pytest.fixture
def chainette(tmp_path: Path) -> Chainette:
    """Runs the command line in a folder of its own."""

    def run(
        *arguments: object, env: Mapping[str, str] | None = None, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
        return subprocess.run(
            [str(Path(sys.executable).with_name("chainette")), *map(str, arguments)],
            cwd=tmp_path,
            env={**inherited, "COLUMNS": "200", **(env or {})},
            input=input,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    return run


@pytest.fixture
def in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chainette:
    """Runs the command line as `chainette` does, in this process and in a tenth of the time."""

    def run(
        *arguments: object, env: Mapping[str, str] | None = None, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        words = ["chainette", *map(str, arguments)]
        streams = {name: TextIOWrapper(BytesIO(), write_through=True) for name in OUTPUTS}
        with monkeypatch.context() as patch, as_if_just_started(tmp_path):
            for name in [name for name in os.environ if name.startswith("OPENAI_")]:
                patch.delenv(name)
            for name, value in {"COLUMNS": "200", **(env or {})}.items():
                patch.setenv(name, value)
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", words)
            patch.setattr(sys.modules["__main__"], "__package__", None)  # not `python -m pytest`
            patch.setattr(sys, "path", [*sys.path])
            patch.setattr(sys, "stdin", TextIOWrapper(BytesIO(input.encode())))
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            patch.setattr(registry, "_configs", {})
            patch.setattr(registry, "_clients", {})
            with pytest.raises(SystemExit) as ended:
                main()
        said = [stream.buffer.getvalue().decode() for stream in streams.values()]
        code = ended.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(words, code, *said)

    return run


OUTPUTS = ("stdout", "stderr")


@contextmanager
def as_if_just_started(folder: Path) -> Iterator[None]:
    """As Python starts: no logging, its own filters of warnings, nothing of the folder imported."""
    root, ours = logging.getLogger(), logging.getLogger("chainette")
    handlers, level = root.handlers[:], ours.level
    root.handlers.clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        root.handlers[:] = handlers
        ours.setLevel(level)
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None)).startswith(str(folder)):
                del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, openai_server: FakeOpenAI) -> Path:
    """A folder with a chain, its inputs and its engine on the fake server."""
    (tmp_path / "numbers_chain.py").write_text(CHAIN)
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"number": {n}}}\n' for n in range(5)))
    (tmp_path / "engines.yml").write_text(
        f"- name: e\n  backend: openai\n  model: m\n  endpoint: {openai_server.url}\n"
    )
    return tmp_path


@pytest.fixture
def state(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment with records of its own; whatever still runs is ended."""
    folder = tmp_path / "state"
    yield {"XDG_STATE_HOME": str(folder)}
    for record in folder.glob("chainette/servers/*.json"):
        pid = json.loads(record.read_text())["pid"]
        if pid:
            os.killpg(pid, signal.SIGKILL)


@pytest.fixture
def docker(tmp_path: Path, state: dict[str, str]) -> tuple[dict[str, str], Path]:
    """Programs `docker` and `vllm` that run a small server in place of a container and a model."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER.format(python=sys.executable))
    (folder / "vllm").write_text(VLLM.format(python=sys.executable))
    for name in ("docker", "vllm"):
        (folder / name).chmod(0o755)
    (folder / "server.py").write_text(SERVER)
    return state | {"PATH": f"{folder}:{os.environ['PATH']}"}, folder

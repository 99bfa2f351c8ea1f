"""What the tests across distributions share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from chainette.engine.server.process import server_process

ROOT = Path(__file__).parent.parent
collect_ignore = ["plugin_author"]  # its tests are those of a project of its own
Chainette = Callable[..., subprocess.CompletedProcess[str]]

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
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def llama_server() -> str:
    """Base URL of a real llama.cpp server with the small model."""
    from chainette_llamacpp.server import default_model_path

    command = [sys.executable, "-m", "chainette_llamacpp.server", "--alias", "smol"]
    command += ["--model-path", str(default_model_path()), "--address-file", "{address_file}"]
    return server_process(command, name="tests").ensure_running() + "/v1"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist of every distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    projects = [*ROOT.glob("chainette-*/pyproject.toml"), *ROOT.glob("examples/*/pyproject.toml")]
    for project in projects:
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
        subprocess.run([*build, str(project.parent)], check=True, capture_output=True)
    return folder


@pytest.fixture
def chainette(tmp_path: Path) -> Chainette:
    """Runs the command line in a folder of its own."""

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
        environment |= {"COLUMNS": "200"} | options.pop("env", {})
        program = str(Path(sys.executable).with_name("chainette"))
        return subprocess.run(
            [program, *map(str, arguments)],
            **{"cwd": tmp_path, "env": environment, "capture_output": True, "text": True} | options,
            timeout=110,
            check=False,
        )

    return run


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

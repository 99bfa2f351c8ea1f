"""What the tests across distributions share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from chainette.engine.server import server_process

ROOT = Path(__file__).parent.parent
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

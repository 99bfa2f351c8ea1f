"""Runs the programs of `coming-from.md` in environments of their own, on a server on loopback.

`python docs/peers.py FOLDER` installs each library below FOLDER (1 GB in all), with the version
that
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("coming-from.md")
BLOCK = re.compile(
    r"^:::\{code-block\} (\w+)\n:caption: (\S+) (\S+)\n\n(.*?)^:::$", re.MULTILINE | re.DOTALL
)
ANSWER = '{"label": "positive"}'
NO_DOWNLOADS = """
import tiktoken

class Words:
    def encode(self, text, **_):
        return text.split()

tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_, **__: Words()
"""
"""In front of curator's program: its tokenizer would be downloaded."""


class Server(BaseHTTPRequestHandler):
    """Chat completions with one answer."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message: dict[str, Any] = {"role": "assistant", "content": ANSWER}
        if tools := body.get("tools"):
            call = {"name": tools[0]["function"]["name"], "arguments": ANSWER}
            calls = [{"id": "call", "type": "function", "function": call}]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
        data = json.dumps(answer | {"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def programs() -> list[tuple[str, str, str, str]]:
    """The programs of other libraries: language, distribution, version and text."""
    return [match.groups() for match in BLOCK.finditer(PAGE.read_text())]  # type: ignore[misc]


def run(language: str, name: str, version: str, text: str, folder: Path, url: str) -> str:
    """What a program prints."""
    uv, home = str(Path(sys.executable).with_name("uv")), folder / name
    if not home.exists():
        subprocess.run([uv, "venv", "--quiet", home], check=True)
    command = [uv, "pip", "install", "--quiet", "--python", home / "bin/python"]
    subprocess.run([*command, f"{name}=={version}"], check=True)
    (folder / "reviews.jsonl").write_text('{"text": "Great lamp!"}\n{"text": "It broke."}\n')
    own = f"- {{model_id: gpt-4.1-mini, model_name: m, api_base: '{url}', supports_schema: true}}\n"
    (folder / "extra-openai-models.yaml").write_text(own)
    variables = {
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LLM_USER_PATH": str(folder),
        "CURATOR_CACHE_DIR": str(folder / "cache"),
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": url,
        "OPENAI_API_BASE": url,
    }
    if name == "bespokelabs-curator":
        text = NO_DOWNLOADS + text
    words = ["bash", "-c", text] if language == "bash" else ["python", "-c", text]
    result = subprocess.run(
        words, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def main(folder: Path) -> None:
    """Run them all."""
    folder.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    for language, name, version, text in programs():
        printed = run(language, name, version, text, folder, url)
        labels = printed.count("positive")
        print(f"{name} {version}: {labels} labels")
        assert labels >= 2, printed


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())

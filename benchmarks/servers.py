"""Local servers that give every request the same answer: nginx at once, ours after a delay."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.2" if sys.platform == "linux" else "127.0.0.1"
"""On Linux, clients take this loopback address for another machine's, so they may look for a proxy,
as they do for most users."""
CONTENT = json.dumps(
    {
        "label": "positive",
        "score": 87,
        "reason": "The customer praises the short delivery and the box, " * 8,
        "keywords": ["delivery", "box", "price", "support", "colour"],
    }
)
ANSWER = json.dumps(
    {
        "id": "chatcmpl-0123456789",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": CONTENT, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 61,
            "completion_tokens": 171,
            "total_tokens": 232,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }
)
RESPONSE = json.dumps(
    {
        "id": "resp_0123456789",
        "object": "response",
        "created_at": 1790000000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "gpt-4o-mini",
        "output": [
            {
                "id": "msg_0123456789",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": CONTENT, "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 61,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 171,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 232,
        },
        "service_tier": "default",
    }
)
"""The same answer as one of the Responses API."""
OLLAMA = json.dumps(
    {
        "model": "gpt-4o-mini",
        "created_at": "2026-01-01T00:00:00.000000000Z",
        "message": {"role": "assistant", "content": CONTENT},
        "done": True,
        "done_reason": "stop",
        "total_duration": 679656600,
        "load_duration": 533326983,
        "prompt_eval_count": 61,
        "prompt_eval_duration": 77511000,
        "eval_count": 171,
        "eval_duration": 65760000,
    }
)
CONFIG = """
worker_processes 1;
daemon off;
error_log stderr crit;
pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    server {{
        listen {host}:{port} backlog=4096;
        location /api/ {{ default_type application/json; return 200 '{ollama}'; }}
        location / {{ default_type application/json; return 200 '{answer}'; }}
        location /v1/responses {{ default_type application/json; return 200 '{response}'; }}
    }}
}}
"""


@contextmanager
def nginx() -> Iterator[str]:
    """Run an nginx that answers at once; yields its base URL.

    Raises:
        SystemExit: nginx is not installed.
    """
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        sys.exit("nginx is not installed; on Debian: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
        free.close()
        answers = {
            "answer": _quoted(ANSWER),
            "response": _quoted(RESPONSE),
            "ollama": _quoted(OLLAMA),
        }
        path = Path(folder, "nginx.conf")
        path.write_text(CONFIG.format(folder=folder, host=HOST, port=port, **answers))
        server = subprocess.Popen([program, "-p", folder, "-c", str(path)])
        try:
            _wait(port)
            yield f"http://{HOST}:{port}/v1"
        finally:
            server.terminate()
            server.wait()


@contextmanager
def fast() -> Iterator[str]:
    """Run the server that answers at once, with little; yields its port."""
    program = str(Path(__file__).with_name("fast_server.py"))
    server = subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().decode().strip()
    finally:
        server.terminate()


@contextmanager
def slow(seconds: float) -> Iterator[str]:
    """Run a server that answers after this number of seconds; yields its base URL."""
    program = str(Path(__file__).with_name("fast_server.py"))
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer.json")
        answer.write_text(ANSWER)
        response = Path(folder, "response.json")
        response.write_text(RESPONSE)
        command = [sys.executable, program, str(seconds), "0", str(answer), HOST, str(response)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert server.stdout is not None
        try:
            yield f"http://{HOST}:{int(server.stdout.readline())}/v1"
        finally:
            server.terminate()
            server.wait()


def _quoted(answer: str) -> str:
    return answer.replace("\\", "\\\\").replace("'", "\\'")


def _wait(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    sys.exit("nginx did not start")

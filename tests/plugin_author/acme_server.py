"""A small model server with a protocol of its own, in front of a real model.

    python acme_server.py http://127.0.0.1:8080/v1     # an OpenAI-compatible server with the model

It prints its address. Acme's documentation:

`POST /v2/complete`, header `X-Acme-Token: …`, body

    {"engine": "…", "dialogue": [{"who": "system" | "user" | "assistant", "says": "…"}],
     "knobs": {"heat": 0.7, "nucleus": 0.9, "longest": 100, "until": ["…"], "dice": 1},
     "shape": {… a JSON schema, or absent}}

answers 200 with

    {"reply": "…", "ended": "done" | "too long", "meter": {"read": 12, "written": 7}}

and other statuses with `{"problem": "…"}`: 401 for a wrong token, 422 for an unknown knob, 429
with `Retry-After` when it is too busy. `GET /v2/engines` answers
`{"engines": ["…"]}`. Knobs may be absent; there is one reply for a request.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "token-of-acme"
KNOBS = {
    "heat": "temperature",
    "nucleus": "top_p",
    "longest": "max_tokens",
    "until": "stop",
    "dice": "seed",
}


class AcmeServer(ThreadingHTTPServer):
    """A server that passes requests on to a model behind `upstream`."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def complete(self, prompt: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "messages": [{"role": it["who"], "content": it["says"]} for it in prompt["dialogue"]],
            **{KNOBS[knob]: value for knob, value in prompt.get("knobs", {}).items()},
        }
        if shape := prompt.get("shape"):
            schema = {"name": "shape", "schema": shape}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.upstream}/chat/completions", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        choice, usage = answer["choices"][0], answer["usage"]
        return {
            "reply": choice["message"]["content"],
            "ended": "too long" if choice["finish_reason"] == "length" else "done",
            "meter": {"read": usage["prompt_tokens"], "written": usage["completion_tokens"]},
        }


class _Handler(BaseHTTPRequestHandler):
    server: AcmeServer

    def do_GET(self) -> None:
        self._answer(200, {"engines": ["acme-1"]})

    def do_POST(self) -> None:
        prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v2/complete":
            return self._answer(404, {"problem": f"no {self.path} here"})
        if self.headers["X-Acme-Token"] != TOKEN:
            return self._answer(401, {"problem": "wrong token"})
        if unknown := set(prompt.get("knobs", {})) - set(KNOBS):
            return self._answer(422, {"problem": f"no such knobs: {sorted(unknown)}"})
        try:
            return self._answer(200, self.server.complete(prompt))
        except (urllib.error.HTTPError, KeyError) as error:
            return self._answer(422, {"problem": str(error)})

    def _answer(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    server = AcmeServer(sys.argv[1])
    print(server.url, flush=True)  # noqa: T201 - the address, for the program that started it
    server.serve_forever()

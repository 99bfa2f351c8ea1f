"""A server of Acme's protocol whose answers are scripted."""

from __future__ import annotations

from typing import Any

from chainette.testing.fake_server import Asked, FakeServer, Said

from chainette_acme.client import KNOBS


class FakeAcme(FakeServer):
    """Understands what the client sends, and writes what it reads."""

    def read(self, path: str, body: Any) -> Asked | None:
        if path != "/v2/complete":
            return None
        messages = [{"role": it["who"], "content": it["says"]} for it in body["dialogue"]]
        names = {knob: name for name, knob in KNOBS.items()}
        sampling = {names[knob]: value for knob, value in body["knobs"].items()}
        return Asked(path, body, messages, body.get("shape"), sampling)

    def write(self, asked: Asked, said: Said) -> Any:
        ended = "too long" if said.finish_reason == "length" else "done"
        meter = {"read": said.usage.prompt_tokens, "written": said.usage.completion_tokens}
        return {"reply": said.texts[0], "ended": ended, "meter": meter}

    def other(self, path: str, body: Any) -> Any:
        return {"engines": ["acme-1"]} if path == "/v2/engines" else None

    def error(self, code: int, message: str) -> Any:
        return {"problem": message}

"""A server of Acme's protocol with scripted answers."""

from __future__ import annotations

from typing import Any

from chainette.testing.fake_server import FakeServer, ModelAnswer, ReceivedRequest

from chainette_acme.client import KNOBS


class FakeAcme(FakeServer):
    """Reads the client's requests and writes the server's answers."""

    def read(self, path: str, body: Any) -> ReceivedRequest | None:
        if path != "/v2/complete":
            return None
        messages = [{"role": it["who"], "content": it["says"]} for it in body["dialogue"]]
        names = {knob: name for name, knob in KNOBS.items()}
        sampling = {names[knob]: value for knob, value in body["knobs"].items()}
        return ReceivedRequest(path, body, messages, body.get("shape"), sampling)

    def write(self, request: ReceivedRequest, answer: ModelAnswer) -> Any:
        ended = "too long" if answer.finish_reason == "length" else "done"
        meter = {"read": answer.usage.prompt_tokens, "written": answer.usage.completion_tokens}
        return {"reply": answer.texts[0], "ended": ended, "meter": meter}

    def other(self, path: str, body: Any) -> Any:
        return {"engines": ["acme-1"]} if path == "/v2/engines" else None

    def error(self, code: int, message: str) -> Any:
        return {"problem": message}

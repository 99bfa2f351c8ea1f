"""Fake servers of the protocols that Chainette's backends speak."""

from __future__ import annotations

import json
from typing import Any

from chainette.testing.fake_server import Asked, FakeServer, Said
from chainette.types import SamplingParams

MODEL = "fake-model"
"""Name of the one model that every fake server has."""


class FakeOpenAI(FakeServer):
    """An OpenAI-compatible server: chat completions, responses and the list of models.

    The shapes are those of the OpenAI API reference.
    """

    prefix = "/v1"
    reasoning_field = "reasoning"
    """Where servers that report the model's reasoning put it."""

    def read(self, path: str, body: Any) -> Asked | None:
        """Understand a chat completion or a response."""
        if path == "/v1/chat/completions":
            described = body.get("response_format", {}).get("json_schema", {})
            return Asked(path, body, body["messages"], described.get("schema"), _sampling(body))
        if path == "/v1/responses":
            described = body.get("text", {}).get("format", {})
            return Asked(path, body, body["input"], described.get("schema"), _sampling(body))
        return None

    def other(self, path: str, body: Any) -> Any:
        """List the model."""
        return {"object": "list", "data": [{"id": MODEL}]} if path == "/v1/models" else None

    def write(self, asked: Asked, said: Said) -> Any:
        """Answer by the protocol of the request's path."""
        if asked.path == "/v1/responses":
            return _response(said)
        choices = [
            {"index": index, "message": self._message(text, said), "finish_reason": _finish(said)}
            for index, text in enumerate(said.texts)
        ]
        usage = {
            "prompt_tokens": said.usage.prompt_tokens,
            "completion_tokens": said.usage.completion_tokens,
        }
        return {"object": "chat.completion", "model": MODEL, "choices": choices, "usage": usage}

    def _message(self, text: str, said: Said) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if said.finish_reason == "refusal":
            message |= {"content": None, "refusal": text}
        if said.reasoning is not None:
            message[self.reasoning_field] = said.reasoning
        return message


class FakeVLLM(FakeOpenAI):
    """vLLM's OpenAI-compatible server, which is silent about fields that it does not know."""

    version = "0.32.0"
    """From 0.12 on structured output has other names (vLLM documentation, release notes)."""

    def read(self, path: str, body: Any) -> Asked | None:
        """Understand a chat completion with vLLM's own fields (vLLM docs, Structured Outputs)."""
        asked = super().read(path, body)
        if asked is None:
            return None
        guided = body.get("structured_outputs", {})
        if tuple(map(int, self.version.split("."))) < (0, 12):
            prefix = "guided_"
            older = {name: value for name, value in body.items() if name.startswith(prefix)}
            guided = {name.removeprefix(prefix): value for name, value in older.items()}
        sampling = dict(asked.sampling)
        if guided and "json" not in guided:
            sampling["guided_decoding"] = guided
        return Asked(path, body, asked.messages, asked.schema or guided.get("json"), sampling)

    def other(self, path: str, body: Any) -> Any:
        """Say that the server is healthy, and which it is."""
        answers = {"/health": b"", "/version": {"version": self.version}}
        return answers[path] if path in answers else super().other(path, body)

    def error(self, code: int, message: str) -> Any:
        """An error in vLLM's shape."""
        return {"error": {"message": message, "type": "BadRequestError", "code": code}}


class FakeOllama(FakeServer):
    """Ollama's own API (Ollama documentation, "API").

    Attributes:
        models: Names of the models that the server has; a pull adds to them.
        context: Tokens of context: of a longer prompt, only so many are read.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.models = [f"{MODEL}:latest"]
        self.context = 4096

    def read(self, path: str, body: Any) -> Asked | None:
        """Understand a chat."""
        if path != "/api/chat":
            return None
        schema = body.get("format")
        sampling = _sampling(body.get("options") or {})
        wanted = schema if isinstance(schema, dict) else None
        return Asked(path, body, body["messages"], wanted, sampling, body.get("think"))

    def other(self, path: str, body: Any) -> Any:
        """List the models, pull one, or tell the version."""
        if path == "/api/version":
            return {"version": "0.13.0"}
        if path == "/api/tags":
            return {"models": [{"model": name, "name": name} for name in self.models]}
        if path == "/api/pull":
            self.models.append(body["model"])
            states: list[dict[str, Any]] = [{"status": "pulling manifest"}]
            for done in (0, 500, 1000):
                part = {"digest": "sha256:ab", "total": 1000, "completed": done}
                states.append({"status": "pulling ab"} | part)
            states.append({"status": "success"})
            return b"".join(json.dumps(state).encode() + b"\n" for state in states)
        return None

    def write(self, asked: Asked, said: Said) -> Any:
        """Answer a chat."""
        message: dict[str, Any] = {"role": "assistant", "content": said.texts[0]}
        if said.reasoning is not None:
            message["thinking"] = said.reasoning
        context = (asked.body.get("options") or {}).get("num_ctx") or self.context
        return {
            "model": asked.body["model"],
            "created_at": "2026-01-01T00:00:00Z",
            "message": message,
            "done": True,
            "done_reason": said.finish_reason,
            "prompt_eval_count": min(said.usage.prompt_tokens, context),
            "eval_count": said.usage.completion_tokens,
        }

    def error(self, code: int, message: str) -> Any:
        """An error in Ollama's shape."""
        return {"error": message}


_NAMES = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
}
"""Names that protocols have for what Chainette calls otherwise."""


def _sampling(fields: dict[str, Any]) -> dict[str, Any]:
    """What of a request's fields are sampling parameters, under Chainette's names."""
    named = {_NAMES.get(name, name): value for name, value in fields.items()}
    known = set(SamplingParams.model_fields) - {"guided_decoding"}
    return {name: value for name, value in named.items() if name in known}


def _finish(said: Said) -> str:
    return "stop" if said.finish_reason == "refusal" else said.finish_reason


def _response(said: Said) -> dict[str, Any]:
    """An answer of the Responses API."""
    text = {"type": "output_text", "text": said.texts[0], "annotations": []}
    if said.finish_reason == "refusal":
        text = {"type": "refusal", "refusal": said.texts[0]}
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = reasons.get(said.finish_reason)
    read, written = said.usage.prompt_tokens, said.usage.completion_tokens
    return {
        "id": "r",
        "object": "response",
        "created_at": 1,
        "model": MODEL,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
        "usage": {
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": 0},
        },
    }

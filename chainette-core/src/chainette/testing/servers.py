"""Fake servers of the protocols that Chainette's backends speak."""

from __future__ import annotations

from typing import Any

from chainette.testing.fake_server import (
    MODEL,
    FakeServer,
    ModelAnswer,
    ReceivedRequest,
    sampling_of,
)
from chainette.testing.ollama.server import FakeOllama

__all__ = ["MODEL", "FakeOllama", "FakeOpenAI", "FakeVLLM"]


class FakeOpenAI(FakeServer):
    """An OpenAI-compatible server: chat completions, responses and the list of models.

    The source is the OpenAI API reference.
    """

    prefix = "/v1"
    reasoning_field = "reasoning"
    """Field of the model's reasoning, in servers that report it."""

    def read(self, path: str, body: Any) -> ReceivedRequest | None:
        """Read a chat completion or a response."""
        if path == "/v1/chat/completions":
            named = body.get("response_format", {}).get("json_schema", {})
            schema = named.get("schema")
            return ReceivedRequest(path, body, body["messages"], schema, sampling_of(body))
        if path == "/v1/responses":
            schema = body.get("text", {}).get("format", {}).get("schema")
            # A turn may name its type, `message` (OpenAI API reference, "Input message").
            turns = [{name: turn[name] for name in ("role", "content")} for turn in body["input"]]
            return ReceivedRequest(path, body, turns, schema, sampling_of(body))
        return None

    def other(self, path: str, body: Any) -> Any:
        """List the model."""
        return {"object": "list", "data": [{"id": MODEL}]} if path == "/v1/models" else None

    def write(self, request: ReceivedRequest, answer: ModelAnswer) -> Any:
        """Write a chat completion or a response, by the request's path."""
        if request.path == "/v1/responses":
            return _response(answer)
        reason = _finish(answer)
        choices = [
            {"index": index, "message": self._message(text, answer), "finish_reason": reason}
            for index, text in enumerate(answer.texts)
        ]
        usage = {
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
        }
        return {"object": "chat.completion", "model": MODEL, "choices": choices, "usage": usage}

    def _message(self, text: str, answer: ModelAnswer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if answer.finish_reason == "refusal":
            message |= {"content": None, "refusal": text}
        if answer.reasoning is not None:
            message[self.reasoning_field] = answer.reasoning
        return message


class FakeVLLM(FakeOpenAI):
    """An OpenAI-compatible server of vLLM, which ignores fields that it does not know."""

    version = "0.32.0"
    """Version; since 0.12 structured output has other names (vLLM documentation, release notes)."""

    def read(self, path: str, body: Any) -> ReceivedRequest | None:
        """Read a chat completion with vLLM's own fields (vLLM docs, "Structured Outputs")."""
        chat = super().read(path, body)
        if chat is None:
            return None
        guided = body.get("structured_outputs", {})
        if tuple(map(int, self.version.split("."))) < (0, 12):
            prefix = "guided_"
            older = {name: value for name, value in body.items() if name.startswith(prefix)}
            guided = {name.removeprefix(prefix): value for name, value in older.items()}
        sampling = dict(chat.sampling)
        if guided and "json" not in guided:
            sampling["guided_decoding"] = guided
        schema = chat.schema or guided.get("json")
        return ReceivedRequest(path, body, chat.messages, schema, sampling)

    def other(self, path: str, body: Any) -> Any:
        """Answer the health check, the version and the list of models."""
        answers = {"/health": b"", "/version": {"version": self.version}}
        return answers[path] if path in answers else super().other(path, body)

    def error(self, code: int, message: str) -> Any:
        """Write an error of vLLM."""
        return {"error": {"message": message, "type": "BadRequestError", "code": code}}


def _finish(answer: ModelAnswer) -> str:
    return "stop" if answer.finish_reason == "refusal" else answer.finish_reason


def _response(answer: ModelAnswer) -> dict[str, Any]:
    """An answer of the Responses API."""
    text = {"type": "output_text", "text": answer.texts[0], "annotations": []}
    if answer.finish_reason == "refusal":
        text = {"type": "refusal", "refusal": answer.texts[0]}
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
    reason = reasons.get(answer.finish_reason)
    read, written = answer.usage.prompt_tokens, answer.usage.completion_tokens
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

"""Ollama's answers under `/v1`, as recorded."""

from __future__ import annotations

import json
from typing import Any

from chainette.testing.fake_server import ModelAnswer, ReceivedRequest

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses")


def messages_of(path: str, body: dict[str, Any]) -> list[Any]:
    """The conversation of a request under `/v1`."""
    if path == "/v1/chat/completions":
        return list(body["messages"])
    given = body["prompt"] if path == "/v1/completions" else body["input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def schema_of(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of a request under `/v1`."""
    if path == "/v1/responses":
        schema = body.get("text", {}).get("format", {}).get("schema")
    else:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    return schema if isinstance(schema, dict) else None


def error_of(status: int, message: str) -> dict[str, Any]:
    """An error under `/v1`."""
    kind = "invalid_request_error" if status == 400 else "api_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def written(request: ReceivedRequest, answer: ModelAnswer, prompt: int) -> dict[str, Any]:
    """The answer to a request under `/v1`; there is one, whatever `n` asks for.

    Args:
        request: The request.
        answer: The model's answer.
        prompt: Tokens of the prompt, as far as it was read.
    """
    tokens = answer.usage.completion_tokens
    if request.path == "/v1/responses":
        return _response(request.body, answer, prompt)
    is_chat = request.path == "/v1/chat/completions"
    choice: dict[str, Any] = {"index": 0, "finish_reason": answer.finish_reason}
    message: dict[str, Any] = {"role": "assistant", "content": answer.texts[0]}
    if answer.reasoning is not None:
        message["reasoning"] = answer.reasoning
    return {
        "id": "chatcmpl-1" if is_chat else "cmpl-1",
        "object": "chat.completion" if is_chat else "text_completion",
        "created": 1,
        "model": request.body["model"],
        "system_fingerprint": "fp_ollama",
        "choices": [choice | ({"message": message} if is_chat else {"text": answer.texts[0]})],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": tokens,
            "total_tokens": prompt + tokens,
        },
    }


_CONSTANT: dict[str, Any] = json.loads(
    """{"status": "completed", "incomplete_details": null, "previous_response_id": null,
    "instructions": null, "error": null, "tools": [], "tool_choice": "auto",
    "truncation": "disabled", "parallel_tool_calls": true, "top_p": 1, "presence_penalty": 0,
    "frequency_penalty": 0, "top_logprobs": 0, "temperature": 1, "reasoning": null,
    "max_tool_calls": null, "store": false, "background": false, "service_tier": "default",
    "metadata": {}, "safety_identifier": null, "prompt_cache_key": null}"""
)


def _response(body: dict[str, Any], answer: ModelAnswer, prompt: int) -> dict[str, Any]:
    tokens = answer.usage.completion_tokens
    part = {
        "type": "output_text",
        "text": answer.texts[0],
        "annotations": [],
        "logprobs": [],
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    usage = {
        "input_tokens": prompt,
        "output_tokens": tokens,
        "total_tokens": prompt + tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return _CONSTANT | {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "completed_at": 1,
        "model": body["model"],
        "output": [message],
        "text": body.get("text", {"format": {"type": "text"}}),
        "usage": usage,
        "max_output_tokens": body.get("max_output_tokens"),
    }

"""Reading the answers of `/api/chat`."""

from __future__ import annotations

import json
from typing import Any

from chainette.backend import Completion, LLMOutput, Request, RequestError, Usage, is_json

from chainette_ollama.server import Model


def read_chat(answer: Any, request: Request, model: Model) -> LLMOutput:
    """Read an answer (https://docs.ollama.com/api/chat).

    Args:
        answer: The answer, decoded.
        request: The request.
        model: The model.

    Raises:
        RequestError: It only says that a model was loaded or unloaded.
        KeyError: It is not an answer; as `TypeError` and `ValueError`.
    """
    message, reason = answer["message"], answer.get("done_reason")
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise TypeError("content")
    if reason in ("load", "unload"):
        raise RequestError(f"the server answered no question (done_reason: {reason})")
    completion: Completion[Any] = Completion(text=text, finish_reason=reason)
    completion.reasoning_content = message.get("thinking") or None
    if not text:
        calls = [call["function"]["arguments"] for call in message.get("tool_calls") or ()]
        completion.tool_arguments = "\n".join(map(json.dumps, calls)) or None
    read, written = (answer.get(name) or 0 for name in ("prompt_eval_count", "eval_count"))
    is_counted = type(read) is type(written) is int and min(read, written) >= 0 < read + written
    usage = Usage(read, written) if is_counted else None
    if reason == "length" or answer.get("done") is False:
        completion.finish_reason = "stop" if _is_whole(text, request) else "length"
        gave_up = "the server, which gave up on a repeating answer (done: false)"
        at_limit = model.cut_by(request.sampling.max_tokens, usage)
        completion.cut_by = at_limit if reason == "length" else gave_up
    elif model.stops and request.sampling.stop is None and _is_broken(text, request):
        completion.finish_reason, completion.cut_by = "length", model.stops
    return LLMOutput([completion], usage)


def _is_whole(text: str, request: Request) -> bool:
    """Whether a text is all of the JSON that was asked for; a number may have further digits."""
    return request.output is not None and not text[-1:].isdigit() and is_json(text)


def _is_broken(text: str, request: Request) -> bool:
    """Whether a text begins as JSON that was asked for, and does not end as such."""
    return bool(request.output and text.lstrip()[:1] in ("{", "[")) and not is_json(text)

"""Reading the answers of `/api/chat`."""

from __future__ import annotations

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
    thoughts = message.get("thinking") or None
    completion: Completion[Any] = Completion(
        text=text, reasoning_content=thoughts, finish_reason=reason
    )
    if answer.get("done") is False:
        is_whole = request.output is not None and is_json(text)
        completion.finish_reason = "stop" if is_whole else "length"
        completion.cut_by = "the server, which gave up on a repeating answer (done: false)"
    elif reason == "length" and request.sampling.max_tokens is None:
        completion.cut_by = model.limit
    elif model.stops and request.sampling.stop is None and _is_broken(text, request):
        completion.finish_reason, completion.cut_by = "length", model.stops
    read, written = answer.get("prompt_eval_count"), answer.get("eval_count")
    is_counted = read is not None or written is not None
    return LLMOutput([completion], Usage(read or 0, written or 0) if is_counted else None)


def _is_broken(text: str, request: Request) -> bool:
    """Whether a text begins as JSON that was asked for, and does not end as such."""
    return bool(request.output and text.lstrip()[:1] in ("{", "[")) and not is_json(text)

"""Reading the body of a chat completion, in the variants that servers send."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from chainette.types import Completion
from chainette.usage import Usage

_FINISHED = {
    # Cut at the token limit: Gemini, Anthropic, Mistral ("model_length"), Z.ai.
    **dict.fromkeys(
        ("max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"),
        "length",
    ),
    # Withheld: Gemini docs, "FinishReason"; Z.ai docs, "sensitive".
    **dict.fromkeys(
        (
            *("safety", "recitation", "prohibited_content", "blocklist", "spii", "sensitive"),
            *("image_safety", "image_prohibited_content", "image_recitation", "language"),
        ),
        "content_filter",
    ),
    # Complete: xAI, Anthropic, Text Generation Inference, Cohere.
    **dict.fromkeys(("end_turn", "eos", "eos_token", "stop_sequence", "complete"), "stop"),
    # Broken off: OpenRouter, DeepSeek ("insufficient_system_resource"), Z.ai, vLLM ("abort").
    **dict.fromkeys(
        ("insufficient_system_resource", "network_error", "abort", "aborted", "error"), "error"
    ),
}
"""The reasons of OpenAI's API that other servers call otherwise, in lower case."""
_MALFORMED = frozenset(
    ("malformed_function_call", "malformed_response", "unexpected_tool_call", "other")
)
"""Reasons of Gemini's for an answer that it could not read itself and leaves empty (Gemini docs,
"FinishReason"); another try often succeeds."""

_PARTS = frozenset(
    (
        *("text", "output_text", "input_text", "thinking", "redacted_thinking", "reasoning"),
        *("refusal", "image", "image_url", "audio", "input_audio", "file", "reference", "tool_use"),
    )
)
"""Types of parts of a message: OpenAI API reference, "content part"; Mistral and Anthropic docs."""


class BrokenOffError(ValueError):
    """The server ended a completion before the model had finished."""


def read_completion(choice: dict[str, Any]) -> Completion:
    """Read one choice.

    Args:
        choice: The choice, decoded.

    Raises:
        BrokenOffError: The server broke it off; it has to be asked for again.
        KeyError: It is not a choice; as `TypeError`, `AttributeError` and `ValueError`.
    """
    finish_reason = choice.get("finish_reason")
    if finish_reason != "stop" and isinstance(finish_reason, str):
        # Gemini's compatible endpoint: "content_filter: RECITATION".
        reason = finish_reason.rpartition(": ")[2].lower()
        finish_reason = _FINISHED.get(reason, reason if reason in _MALFORMED else finish_reason)
        if finish_reason == "error":
            raise BrokenOffError(choice["finish_reason"])
    message = _message(choice, finish_reason)
    text = _content(message.get("content") or "")
    # The field was renamed from reasoning_content to reasoning; servers send either.
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if isinstance(text, list):
        text, thoughts, refusal = _parts(text)
        reasoning = reasoning or thoughts
        message = {"refusal": refusal, **message}
    if refusal := message.get("refusal"):
        text, finish_reason = refusal, "refusal"
    completion: Completion[Any] = Completion(
        text=text, reasoning_content=reasoning, finish_reason=finish_reason
    )
    if not text:
        completion.tool_arguments = _tool_arguments(message)
        if finish_reason in _MALFORMED and not completion.tool_arguments:
            raise BrokenOffError(choice["finish_reason"])
    return completion


def _message(choice: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    """The message of a choice; where it has none, what other servers have in its place.

    These are the `text` of the older completions, the `delta` of a stream, and nothing where the
    answer is withheld.

    Raises:
        KeyError: There is nothing.
    """
    for key in ("message", "delta"):
        if isinstance(choice.get(key), dict):
            message: dict[str, Any] = choice[key]
            return message
    if "text" in choice or finish_reason == "content_filter" or finish_reason in _MALFORMED:
        return {"content": choice.get("text")}
    raise KeyError("message")


def _content(content: Any) -> str | list[Any]:
    """The content as text or a list of parts.

    A single part stands for a list of it; a value that is neither is the answer, decoded
    (Cloudflare docs, "JSON Mode").
    """
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    if all(_is_part(part, content) for part in parts):
        return parts
    return json.dumps(content)


def _is_part(part: Any, content: Any) -> bool:
    if isinstance(part, str):
        return True
    if not isinstance(part, dict):
        return False
    # Bedrock's parts have no type.
    return part.get("type") in _PARTS or (part.keys() == {"text"} and part is not content)


def _parts(parts: list[Any]) -> tuple[str, str | None, str | None]:
    """The text, the thoughts and the refusal in a list of parts.

    The parts are those of OpenAI's API reference ("content part") and of Mistral's, whose thoughts
    are a part with a list of parts (Mistral docs, "Reasoning").
    """
    found: dict[str, list[str]] = {"text": [], "thinking": [], "refusal": []}
    for part in parts:
        kind = "text" if isinstance(part, str) else part.get("type", "text")
        kind = "text" if kind == "output_text" else kind
        if kind in found:
            value = part if isinstance(part, str) else part.get(kind) or ""
            if isinstance(value, dict):  # OpenAI API reference, "The message object" of Assistants
                value = value.get("value") or ""
            found[kind].append(_parts(value)[0] if isinstance(value, list) else value)
    text, thoughts, refusal = map("".join, found.values())
    return text, thoughts or None, refusal or None


def _tool_arguments(message: dict[str, Any]) -> str | None:
    """The arguments of the message's tool calls (OpenAI API reference, "tool_calls")."""
    calls = [call.get("function") for call in message.get("tool_calls") or ()]
    calls.append(message.get("function_call"))  # the older field
    values = [call["arguments"] for call in calls if call and call.get("arguments")]
    # Text Generation Inference and llama.cpp have sent objects in the place of their texts.
    texts = [value if isinstance(value, str) else json.dumps(value) for value in values]
    return "\n".join(texts) or None


def read_usage(usage: Any) -> Usage | None:
    """Read the tokens of a completion.

    Args:
        usage: The body's `usage`, decoded.

    Returns:
        The tokens, or `None` where the server does not report them in a form that can be read.
    """
    if not usage:
        return None
    try:
        prompt_details = usage.get("prompt_tokens_details") or {}
        completion_details = usage.get("completion_tokens_details") or {}
        read = Usage(
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            reasoning_tokens=int(completion_details.get("reasoning_tokens") or 0),
            cached_tokens=int(prompt_details.get("cached_tokens") or 0),
        )
        return _with_thoughts(read, int(usage.get("total_tokens") or 0))
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def _with_thoughts(usage: Usage, total: int) -> Usage:
    """The usage with the tokens of the model's thoughts among those of the completion.

    OpenAI counts them there (OpenAI API reference, "completion_tokens_details"). xAI counts them
    beside the completion (xAI docs, "Reasoning"), and so does Gemini's compatible endpoint, which
    has them in the total alone; both bill them as output.
    """
    rest = total - usage.prompt_tokens - usage.completion_tokens
    is_known = rest == usage.reasoning_tokens or not (usage.reasoning_tokens or usage.cached_tokens)
    if rest <= 0 or not is_known:
        return usage
    return replace(usage, completion_tokens=usage.completion_tokens + rest, reasoning_tokens=rest)

"""Reading the body of a chat completion, in the variants that servers send."""

from __future__ import annotations

import json
from typing import Any

from chainette.engine.pricing.reported import reported_cost
from chainette.types import Completion, LLMOutput
from chainette.usage import Usage

FINISHED = {
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
        finish_reason = FINISHED.get(reason, reason if reason in _MALFORMED else finish_reason)
        if finish_reason == "error":
            raise BrokenOffError(choice["finish_reason"])
    message = _message(choice, finish_reason)
    text = content_of(message.get("content") or "")
    # The field was renamed from reasoning_content to reasoning; servers send either.
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if isinstance(text, list):
        text, thoughts, refusal = parts_of(text)
        reasoning = reasoning or thoughts
        message = {"refusal": refusal, **message}
    if refusal := message.get("refusal"):
        text = refusal if isinstance(refusal, str) else text or json.dumps(refusal)
        finish_reason = "refusal"
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


def content_of(content: Any) -> str | list[Any]:
    """The content of a message as text or a list of parts.

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


def parts_of(parts: list[Any]) -> tuple[str, str | None, str | None]:
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
            found[kind].append(parts_of(value)[0] if isinstance(value, list) else value)
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


_OPENAI_FIELDS = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    }
)
"""The fields of `usage` in OpenAI's API; others need a closer look."""
_BITS = 40
"""Counts of tokens with more bits are none, and neither is -1."""


def read_billing(answer: dict[str, Any], completions: list[Completion[Any]]) -> LLMOutput:
    """Read what an answer says of its tokens, its cost and the model that gave it.

    Args:
        answer: The body of a chat completion, decoded.
        completions: Its completions.
    """
    usage, model = answer.get("usage"), answer.get("model")
    usage = usage if isinstance(usage, dict) else {}
    is_plain = usage.keys() <= _OPENAI_FIELDS
    # Anthropic has the tier in the usage (Claude docs, "Service tiers").
    tier = answer.get("service_tier") or usage.get("service_tier")
    return LLMOutput(
        outputs=completions,
        usage=_read_usage(usage, is_plain=is_plain) if usage else None,
        model=model if isinstance(model, str) and model else None,
        service_tier=tier if isinstance(tier, str) else None,
        reported_cost=None if is_plain else reported_cost(usage),
    )


def _read_usage(usage: dict[str, Any], *, is_plain: bool) -> Usage | None:
    """The tokens of an answer, or `None` where they are reported in no form that can be read."""
    try:
        read = _usage(usage, is_plain) if "prompt_tokens" in usage else _other_usage(usage)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    if read is None:
        return None
    counts = read.prompt_tokens | read.completion_tokens | read.reasoning_tokens
    return None if (counts | read.cached_tokens) >> _BITS else read


def _usage(usage: dict[str, Any], is_plain: bool) -> Usage:
    """The tokens under the names of OpenAI's API reference ("The chat completion object")."""
    details = usage.get("prompt_tokens_details") or {}
    written_details = usage.get("completion_tokens_details") or {}
    prompt = int(usage["prompt_tokens"])
    completion = int(usage.get("completion_tokens") or 0)
    reasoning = int(written_details.get("reasoning_tokens") or 0)
    if is_plain:
        read, write = details.get("cached_tokens") or 0, details.get("cache_write_tokens") or 0
        write_1h = 0
    else:
        read, write, write_1h = _cache_counts(usage, details)
    if read + write > prompt:
        prompt += read + write  # as in Anthropic's API, they are not among the others
    # xAI and Gemini leave reasoning out of the completion and have it in the total alone (xAI docs,
    # "Reasoning"; https://github.com/Portkey-AI/gateway/pull/1458).
    missing = int(usage.get("total_tokens") or 0) - prompt - completion
    is_known = missing == reasoning or not (reasoning or read or write)
    if missing > 0 and is_known:
        completion, reasoning = completion + missing, missing
    return Usage(prompt, completion, reasoning, int(read), int(write), write_1h)


def _other_usage(usage: dict[str, Any]) -> Usage | None:
    """The tokens under the names of the Responses API, or of Anthropic's API ("Messages")."""
    if "input_tokens" not in usage and "completion_tokens" not in usage:
        return None
    details = usage.get("input_tokens_details") or {}
    written_details = usage.get("output_tokens_details") or {}
    prompt = int(usage.get("input_tokens") or 0)
    read, write, write_1h = _cache_counts(usage, details)
    if not details:
        prompt += read + write
    return Usage(
        prompt,
        int(usage.get("output_tokens") or usage.get("completion_tokens") or 0),
        int(written_details.get("reasoning_tokens") or 0),
        read,
        write,
        write_1h,
    )


def _cache_counts(usage: dict[str, Any], details: dict[str, Any]) -> tuple[int, int, int]:
    """Prompt tokens read from the server's cache, written to it, and written for an hour.

    OpenAI, OpenRouter and Azure have `cached_tokens` and `cache_write_tokens` in the details.
    Beside them there are DeepSeek's `prompt_cache_hit_tokens` (DeepSeek docs, "Context caching"),
    Moonshot's `cached_tokens` and Anthropic's `cache_read_input_tokens` and
    `cache_creation_input_tokens` (Claude docs, "Prompt caching"), which LiteLLM passes on.
    """
    read = (
        details.get("cached_tokens")
        or usage.get("cache_read_input_tokens")
        or usage.get("prompt_cache_hit_tokens")
        or usage.get("cached_tokens")
        or 0
    )
    write = details.get("cache_write_tokens") or usage.get("cache_creation_input_tokens") or 0
    kinds = usage.get("cache_creation") if write else None
    write_1h = kinds.get("ephemeral_1h_input_tokens") or 0 if kinds else 0
    return int(read), int(write), int(write_1h)

"""Reading the body of a chat completion, in the variants that servers send."""

from __future__ import annotations

from typing import Any

from chainette.engine.pricing.reported import reported_cost
from chainette.types import Completion, LLMOutput
from chainette.usage import Usage

_FINISHED = {
    # Cut at the token limit: Gemini, Anthropic, Mistral ("model_length"), Z.ai.
    **dict.fromkeys(
        ("max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"),
        "length",
    ),
    # Withheld: Gemini docs, "FinishReason"; Z.ai docs, "sensitive".
    **dict.fromkeys(
        ("safety", "recitation", "prohibited_content", "blocklist", "spii", "sensitive"),
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
    message = choice["message"]
    finish_reason = choice.get("finish_reason")
    if finish_reason != "stop" and isinstance(finish_reason, str):
        finish_reason = _FINISHED.get(finish_reason.lower(), finish_reason)
        if finish_reason == "error":
            raise BrokenOffError(choice["finish_reason"])
    text = message.get("content") or ""
    # The field was renamed from reasoning_content to reasoning; servers send either.
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    if isinstance(text, list):
        text, thoughts, refusal = _parts(text)
        reasoning = reasoning or thoughts
        message = {"refusal": refusal, **message}
    if not isinstance(text, str):
        raise TypeError("the content is not text")
    if refusal := message.get("refusal"):
        text, finish_reason = refusal, "refusal"
    completion: Completion[Any] = Completion(
        text=text, reasoning_content=reasoning, finish_reason=finish_reason
    )
    if not text:
        completion.tool_arguments = _tool_arguments(message)
    return completion


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
            found[kind].append(_parts(value)[0] if isinstance(value, list) else value)
    text, thoughts, refusal = map("".join, found.values())
    return text, thoughts or None, refusal or None


def _tool_arguments(message: dict[str, Any]) -> str | None:
    """The arguments of the message's tool calls (OpenAI API reference, "tool_calls")."""
    calls = [call.get("function") for call in message.get("tool_calls") or ()]
    calls.append(message.get("function_call"))  # the older field
    texts = [call["arguments"] for call in calls if call and call.get("arguments")]
    return "\n".join(text for text in texts if isinstance(text, str)) or None


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
        return _usage(usage, is_plain) if "prompt_tokens" in usage else _other_usage(usage)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


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
    if missing > 0 and (missing == reasoning or not written_details):
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

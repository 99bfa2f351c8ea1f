"""Reading the body of a chat completion, in the variants that servers send."""

from __future__ import annotations

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

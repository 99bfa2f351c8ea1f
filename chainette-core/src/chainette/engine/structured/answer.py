"""Parsing of a model's answer into the output type."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from chainette.engine.structured.schema import OutputSchema
from chainette.errors import (
    OutputError,
    OutputTruncatedError,
    RefusalError,
    StructuredOutputError,
)
from chainette.types import Completion
from chainette.validation import summary


def parse_answer(
    completions: list[Completion],
    output: OutputSchema,
    *,
    strict: bool,
    max_tokens: int | None,
    scrub: Callable[[str], str],
) -> OutputError | None:
    """Set `parsed` of every completion.

    Args:
        completions: The completions, not yet parsed.
        output: The output type.
        strict: Whether the texts answer the strict schema.
        max_tokens: The limit that was asked for.
        scrub: Removes the engine's secrets from a text.

    Returns:
        The reason why a completion cannot be used, or `None`.
    """
    for completion in completions:
        text = completion.text
        if completion.finish_reason == "length":
            limit = max_tokens or "the server's limit"
            message = f"output cut at max_tokens={limit}: raise max_tokens"
            return OutputTruncatedError(message, raw_text=text)
        if completion.finish_reason in ("refusal", "content_filter"):
            message = f"no answer ({completion.finish_reason}): {scrub(text)[:200]}"
            return RefusalError(message, raw_text=text)
        try:
            completion.parsed = output.parse(text, strict=strict)
        except ValidationError as error:
            message = f"the answer is not a valid {output.name}: {summary(error)}"
            return StructuredOutputError(message, raw_text=text)
        except Exception as error:  # of a validator in the user's model
            what = f"{type(error).__name__}: {error}"
            message = f"a validator of {output.name} failed: {what}"
            return StructuredOutputError(message, raw_text=text)
    return None

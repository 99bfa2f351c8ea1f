"""Parsing of a model's answer into the output type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    """Set `parsed` of every completion, from a value of the backend's that fits or from the text.

    Args:
        completions: The completions.
        output: The output type.
        strict: Whether the texts follow the strict schema.
        max_tokens: The limit of the request.
        scrub: Removes the engine's secrets from a text.

    Returns:
        The reason why a completion cannot be used, or `None`.
    """
    for completion in completions:
        text, value, completion.parsed = completion.text, completion.parsed, None
        if completion.finish_reason == "length":
            limit = max_tokens or "the server's limit"
            message = f"output cut at max_tokens={limit}: raise max_tokens"
            return OutputTruncatedError(message, raw_text=text)
        if completion.finish_reason in ("refusal", "content_filter"):
            message = f"no answer ({completion.finish_reason}): {scrub(text)[:200]}"
            return RefusalError(message, raw_text=text)
        try:
            value = None if value is None else _accepted(value, output)
            completion.parsed = output.parse(text, strict=strict) if value is None else value
        except ValidationError as error:
            message = f"the answer is not a valid {output.name}: {summary(error)}"
            return StructuredOutputError(message, raw_text=text)
        except Exception as error:  # of a validator in the user's model
            message = f"a validator of {output.name} failed: {type(error).__name__}: {error}"
            return StructuredOutputError(message, raw_text=text)
    return None


def _accepted(value: Any, output: OutputSchema) -> Any:
    """The value as an instance of the output type, or `None` where the type does not accept it."""
    try:
        return output.adapter.validate_python(value)
    except ValidationError:
        return None

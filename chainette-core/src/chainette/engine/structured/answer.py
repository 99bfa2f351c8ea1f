"""Parsing of a model's answer into the output type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from chainette.engine.structured.schema import AmbiguousAnswerError, OutputSchema
from chainette.errors import (
    OutputError,
    OutputTruncatedError,
    RefusalError,
    StructuredOutputError,
)
from chainette.types import Completion
from chainette.validation import is_valid_already, summary


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
        completion.json_text = None
        if completion.finish_reason == "length":
            limit = max_tokens or "the server's limit"
            message = f"output cut at max_tokens={limit}: raise max_tokens"
            return OutputTruncatedError(message, raw_text=text)
        if completion.finish_reason in ("refusal", "content_filter"):
            message = f"no answer ({completion.finish_reason}): {scrub(text)[:200]}"
            return RefusalError(message, raw_text=text)
        value = None if value is None else _accepted(value, output)
        if value is not None:
            completion.parsed = value
        elif problem := _parse(completion, output, strict=strict):
            return StructuredOutputError(problem, raw_text=completion.text)
    return None


def _parse(completion: Completion, output: OutputSchema, *, strict: bool) -> str:
    """Set `parsed` from the text, or from where the answer is if there is none.

    Some servers leave the content empty and put the answer into the arguments of a tool call, or,
    with a parser of reasoning that does not fit the model, into its reasoning (vLLM docs,
    "Reasoning Outputs").

    Returns:
        The problem, or an empty text.
    """
    problem = _problem(completion, completion.text, output, strict=strict)
    if not problem or completion.text.strip():
        return problem
    places = {
        "the arguments of a tool call": completion.tool_arguments,
        "the model's reasoning": completion.reasoning_content,
    }
    for place, text in places.items():
        if text and text.strip():
            elsewhere = _problem(completion, text, output, strict=strict)
            if not elsewhere:
                completion.text = text
                return ""
            problem = f"{problem}; the text is empty, and in {place}, {elsewhere}"
    return problem


def _problem(completion: Completion, text: str, output: OutputSchema, *, strict: bool) -> str:
    """Set `parsed` from a text; return the problem, or an empty text."""
    try:
        completion.parsed, completion.json_text = output.parse(text, strict=strict)
    except ValidationError as error:
        return f"the answer is not a valid {output.name}: {summary(error)}"
    except AmbiguousAnswerError as error:
        return f"the answer is ambiguous: {error}; it must have one"
    except Exception as error:  # of a validator in the user's model
        return f"a validator of {output.name} failed: {type(error).__name__}: {error}"
    return ""


def _accepted(value: Any, output: OutputSchema) -> Any:
    """The value as an instance of the output type, or `None` where the type does not accept it."""
    if is_valid_already(value, output.type):
        return value
    try:
        return output.adapter.validate_python(value)
    except Exception:  # also of a validator in the user's model; the text then has it, too
        return None

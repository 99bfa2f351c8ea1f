"""Parsing of a model's answer into the output type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from chainette.engine.structured.schema import AmbiguousAnswerError, OutputSchema, output_schema
from chainette.engine.structured.text import TextOutput, is_text
from chainette.errors import (
    OutputError,
    OutputTruncatedError,
    RefusalError,
    StructuredOutputError,
    ValidatorError,
)
from chainette.types import Completion
from chainette.validation import is_valid_already, summary, validator_error

MOST = 10
"""Problems of an answer that are named to the model, and in the row's error."""


@lru_cache(maxsize=256)
def answer_form(output_type: Any) -> OutputSchema | TextOutput:
    """How answers of a type are read, one for all engines.

    Args:
        output_type: The type, or a `TextOutput` as it is.
    """
    if isinstance(output_type, TextOutput):
        return output_type
    return TextOutput(output_type) if is_text(output_type) else output_schema(output_type)


_OF_VALIDATORS = {"value_error", "assertion_error"}
"""Types of Pydantic's errors that validators raise (https://docs.pydantic.dev/latest/errors/)."""


def parse_answer(
    completions: list[Completion],
    output: OutputSchema | TextOutput,
    *,
    strict: bool,
    max_tokens: int | None,
    scrub: Callable[[str], str],
    context: Mapping[str, Any] | None = None,
) -> OutputError | None:
    """Set `parsed` of every completion, from a value of the backend's that fits or from the text.

    Args:
        completions: The completions.
        output: The output type.
        strict: Whether the texts follow the strict schema.
        max_tokens: The limit of the request.
        scrub: Removes the engine's secrets from a text.
        context: What validators see as `info.context`.

    Returns:
        The reason why a completion cannot be used, or `None`; it is also the completion's `error`.
    """
    first: OutputError | None = None
    for completion in completions:
        value, completion.parsed, completion.json_text = completion.parsed, None, None
        error = _unusable(completion, output, max_tokens, scrub)
        if error is None:
            error = _read(completion, value, output, strict, scrub, context)
        completion.error = error
        first = first or error
    return first


def _read(
    completion: Completion,
    value: Any,
    output: OutputSchema | TextOutput,
    strict: bool,
    scrub: Callable[[str], str],
    context: Mapping[str, Any] | None,
) -> OutputError | None:
    """Set `parsed` of a completion, or return the reason why it is not valid."""
    has_form = False
    try:
        if isinstance(output, TextOutput):
            problem = output.read(completion, MOST, context)
        else:
            answer = _Answer(completion, output, strict, context)
            problem, has_form = answer.read(value), answer.has_form
    except ValidatorError as error:
        error.raw_text = completion.text
        return error
    if not problem:
        return None
    problem += _without_answer(completion)
    invalid = StructuredOutputError(problem, raw_text=completion.text)
    invalid.problem = scrub(problem.replace(f"not a valid {output.name}:", "not valid:"))
    invalid.has_form = has_form
    return invalid


def _unusable(
    completion: Completion,
    output: OutputSchema | TextOutput,
    max_tokens: int | None,
    scrub: Callable[[str], str],
) -> OutputError | None:
    """The reason why a completion has no whole answer, or `None`."""
    text = completion.text
    if completion.finish_reason == "length":
        place, hint = "", ""
        if max_tokens is not None and completion.cut_by is None:
            more = f'{{"max_tokens": [{max_tokens}, {2 * max_tokens}]}}'
            hint = f", or let the step ask again with more: sampling={more}"
        if isinstance(output, TextOutput):
            if output.keeps(text):
                return None
            place = " before the answer began" if output.accept_truncated else ""
            hint += "" if place else ", or keep the text with accept_truncated=True in the step"
        if completion.cut_by is not None:
            message = f"output cut{place} by {completion.cut_by}{hint}"
        elif max_tokens is None:
            message = f"output cut at the server's own limit{place}: set max_tokens{hint}"
        else:
            message = f"output cut at max_tokens={max_tokens}{place}: raise max_tokens{hint}"
        message += _without_answer(completion)
        return OutputTruncatedError(message, raw_text=text)
    if completion.finish_reason in ("refusal", "content_filter"):
        message = f"no answer ({completion.finish_reason}): {scrub(text)[:200]}"
        return RefusalError(message, raw_text=text)
    return None


def _without_answer(completion: Completion) -> str:
    """The end of a message where the model has only thought."""
    is_thought = completion.reasoning_content and not completion.text.strip()
    return "; all tokens went into the model's thinking, none into the answer" if is_thought else ""


@dataclass(slots=True)
class _Answer:
    """A completion that is read.

    Attributes:
        completion: The completion; its `parsed` is set.
        output: The output type.
        strict: Whether the text follows the strict schema.
        context: What validators see as `info.context`.
        has_form: Whether the text has the form of the schema, and only validators refuse it.
    """

    completion: Completion
    output: OutputSchema
    strict: bool
    context: Mapping[str, Any] | None
    has_form: bool = False

    def read(self, value: Any) -> str:
        """Set `parsed`, from a value of the backend's that fits or from the text.

        Returns:
            The problem, or an empty text.
        """
        return "" if value is not None and self.accept(value) else self.parse()

    def accept(self, value: Any) -> bool:
        """Whether the output type accepts a value that the backend has parsed.

        Raises:
            ValidatorError: A validator failed for a reason of its own, and there is no text.
        """
        output = self.output
        if not is_valid_already(value, output.type):
            try:
                value = output.adapter.validate_python(value, context=self.context)
            except ValidationError:
                return False
            except Exception as error:
                if self.completion.text.strip():  # it has the value, too
                    return False
                raise validator_error(output.name, error) from error
        self.completion.parsed = value
        return value is not None

    def parse(self) -> str:
        """Set `parsed` from the text, or from where the answer is if there is none.

        Some servers leave the content empty and put the answer into the arguments of a tool call,
        or, with a parser of reasoning that does not fit the model, into its reasoning (vLLM docs,
        "Reasoning Outputs").

        Returns:
            The problem, or an empty text.

        Raises:
            ValidatorError: A validator failed for a reason of its own.
        """
        completion = self.completion
        problem = self._problem(completion.text)
        if not problem or completion.text.strip():
            return problem
        places = {
            "the arguments of a tool call": completion.tool_arguments,
            "the model's reasoning": completion.reasoning_content,
        }
        for place, text in places.items():
            if text and text.strip():
                elsewhere = self._problem(text)
                if not elsewhere:
                    completion.text = text
                    return ""
                problem = f"{problem}; the text is empty, and in {place}, {elsewhere}"
        return problem

    def _problem(self, text: str) -> str:
        """Set `parsed` from a text; return the problem, or an empty text."""
        try:
            answer = self.output.parse(text, strict=self.strict, context=self.context)
        except ValidationError as error:
            kinds = {it["type"] for it in error.errors(include_url=False, include_input=False)}
            self.has_form = kinds <= _OF_VALIDATORS
            return f"the answer is not a valid {self.output.name}: {summary(error, MOST)}"
        except AmbiguousAnswerError as error:
            return f"the answer is ambiguous: {error}; it must have one"
        self.completion.parsed, self.completion.json_text = answer
        return ""

"""The schema of an output type, and the parsing of texts into its instances."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from chainette.engine.structured.extract import embedded, outermost
from chainette.engine.structured.mend import mended, unwrapped
from chainette.engine.structured.strict import StrictSchema, to_strict
from chainette.json_bytes import without_lone_surrogates


class AmbiguousAnswerError(ValueError):
    """A text holds several different values that fit the type."""


class Answer(NamedTuple):
    """A value that a model answered with.

    Attributes:
        value: An instance of the output type.
        text: The JSON that it was validated from; validating it again gives the same value, as far
            as the type's own validators do.
    """

    value: Any
    text: str


class OutputSchema:
    """An output type, with its schema.

    Args:
        output_type: A Pydantic model, or any other type that Pydantic validates.

    Attributes:
        type: The type.
        adapter: Pydantic's adapter of the type.
        name: The type's name, in the characters that every server allows: letters, digits, `_` and
            `-`, at most 64 of them (OpenAI API reference, `response_format`).
        schema: Its JSON schema.
    """

    def __init__(self, output_type: Any) -> None:
        self.type: Any = output_type
        self.adapter: TypeAdapter[Any] = TypeAdapter(output_type)
        title = getattr(output_type, "__name__", None) or "Answer"
        self.name: str = re.sub(r"[^A-Za-z0-9_-]+", "_", title).strip("_")[:64] or "Answer"
        self.schema: dict[str, Any] = self.adapter.json_schema()

    @cached_property
    def strict(self) -> StrictSchema:
        """The schema in the subset that OpenAI's strict structured output accepts."""
        return to_strict(self.schema)

    @cached_property
    def instruction(self) -> str:
        """The schema in words, for models whose server does not enforce it."""
        schema = json.dumps(self.schema, ensure_ascii=False, separators=(",", ":"))
        return f"Respond ONLY with JSON that is valid against this JSON schema:\n{schema}"

    def parse(self, text: str, *, strict: bool = False) -> Answer:
        """Validate a text, or the JSON inside it.

        Args:
            text: The model's text.
            strict: Whether the text follows the strict schema.

        Raises:
            pydantic.ValidationError: The text is not JSON, or does not fit.
            AmbiguousAnswerError: It has several values that fit, and they differ.
        """
        try:
            return self._parse(text, strict=strict)
        except ValidationError as error:
            reason = error
        if _is_not_json(reason):
            text = without_lone_surrogates(text)
            whole = mended(outermost(text))
            candidates = list(embedded(text)) if whole is None else [whole]
        else:
            candidates = [text]
        fitting, reason = self._fitting(candidates, reason, strict=strict)
        if not fitting:
            inner = [value for text in candidates for value in unwrapped(text, self.name)]
            fitting, _ = self._fitting(inner, reason, strict=strict)
        if len(fitting) > 1:
            raise AmbiguousAnswerError(f"it has {len(fitting)} different values of {self.name}")
        if not fitting:
            raise reason
        return fitting[0]

    def _fitting(
        self, candidates: list[str], reason: ValidationError, *, strict: bool
    ) -> tuple[list[Answer], ValidationError]:
        """The different values among texts that fit, and the reason why others do not."""
        fitting: list[Answer] = []
        for candidate in candidates:
            try:
                answer = self._parse(candidate, strict=strict)
            except ValidationError as error:
                reason = reason if _is_not_json(error) else error
            else:
                if not any(answer.value == other.value for other in fitting):
                    fitting.append(answer)
        return fitting, reason

    def _parse(self, text: str, *, strict: bool) -> Answer:
        if strict and not self.strict.identity:
            with suppress(ValueError, RecursionError):  # not JSON: the validation reports it
                text = json.dumps(self.strict.restore(json.loads(text)))
        return Answer(self.adapter.validate_json(text), text)


def _is_not_json(error: ValidationError) -> bool:
    return error.errors(include_url=False, include_context=False)[0]["type"] == "json_invalid"


@lru_cache(maxsize=256)
def output_schema(output_type: Any) -> OutputSchema:
    """The `OutputSchema` of a type, one for all engines."""
    return OutputSchema(output_type)

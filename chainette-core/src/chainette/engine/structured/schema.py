"""Typed answers: the schema of an output type, and the way back from text to an instance."""

from __future__ import annotations

import json
import re
from functools import cached_property, lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from chainette.engine.structured.extract import embedded
from chainette.engine.structured.strict import StrictSchema, to_strict


class OutputSchema:
    """An output type with all that is computed from it once.

    Args:
        output_type: A Pydantic model, or any type that Pydantic validates.

    Attributes:
        name: The type's name in the characters that every server allows.
        schema: Its JSON schema.
    """

    def __init__(self, output_type: Any) -> None:
        self.adapter: TypeAdapter[Any] = TypeAdapter(output_type)
        title = getattr(output_type, "__name__", None) or "Answer"
        self.name = re.sub(r"[^A-Za-z0-9_-]+", "_", title).strip("_")[:64] or "Answer"
        self.schema: dict[str, Any] = self.adapter.json_schema()

    @cached_property
    def strict(self) -> StrictSchema:
        """The schema as servers with strict structured output demand it."""
        return to_strict(self.schema)

    @cached_property
    def instruction(self) -> str:
        """What tells a model to answer by the schema, where no server enforces it."""
        schema = json.dumps(self.schema, ensure_ascii=False, separators=(",", ":"))
        return f"Respond ONLY with JSON that is valid against this JSON schema:\n{schema}"

    def parse(self, text: str, *, strict: bool = False) -> Any:
        """Validate a text, or the JSON that stands in it.

        Args:
            text: What the model wrote.
            strict: The text answers the strict schema, not the plain one.

        Returns:
            An instance of the output type.

        Raises:
            pydantic.ValidationError: The text is no JSON, or does not fit.
        """
        try:
            return self._parse(text, strict=strict)
        except ValidationError as error:
            if not _is_no_json(error):
                raise
            found = error
        for candidate in embedded(text):
            try:
                return self._parse(candidate, strict=strict)
            except ValidationError as error:
                found = found if _is_no_json(error) else error
        raise found

    def _parse(self, text: str, *, strict: bool) -> Any:
        if strict and not self.strict.identity:
            try:
                answer = self.strict.restore(json.loads(text))
            except (ValueError, RecursionError):
                pass  # no JSON at all: let the validation below say so
            else:
                return self.adapter.validate_json(json.dumps(answer))
        return self.adapter.validate_json(text)


def _is_no_json(error: ValidationError) -> bool:
    return error.errors(include_url=False, include_context=False)[0]["type"] == "json_invalid"


@lru_cache(maxsize=256)
def output_schema(output_type: Any) -> OutputSchema:
    """The one `OutputSchema` of a type."""
    return OutputSchema(output_type)

"""The schema of an output type, and the parsing of texts into its instances."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from chainette.engine.structured.dialects.grammar import all_required, in_grammar
from chainette.engine.structured.dialects.words import ModelSchema, finite, in_words
from chainette.engine.structured.extract import embedded, outermost
from chainette.engine.structured.mend import mended, unwrapped
from chainette.engine.structured.strict import StrictSchema, to_strict
from chainette.errors import ValidatorError
from chainette.json_bytes import without_lone_surrogates
from chainette.text import names_keywords
from chainette.validation import validator_error


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


@names_keywords
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
        whole: The same type with its whole schema, where this is its `shape`; else itself.
    """

    def __init__(self, output_type: Any) -> None:
        self.type: Any = output_type
        self.adapter: TypeAdapter[Any] = TypeAdapter(output_type)
        title = getattr(output_type, "__name__", None) or "Answer"
        self.name: str = re.sub(r"[^A-Za-z0-9_-]+", "_", title).strip("_")[:64] or "Answer"
        self._take(finite(self.adapter.json_schema(schema_generator=ModelSchema)))
        self.whole: OutputSchema = self

    def _take(self, source: dict[str, Any]) -> None:
        self._source = source
        self.schema: dict[str, Any] = in_words(source)
        self._dialects: dict[str, dict[str, Any]] = {}

    def in_dialect(self, dialect: str) -> dict[str, Any]:
        """The schema as a decoder takes it; see `Capabilities.dialect`.

        Made once for each output type and dialect.
        """
        if dialect == "openai_strict":
            return self.strict.schema
        if dialect not in self._dialects:
            self._dialects[dialect] = in_grammar(self._source, dialect)
        return self._dialects[dialect]

    @cached_property
    def shape(self) -> OutputSchema:
        """The same type with a simpler schema, for servers that refuse the whole one.

        It has the shape alone; all rules are said in words.
        """
        made = copy(self)
        made.__dict__.pop("strict", None)
        made.__dict__["shape"] = made
        made._take(in_grammar(self._source, "shape"))
        return made

    def has_simpler(self, dialect: str) -> bool:
        """Whether `shape` differs from the schema in a dialect."""
        return bool(self.shape.in_dialect(dialect) != self.in_dialect(dialect))

    @cached_property
    def strict(self) -> StrictSchema:
        """The schema in the subset that OpenAI's strict structured output accepts."""
        return to_strict(self.schema)

    @cached_property
    def _fields(self) -> frozenset[str]:
        """Names of the fields of all objects in the type."""
        objects = (self.schema, *self.schema.get("$defs", {}).values())
        return frozenset(name for each in objects for name in each.get("properties", ()))

    @cached_property
    def instruction(self) -> str:
        """The schema in words, for models whose server does not enforce it."""
        schema = json.dumps(all_required(self.schema), ensure_ascii=False, separators=(",", ":"))
        return f"Respond ONLY with JSON that is valid against this JSON schema:\n{schema}"

    def parse(
        self, text: str, *, strict: bool = False, context: Mapping[str, Any] | None = None
    ) -> Answer:
        """Validate a text, or the JSON inside it.

        Args:
            text: The model's text.
            strict: Whether the text follows the strict schema.
            context: What validators see as `info.context`.

        Raises:
            pydantic.ValidationError: The text is not JSON, or does not fit.
            AmbiguousAnswerError: It has several values that fit, and they differ.
            ValidatorError: A validator failed for a reason of its own.
        """
        validate = _Validation(self, strict, context)
        try:
            return validate(text)
        except (ValidationError, ValidatorError) as error:
            reason = error
        if _is_not_json(reason):
            text = without_lone_surrogates(text)
            whole = mended(outermost(text))
            candidates = list(embedded(text)) if whole is None else [whole]
        else:
            candidates = [text]
        fitting, reason = validate.fitting(candidates, reason)
        if not fitting:
            inner = [
                value for text in candidates for value in unwrapped(text, self.name, self._fields)
            ]
            fitting, _ = validate.fitting(inner, reason)
        if len(fitting) > 1:
            raise AmbiguousAnswerError(f"it has {len(fitting)} different values of {self.name}")
        if not fitting:
            raise reason
        return fitting[0]


class _Validation(NamedTuple):
    """The validation of the texts that may be an answer.

    Attributes:
        output: The output type.
        strict: Whether the texts follow the strict schema.
        context: What validators see as `info.context`.
    """

    output: OutputSchema
    strict: bool
    context: Mapping[str, Any] | None

    def __call__(self, text: str) -> Answer:
        """The answer in a text, which is JSON."""
        original, output = text, self.output
        if self.strict and not output.strict.identity:
            with suppress(ValueError, RecursionError):  # not JSON: the validation reports it
                text = json.dumps(output.strict.restore(json.loads(text)))
        try:
            value = output.adapter.validate_json(text, context=self.context)
        except ValidationError:
            raise
        except Exception as error:
            raise validator_error(output.name, error) from error
        _check_names(original)
        return Answer(value, text)

    def fitting(
        self, candidates: list[str], reason: ValidationError | ValidatorError
    ) -> tuple[list[Answer], ValidationError | ValidatorError]:
        """The different values among texts that fit, and the reason why others do not."""
        fitting: list[Answer] = []
        for candidate in candidates:
            try:
                answer = self(candidate)
            except (ValidationError, ValidatorError) as error:
                reason = reason if _is_not_json(error) else error
            else:
                if not any(_is_same(answer.value, other.value) for other in fitting):
                    fitting.append(answer)
        return fitting, reason


def _is_same(value: Any, other: Any) -> bool:
    try:
        return bool(value == other)
    except Exception:  # of the user's class
        return False


def _check_names(text: str) -> None:
    """Refuse an object that has two different values under one name, of which parsers keep one.

    Args:
        text: Valid JSON.

    Raises:
        AmbiguousAnswerError: There is such an object (RFC 8259, 4: "unpredictable").
    """
    # Quick, and right where no name can hide; the parser is asked about the others.
    names = [part.rpartition('"')[2] for part in text.split('":')[:-1]]
    is_spaced = " :" in text or "\n:" in text or "\t:" in text or "\r:" in text
    if len(set(names)) < len(names) or is_spaced or "\\" in "".join(names):
        json.loads(text, object_pairs_hook=_one_value_each)


def _one_value_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise AmbiguousAnswerError(f"it has two different values of {name[:80]!r}")
        found[name] = value
    return found


def _is_not_json(error: ValidationError | ValidatorError) -> bool:
    if isinstance(error, ValidatorError):
        return False
    return error.errors(include_url=False, include_context=False)[0]["type"] == "json_invalid"


@lru_cache(maxsize=256)
def output_schema(output_type: Any) -> OutputSchema:
    """The `OutputSchema` of a type, one for all engines."""
    return OutputSchema(output_type)

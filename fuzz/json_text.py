"""Feeds texts to the search for JSON in answers; see `make fuzz`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["chainette"]):
    from chainette.engine.structured.extract import embedded
    from chainette.engine.structured.schema import output_schema

from pydantic import BaseModel, ValidationError


class Answer(BaseModel):
    """The type of the answers."""

    name: str
    tags: list[str]
    more: dict[str, Answer] = {}


SCHEMA = output_schema(Answer)


def check(data: bytes) -> None:
    """Check that any text is an answer or a validation error."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(sys.maxsize)
    for value in embedded(text):
        assert isinstance(value, str)
    for strict in (False, True):
        try:
            parsed = SCHEMA.parse(text, strict=strict)
        except ValidationError:
            continue
        assert isinstance(parsed, Answer)


atheris.Setup(sys.argv, check)
atheris.Fuzz()

"""JSON as bytes, by the encoder and the parser that Pydantic brings."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json


def encode(value: Any) -> bytes:
    """JSON values as UTF-8 without spaces.

    Raises:
        ValueError: A text holds half a surrogate pair, which UTF-8 has no bytes for.
    """
    return to_json(value)


def decode(content: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: It is none, or is nested too deeply.
    """
    return from_json(content, cache_strings="keys")

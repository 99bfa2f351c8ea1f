"""JSON as bytes, with Pydantic's encoder and parser."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json


def encode(value: Any) -> bytes:
    """Encode a JSON value as UTF-8 without spaces.

    Raises:
        ValueError: A text holds half a surrogate pair, which UTF-8 cannot encode.
    """
    return to_json(value)


def decode(content: bytes | str) -> Any:
    """Decode a JSON text.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply.
    """
    return from_json(content, cache_strings="keys")

"""JSON as bytes, with Pydantic's encoder and parser."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json, to_json

from chainette.errors import RequestError


def encode(value: Any) -> bytes:
    """Encode a JSON value as UTF-8 without spaces.

    Raises:
        ValueError: A text holds half a surrogate pair, which UTF-8 cannot encode.
    """
    return to_json(value)


def encode_prompt(value: Any) -> bytes:
    """Encode a conversation, the part of a request that a row decides on.

    Raises:
        RequestError: A text holds half a surrogate pair.
    """
    try:
        return to_json(value)
    except ValueError as error:
        message = "the prompt holds half of a character (a lone surrogate), which JSON in UTF-8"
        raise RequestError(f"{message} cannot carry: clean the row's text ({error})") from None


def decode(content: bytes | str) -> Any:
    """Decode a JSON text.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply.
    """
    return from_json(content, cache_strings="keys")


_ESCAPES = re.compile(
    r"\\\\"  # an escaped backslash, whatever follows it
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def without_lone_surrogates(text: str) -> str:
    """A JSON text in which each half of a surrogate pair is the replacement character.

    Python's own encoder writes such escapes, and so do servers that cut texts between tokens; a
    strict parser refuses the whole text (RFC 8259, 8.2).
    """
    return _ESCAPES.sub(lambda found: "\\ufffd" if found["half"] else found[0], text)

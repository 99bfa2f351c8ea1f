"""JSON with the usual mistakes of models, read in the one way that it can be meant."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*")|(?P<single>'(?:[^'\\]|\\.)*')|(?P<curly>“[^”]*”)"""
    r"|(?P<space>\s+|//[^\n]*|/\*.*?\*/)"
    r"|(?P<mark>[{}\[\],:])|(?P<word>[-+.\w]+)",
    re.DOTALL,
)
_PYTHON = {"True": "true", "False": "false", "None": "null"}
_BARE_NAME = re.compile(r"[A-Za-z_]\w*")
_CONTROL = re.compile(r"[\x00-\x1f]")
_OTHERS = frozenset(
    (
        *("error", "errors", "example", "examples", "draft", "drafts", "input", "inputs"),
        *("question", "schema", "$defs", "definitions", "previous", "wrong"),
        *("thoughts", "thinking", "reasoning"),
    )
)
"""Names of an object around a value that is not the answer."""
_SCHEMA_WORDS = {"type", "title", "description", "required", "additionalProperties", "$schema"}


def mended(text: str) -> str | None:
    """The one JSON value that a text is, with its mistakes corrected.

    Corrected are commas before a closing bracket, comments, other quotes, names without quotes,
    Python's `True`, `False` and `None`, and line breaks in texts. Nothing is completed or guessed.

    Args:
        text: The text, from its first bracket to its last one.

    Returns:
        The value as JSON, or `None` where the text is something else.
    """
    tokens = _tokens(text)
    if tokens is None:
        return None
    parts: list[str] = []
    for place, token in enumerate(tokens):
        if token in ("}", "]") and parts and parts[-1] == ",":
            parts.pop()
        is_name = tokens[place + 1 : place + 2] == [":"] and _BARE_NAME.fullmatch(token)
        parts.append(f'"{token}"' if is_name else _PYTHON.get(token, token))
    result = "".join(parts)
    try:
        json.loads(result)
    except (ValueError, RecursionError):
        return None
    return result


def _tokens(text: str) -> list[str] | None:
    """The tokens of a text, its strings as JSON; `None` where a part of it is not a token."""
    tokens: list[str] = []
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            return None
        place, kind, token = found.end(), found.lastgroup, found[0]
        if kind in ("single", "curly"):
            inner = token[1:-1].replace("\\'", "'")
            token = '"' + re.sub(r'\\.|"', _with_escape, inner, flags=re.DOTALL) + '"'
        if kind in ("text", "single", "curly"):
            token = _CONTROL.sub(lambda control: json.dumps(control[0])[1:-1], token)
        if kind != "space":
            tokens.append(token)
    return tokens


def _with_escape(found: re.Match[str]) -> str:
    return '\\"' if found[0] == '"' else found[0]


def unwrapped(text: str, name: str, fields: Collection[str]) -> Iterator[str]:
    """The values inside a JSON value that has one too many layers around the answer.

    A layer is an object with one property that is neither a field of the type nor called like
    something else than an answer, a call of a function of the type's name, the type's schema with
    values in it, a list of one, or a text with JSON in it.

    Args:
        text: The JSON value.
        name: The type's name.
        fields: Names of the fields in the type.
    """
    try:
        value = json.loads(text)
        for _ in range(3):
            value = _inner(value, name, fields)
            if value is None:
                return
            yield json.dumps(value)
    except (ValueError, RecursionError):
        return


def _inner(value: Any, name: str, fields: Collection[str]) -> Any:
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    if isinstance(value, dict) and value.keys() & {"name", "properties"}:
        return _called(value, name) or _filled(value)
    if isinstance(value, dict) and len(value) == 1:
        key, inner = next(iter(value.items()))
        is_other = key in fields or key.lower() in _OTHERS
        return None if is_other and key.lower() != name.lower() else inner
    return json.loads(value) if isinstance(value, str) and value[:1] in ("{", "[", '"') else None


def _called(value: dict[str, Any], name: str) -> Any:
    """The arguments of a call of a function, as models with tools write it in their text."""
    for key in ("arguments", "parameters"):
        if key in value and value.keys() <= {"name", key, "type", "id"}:
            return value[key] if value["name"] == name else None
    return None


def _filled(value: dict[str, Any]) -> Any:
    """The values in a schema that a model has filled in; `None` where it has only repeated it."""
    inner = value.get("properties")
    if not isinstance(inner, dict) or value.keys() - _SCHEMA_WORDS - {"properties"}:
        return None
    is_repeated = any(isinstance(each, dict) and "type" in each for each in inner.values())
    return None if is_repeated else inner

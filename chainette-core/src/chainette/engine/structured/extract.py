"""JSON values inside texts of models that write something around them."""

from __future__ import annotations

import json
from collections.abc import Iterator

MAX_ATTEMPTS = 64
"""Brackets that are tried; a text with more of them before its JSON is not an answer."""
_DECODER = json.JSONDecoder()


def embedded(text: str) -> Iterator[str]:
    """The JSON values in a text, the likeliest first.

    The text after a model's thoughts comes before the whole text, and fenced blocks come before
    prose.

    Args:
        text: The model's text.
    """
    answer = text.rpartition("</think>")[2]
    for part in answer.split("```")[1::2]:
        word, line_break, rest = part.partition("\n")
        yield (rest if line_break and not word.strip().startswith(("{", "[")) else part).strip()
    yield answer.strip()
    yield from _values(answer)
    if len(answer) < len(text):  # the mark may be part of the JSON
        yield from _values(text)


def _values(text: str) -> Iterator[str]:
    place = 0
    for _ in range(MAX_ATTEMPTS):
        starts = [start for start in (text.find("{", place), text.find("[", place)) if start >= 0]
        if not starts:
            return
        start = min(starts)
        try:
            _, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            place = start + 1
        else:
            yield text[start:end]
            place = end

"""JSON in the texts of models that cannot help saying something around it."""

from __future__ import annotations

import json
from collections.abc import Iterator

MOST_ATTEMPTS = 64
"""Brackets that are tried; a text with more before its JSON is no answer."""
_DECODER = json.JSONDecoder()


def embedded(text: str) -> Iterator[str]:
    """The JSON values in a text, the likeliest ones first.

    What comes after a model's thoughts counts before the whole, a fenced block before what stands
    in prose.

    Args:
        text: What the model wrote.
    """
    answer = text.rpartition("</think>")[2]
    for part in answer.split("```")[1::2]:
        word, line_break, rest = part.partition("\n")
        yield (rest if line_break and not word.strip().startswith(("{", "[")) else part).strip()
    yield answer.strip()
    yield from _values(answer)
    if len(answer) < len(text):  # what looked like the end of thoughts may stand in the JSON
        yield from _values(text)


def _values(text: str) -> Iterator[str]:
    place = 0
    for _ in range(MOST_ATTEMPTS):
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

"""JSON values inside texts of models that write something around them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

MAX_ATTEMPTS = 64
"""Brackets that are tried; a text with more of them before its JSON is not an answer."""
_DECODER = json.JSONDecoder()
_END_OF_THOUGHTS = re.compile(
    # DeepSeek-R1, Qwen3 and others; Seed-OSS has "seed:think", MiniMax "mm:think".
    r"</(?:\w+:)?think(?:ing)?(?::\w+)?>|</reasoning>|</thoughts?>"
    r"|\[/THINK\]"  # Mistral docs, "Reasoning"
    r"|◁/think▷"  # Kimi
    r"|<\|END_THINKING\|>"  # Cohere docs, "Reasoning"
    r"|<\|end_of_thought\|>"  # OpenThinker
    r"|<channel\|>"  # Gemma 4
    r"|<\|channel\|>final<\|message\|>"  # OpenAI docs, "Harmony response format"
)


_START_OF_THOUGHTS = re.compile(
    r"\s*(?:<(?:\w+:)?think(?:ing)?(?::\w+)?>|<reasoning>|<thoughts?>"
    r"|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>"
    r"|<\|channel>thought|<\|channel\|>analysis<\|message\|>)"
)
"""The marks at the start of a text whose ends are above, from the same sources."""
_MARKS = re.compile(f"{_START_OF_THOUGHTS.pattern}|{_END_OF_THOUGHTS.pattern}")


def embedded(text: str) -> Iterator[str]:
    """The JSON values in a text: fenced blocks, the whole text, and what is inside prose.

    What follows a model's thoughts counts. The thoughts do not, unless the mark of their end is
    inside a JSON value.

    Args:
        text: The model's text.
    """
    answer = after_thoughts(text)
    for part in answer.split("```")[1::2]:
        word, line_break, rest = part.partition("\n")
        yield (rest if line_break and not word.strip().startswith(("{", "[")) else part).strip()
    yield answer.strip()
    yield from _values(answer)
    if len(answer) < len(text):
        yield from (value for value in _values(text) if _END_OF_THOUGHTS.search(value))


def outermost(text: str) -> str:
    """The part of an answer from its first bracket to its last one; empty where it has none."""
    answer = after_thoughts(text)
    starts = [start for start in map(answer.find, "{[") if start >= 0]
    end = max(map(answer.rfind, "}]"))
    return answer[min(starts) : end + 1] if starts else ""


def after_thoughts(text: str) -> str:
    """The text that follows a model's thoughts."""
    marks = list(_END_OF_THOUGHTS.finditer(text))
    return text[marks[-1].end() :] if marks else text


def split_thoughts(text: str) -> tuple[str, str]:
    """The thoughts in front of a text, and the text.

    Thoughts that have no end are all there is. Where the prompt's template has opened them, a text
    has the mark of their end alone; inside quotes it is a word of the text. A text may speak of
    later marks.
    """
    begin = 0
    while start := _START_OF_THOUGHTS.match(text, begin):
        end = _END_OF_THOUGHTS.search(text, start.end())
        if end is None:
            return text, ""
        begin = end.end()
    if not begin and (end := _END_OF_THOUGHTS.search(text)) is not None:
        before = text[: end.start()]
        is_said = before[-1:] in ("`", '"', "'") or _START_OF_THOUGHTS.search(before) is not None
        begin = 0 if is_said else end.end()
    return _MARKS.sub("", text[:begin]).strip(), text[begin:]


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

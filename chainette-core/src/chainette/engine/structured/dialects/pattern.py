"""Patterns, written so that the decoders of grammars take them and a JSON string can hold them.

A decoder turns a pattern into a grammar. llama.cpp's knows classes, groups, alternatives and
counts; what else is in a pattern is refused, ends its process or is not enforced, depending on the
version, and a class or a dot that has a quote in it breaks out of the JSON string.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

from chainette.engine.structured.dialects.characters import (
    ANY,
    CATEGORIES,
    Ranges,
    UnwritableError,
    common,
    union,
    without,
    written,
)

MOST = 1000
"""Larger counts are left out: llama.cpp refuses some, and Ollama 0.25 ended on others."""
_MOST_EMPTY = 16
"""Counts of what may be empty: each is one more way to read the same text."""
_STARTS, _ENDS = ("AT_BEGINNING", "AT_BEGINNING_STRING"), ("AT_END", "AT_END_STRING")
# Rust's syntax, which Pydantic reads by default, where Python's differs (docs.rs/regex, "Syntax").
_TOKENS = re.compile(
    r"\\x\{(?P<x>[0-9A-Fa-f]+)\}|\\u\{(?P<u>[0-9A-Fa-f]+)\}|\\(?P<z>z)|\(\?<(?P<name>[A-Za-z_]\w*)>"
    r"|(?P<other>\\[<>pPZ]|\\b\{|&&|--|~~|\[:)|\\.|(?P<open>\[)\^?\]?|(?P<close>\])|.",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Repeat:
    """A part that is repeated; `most` is `None` for any number of times."""

    part: _Part
    least: int
    most: int | None


class _Sequence(NamedTuple):
    parts: tuple[_Part, ...]


class _Choice(NamedTuple):
    parts: tuple[_Part, ...]


class _Characters(NamedTuple):
    ranges: Ranges


_Part = _Repeat | _Sequence | _Choice | _Characters
_ANYTHING = _Repeat(_Characters(ANY), 0, None)


class Written(NamedTuple):
    """A pattern as it is sent.

    Attributes:
        pattern: The pattern.
        has_lengths: Whether the lengths that were asked for are in it.
    """

    pattern: str
    has_lengths: bool


@lru_cache(maxsize=1024)
def rewritten(
    pattern: str, *, escapes: bool, least: int = 0, most: int | None = None
) -> Written | None:
    r"""A pattern in the syntax that every decoder takes.

    Texts that match it match the original, too, as far as Python and Rust agree about that; it may
    match fewer, such as Latin letters and those of other large alphabets for `\w`.

    Args:
        pattern: The pattern, in Python's or Rust's syntax; it need not match the whole text.
        escapes: Whether it is compared with the JSON text instead of the value; see `written`.
        least: Minimum characters of the text.
        most: Maximum characters of the text.

    Returns:
        The pattern, or `None` where it cannot be written so.
    """
    try:
        part = _read(pattern)
        sized = _with_lengths(part, least, most)
        return Written(f"^{_text(sized or part, escapes)}$", sized is not None)
    except (re.error, UnwritableError, RecursionError, OverflowError):
        return None


def example(pattern: str) -> str | None:
    """A short text that matches a pattern, or `None` where none can be made up.

    Args:
        pattern: The pattern, in Python's or Rust's syntax; it need not match the whole text.
    """
    try:
        return _example(_read(pattern))
    except (re.error, UnwritableError, RecursionError, OverflowError):
        return None


def _example(part: _Part) -> str:
    if isinstance(part, _Characters):
        usual = next((c for c in "a0A -_" if common(part.ranges, ((ord(c), ord(c)),))), None)
        if usual is None and not part.ranges:
            raise UnwritableError("an empty class")
        return usual or chr(part.ranges[0][0])
    if isinstance(part, _Repeat):
        return _example(part.part) * part.least
    if isinstance(part, _Choice):
        return _example(part.parts[0])
    return "".join(map(_example, part.parts))


def _read(pattern: str) -> _Part:
    tree = _parser().parse(_in_python(pattern))
    if tree.state.flags & ~int(re.UNICODE):
        raise UnwritableError("a flag")
    return _Reader().sequence(list(tree), is_first=True, is_last=True)


def _parser() -> Any:
    return import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")


def _in_python(pattern: str) -> str:
    """A pattern in Python's syntax.

    Raises:
        UnwritableError: The two syntaxes mean different things by it, or Python has no word for it.
    """
    made: list[str] = []
    in_class = False
    for token in _TOKENS.finditer(pattern):
        kind, text = token.lastgroup, token[0]
        if (kind == "other" and (in_class or text[0] == "\\")) or (kind == "open" and in_class):
            raise UnwritableError(text)
        if kind in ("x", "u"):
            text = f"\\U{int(token[kind], 16):08X}"
        elif kind == "z":
            text = r"\Z"
        elif kind == "name" and not in_class:
            text = f"(?P<{token['name']}>"
        in_class = (in_class or kind == "open") and kind != "close"
        made.append(text)
    return "".join(made)


class _Reader:
    """Reads the tree of Python's parser; anchors are gone, and open ends are written out."""

    def sequence(self, items: list[tuple[Any, Any]], *, is_first: bool, is_last: bool) -> _Part:
        """A sequence, which may be the first or the last of the pattern."""
        opens, closes = is_first, is_last
        while items and is_first and self.anchor(items[0]) in _STARTS:
            items, opens = items[1:], False
        while items and is_last and self.anchor(items[-1]) in _ENDS:
            items, closes = items[:-1], False
        parts: list[_Part] = []
        for position, item in enumerate(items):
            at_start, at_end = position == 0 and is_first, position == len(items) - 1 and is_last
            inner = self.choice(item, at_start and opens, at_end and closes)
            if inner is None:
                inner = self.item(item)
                before = [_ANYTHING] if at_start and opens else []
                after = [_ANYTHING] if at_end and closes else []
                parts += [*before, inner, *after]
            else:
                parts.append(inner)
        if not items and (opens or closes):
            parts = [_ANYTHING]
        return parts[0] if len(parts) == 1 else _Sequence(tuple(parts))

    def anchor(self, item: tuple[Any, Any]) -> str:
        return str(item[1]) if str(item[0]) == "AT" else ""

    def choice(self, item: tuple[Any, Any], opens: bool, closes: bool) -> _Part | None:
        """Alternatives or a group, whose members may have anchors; `None` for other items."""
        name, value = str(item[0]), item[1]
        if name == "SUBPATTERN":
            _, added, removed, inner = value
            if added or removed:
                raise UnwritableError("a flag")
            return self.sequence(list(inner), is_first=opens, is_last=closes)
        if name == "BRANCH":
            members = [self.sequence(list(it), is_first=opens, is_last=closes) for it in value[1]]
            return _Choice(tuple(members))
        return None

    def item(self, item: tuple[Any, Any]) -> _Part:
        """Any other item."""
        name, value = str(item[0]), item[1]
        if name in ("MAX_REPEAT", "MIN_REPEAT"):  # which of them only decides between matches
            least, most, inner = value
            part = self.sequence(list(inner), is_first=False, is_last=False)
            limit = None if str(most) == "MAXREPEAT" else int(most)
            return _repeated(part, int(least), limit)
        return _Characters(_characters(name, value))


def _characters(name: str, value: Any) -> Ranges:
    if name == "ANY":
        return without(((0xA, 0xA),))
    if name == "NOT_LITERAL":
        return without(((value, value),))
    if name != "IN":
        return _member(name, value)[0]
    members = [(str(kind), it) for kind, it in value]
    if members[0][0] != "NEGATE":
        return union(_member(*member)[0] for member in members)
    found = ANY
    for member in members[1:]:
        found = common(found, _member(*member)[1])
    return found


def _member(name: str, value: Any) -> tuple[Ranges, Ranges]:
    """A member of a class: the characters that are surely in it, and those that surely are not."""
    if name == "CATEGORY" and str(value) in CATEGORIES:
        return CATEGORIES[str(value)]
    if name not in ("LITERAL", "RANGE"):
        raise UnwritableError(name)
    ranges: Ranges = ((value, value),) if name == "LITERAL" else (tuple(value),)
    return ranges, without(ranges)


def _repeated(part: _Part, least: int, most: int | None) -> _Part:
    """A part that is repeated; of an unlimited one, the part itself is never empty."""
    if most == 0:
        return _Sequence(())
    if not _may_be_empty(part):
        return _Repeat(part, least, most)
    if most is None:
        choices = tuple(_filled(part))
        return _Repeat(_Choice(choices), 0, None) if choices else part
    if most > _MOST_EMPTY:
        raise UnwritableError("a count of what may be empty")
    return _Repeat(part, least, most)


def _may_be_empty(part: _Part) -> bool:
    if isinstance(part, _Repeat):
        return part.least == 0 or _may_be_empty(part.part)
    if isinstance(part, _Sequence):
        return all(map(_may_be_empty, part.parts))
    return isinstance(part, _Choice) and any(map(_may_be_empty, part.parts))


def _filled(part: _Part) -> list[_Part]:
    """Parts that are never empty and, repeated in any order, make the same texts as this one."""
    if not _may_be_empty(part):
        return [part]
    if isinstance(part, _Repeat):
        return _filled(part.part)
    assert isinstance(part, _Sequence | _Choice)
    return [each for inner in part.parts for each in _filled(inner)]


def _with_lengths(part: _Part, least: int, most: int | None) -> _Part | None:
    """A part with limits of its length, or `None` where they do not go into it."""
    if least == 0 and most is None:
        return part
    inner = part.part if isinstance(part, _Repeat) else None
    if not isinstance(part, _Repeat) or not isinstance(inner, _Characters):
        return None
    least = max(least, part.least)
    limits = [limit for limit in (most, part.most) if limit is not None]
    if limits and least > min(limits):
        raise UnwritableError("no length fits")
    return _Repeat(inner, least, min(limits, default=None))


def _text(part: _Part, escapes: bool, times: int = 1) -> str:
    """A part as a pattern; `times` is how often counts repeat it."""
    if isinstance(part, _Characters):
        return written(part.ranges, escapes=escapes)
    if isinstance(part, _Choice):
        return f"({'|'.join(_text(each, escapes, times) for each in part.parts)})"
    if isinstance(part, _Sequence):
        return "".join(
            f"({_text(each, escapes, times)})"
            if isinstance(each, _Sequence)
            else _text(each, escapes, times)
            for each in part.parts
        )
    times *= max(part.least, part.most or 0, 1)
    if times > MOST:
        raise UnwritableError("a large count")
    inner = _text(part.part, escapes, times)
    if isinstance(part.part, _Sequence | _Repeat):
        inner = f"({inner})"
    return inner + _count(part.least, part.most)


def _count(least: int, most: int | None) -> str:
    simple = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}
    if (least, most) in simple:
        return simple[least, most]
    return f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"

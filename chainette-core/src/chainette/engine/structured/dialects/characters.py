"""Sets of characters as patterns mean them, and as a class in the text of a JSON string.

What a set leaves out is never written: a set may be smaller than what the pattern means, since
Unicode's digits and letters fill pages, but it has no character that the pattern refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""First and last code points, in order and apart."""

LAST = 0x10FFFF
ANY: Ranges = ((0, 0xD7FF), (0xE000, LAST))
"""Every character; halves of surrogate pairs are none."""
DIGITS: Ranges = ((0x30, 0x39),)
# Letters of most languages, all in `\w` of Python and of Rust; none is a digit or a space.
_LETTERS: Ranges = (
    *((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x2C1), (0x388, 0x38A)),
    *((0x38E, 0x3A1), (0x3A3, 0x3F5), (0x400, 0x481), (0x48A, 0x52F), (0x5D0, 0x5EA)),
    *((0x620, 0x64A), (0x905, 0x939), (0xE01, 0xE30), (0x10D0, 0x10FA), (0x1E00, 0x1F15)),
    *((0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3)),
)
# White space of Unicode, and the separators that only Python counts as such.
SPACES: Ranges = (
    *((0x9, 0xD), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A)),
    *((0x2028, 0x2029), (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000)),
)
_BOTH_SPACES: Ranges = tuple((max(a, 0x20), b) if a == 0x1C else (a, b) for a, b in SPACES)
# ASCII and the punctuation of books; Unicode has further characters that are no part of words.
_NOT_WORDS: Ranges = (
    *((0x0, 0x2F), (0x3A, 0x40), (0x5B, 0x5E), (0x60, 0x60), (0x7B, 0xA9), (0xAB, 0xB1)),
    *((0x2010, 0x2027), (0x2030, 0x203E), (0x20A0, 0x20BF), (0x2190, 0x21FF), (0x3001, 0x3003)),
)
_ESCAPES = {0x9: "t", 0xA: "n", 0xD: "r", 0x22: r"\x22", 0x5C: r"\x5C"}
"""Characters that a JSON string holds as a backslash and another one (RFC 8259, 7); not all."""
_RAW: Ranges = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0x80, 0xD7FF), (0xE000, LAST))
"""Characters that a JSON string holds as they are; not DEL, which llama.cpp leaves out."""
_PLAIN = frozenset(map(ord, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 _@,:;"))
"""Characters that mean themselves wherever they are, in patterns and in llama.cpp's grammars."""


_BLOCKS = ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A))
"""Digits and letters, some of which are hexadecimal."""


class UnwritableError(ValueError):
    """A pattern cannot be written for the decoder."""


def union(sets: Iterable[Ranges]) -> Ranges:
    """The characters that are in any of several sets."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(each for ranges in sets for each in ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def common(left: Ranges, right: Ranges) -> Ranges:
    """The characters that are in both sets."""
    pairs = ((max(a, c), min(b, d)) for a, b in left for c, d in right)
    return union([tuple((first, last) for first, last in pairs if first <= last)])


def without(ranges: Ranges) -> Ranges:
    """The characters that are not in a set."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for first, last in ranges:
        if first > start:
            gaps.append((start, first - 1))
        start = last + 1
    return common((*gaps, (start, LAST)) if start <= LAST else tuple(gaps), ANY)


WORDS = union([_LETTERS, DIGITS, ((0x5F, 0x5F),)])
CATEGORIES: dict[str, tuple[Ranges, Ranges]] = {
    "CATEGORY_DIGIT": (DIGITS, common(without(DIGITS), union([_LETTERS, _NOT_WORDS]))),
    "CATEGORY_WORD": (WORDS, _NOT_WORDS),
    "CATEGORY_SPACE": (_BOTH_SPACES, without(SPACES)),
}
"""Python's names of `\\d`, `\\w` and `\\s`, with what is in them and what is not."""
CATEGORIES |= {
    name.replace("_", "_NOT_", 1): (outside, inside)
    for name, (inside, outside) in CATEGORIES.items()
}


def written(ranges: Ranges, *, escapes: bool) -> str:
    """A set as a class, or as a plain character, in the text of a JSON string.

    Args:
        ranges: The set.
        escapes: Whether characters that JSON escapes are written as their escapes, for decoders
            that compare the pattern with the JSON text instead of the value. Without it they are
            left out.

    Raises:
        UnwritableError: No character is left.
    """
    raw = common(ranges, _RAW)
    escaped = [text for code, text in _ESCAPES.items() if common(ranges, ((code, code),))]
    ways = [_class(raw)] if raw else []
    if escapes and escaped:
        ways.append(rf"[\x5C][{''.join(escaped)}]")
    if not ways:
        raise UnwritableError("no character of a class fits into a JSON string")
    return ways[0] if len(ways) == 1 and raw else f"({'|'.join(ways)})"


def _class(raw: Ranges) -> str:
    if len(raw) == 1 and raw[0][0] == raw[0][1] in _PLAIN:
        return chr(raw[0][0])
    others = without(raw)
    negated = len(others) < len(raw)
    return f"[{'^' if negated else ''}{_members(others if negated else raw)}]"


def _members(ranges: Sequence[tuple[int, int]]) -> str:
    """Ranges in a class; an escape is never followed by a digit, which xgrammar adds to it."""
    plain: list[str] = []
    others: list[str] = []
    for first, last in ranges:
        for start, end in _BLOCKS:
            if start <= first <= end < last:
                plain.append(_range(first, end))
                first = end + 1
        is_plain = first in _PLAIN and last in _PLAIN
        (plain if is_plain else others).append(_range(first, last))
    return "".join((*plain, *others))


def _range(first: int, last: int) -> str:
    return _character(first) if first == last else f"{_character(first)}-{_character(last)}"


def _character(code: int) -> str:
    """A character in a class, as patterns and llama.cpp's grammars both have it."""
    if code in _PLAIN:
        return chr(code)
    if code <= 0xFF:
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code <= 0xFFFF else chr(code)

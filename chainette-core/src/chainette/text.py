"""Names and other short texts for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
"""Characters that move a terminal's cursor, colour it or turn its writing around."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A trailing ` (did you mean 'x'?)`, or an empty string if no known name is close."""
    by_lower = {it.strip().lower(): it for it in reversed(list(known))}
    close = get_close_matches(name.strip().lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def printable(text: str) -> str:
    """The text on one line, without characters that control a terminal."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def escaped(text: str) -> str:
    """The text with its lines and tabs; characters that control a terminal look as in JSON."""
    lines = text.replace("\r\n", "\n")
    return re.sub(_CONTROLS, lambda match: f"\\u{ord(match[0]):04x}", lines)

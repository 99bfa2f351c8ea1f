"""Names and other short texts for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar

_CONTROLS = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
"""Characters that move a terminal's cursor, colour it or turn its writing around."""


ClassT = TypeVar("ClassT", bound=type)
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
CO_VARKEYWORDS = 8
"""The flag of functions that take any keywords (`inspect.CO_VARKEYWORDS`)."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A trailing ` (did you mean 'x'?)`, or an empty string if no known name is close."""
    by_lower = {it.strip().lower(): it for it in reversed(list(known))}
    close = get_close_matches(name.strip().lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[close[0]]!r}?)" if close else ""


def with_article(noun: str) -> str:
    """A noun with its article; `None` has none."""
    if noun == "NoneType":
        return "None"
    return f"an {noun}" if noun[:1].lower() in tuple("aeio") else f"a {noun}"


def printable(text: str) -> str:
    """The text on one line, without characters that control a terminal."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def described(error: Exception) -> str:
    """An error on one line, cut off where it is long."""
    return f"{type(error).__name__}: {printable(str(error))[:160]}"


def without_numbers(message: str) -> str:
    """A message without numbers, and without ids, which have digits."""
    return re.sub(r"[\w.:-]*\d[\w.:-]*", "#", message)


def escaped(text: str) -> str:
    """The text with its lines and tabs; characters that control a terminal look as in JSON."""
    lines = text.replace("\r\n", "\n")
    return re.sub(_CONTROLS, lambda match: f"\\u{ord(match[0]):04x}", lines)


def names_keywords(cls: ClassT) -> ClassT:
    """Let a class name the nearest keyword that it has in the place of an unknown one."""
    construct: Any = cls.__init__  # type: ignore[misc]
    takes_any = bool(construct.__code__.co_flags & CO_VARKEYWORDS)

    @wraps(construct)
    def initialize(self: Any, *args: Any, **keywords: Any) -> None:
        if takes_any:
            _check_keywords(cls.__name__, construct, keywords)
        try:
            construct(self, *args, **keywords)
        except TypeError:
            _check_keywords(cls.__name__, construct, keywords)
            raise

    cls.__init__ = initialize  # type: ignore[misc]
    return cls


def checked_keywords(function: FunctionT) -> FunctionT:
    """Let a method name the nearest keyword that it has in the place of an unknown one."""

    @wraps(function)
    def called(*args: Any, **keywords: Any) -> Any:
        try:
            return function(*args, **keywords)
        except TypeError:
            _check_keywords(function.__name__, function, keywords)
            raise

    return called  # type: ignore[return-value]


def _check_keywords(name: str, function: Any, keywords: Iterable[str]) -> None:
    """Check that a function has parameters of these names.

    Raises:
        TypeError: It does not; the message has the nearest one.
    """
    known = _keywords(function)
    for keyword in keywords:
        if keyword not in known:
            hint = did_you_mean(keyword, known)
            raise TypeError(
                f"{name}: unknown keyword {keyword!r}{hint}; keywords: {', '.join(known)}"
            ) from None


def _keywords(function: Any) -> list[str]:
    """The names of the parameters of a method, those of `**options: Unpack[Options]` included."""
    import inspect

    names: list[str] = []
    for parameter in [*inspect.signature(function).parameters.values()][1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            options = re.sub(r"^Unpack\[(\w+)\]$", r"\1", str(parameter.annotation))
            names += function.__globals__[options].__annotations__
        else:
            names.append(parameter.name)
    return names


def excerpt(body: str) -> str:
    """The beginning of a text, without its tags."""
    return shortened(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", body[:20_000]))


def shortened(text: str, limit: int = 300) -> str:
    """A text for a message, on one line."""
    text = printable(text)
    return text[:limit] + "…" if len(text) > limit else text or "(an empty body)"

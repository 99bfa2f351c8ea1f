"""Pydantic's validation errors, in words for the person who wrote the value."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError

from chainette.text import did_you_mean


def problems(error: ValidationError, known: Collection[str] = ()) -> list[tuple[str, str]]:
    """List what is wrong as pairs of place and message; values are never shown.

    Args:
        error: The validation error.
        known: The keys that there are, for suggestions at unknown ones.

    Returns:
        Pairs such as `("model", "missing")`; the place is dotted, or empty for the whole value.
    """
    found = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        place = ".".join(str(part) for part in without_tags(item["loc"]))
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            found.append((place, f"unknown key {key!r}{did_you_mean(key, known)}"))
        elif item["type"] == "missing":
            found.append((place, f"{place!r} is missing"))
        else:
            message = item["msg"].removeprefix("Value error, ")
            found.append((place, f"{place}: {message}" if place else message))
    return found


def without_tags(place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A place without the tags of unions, such as `<step>`, which nobody wrote."""
    return tuple(part for part in place if not (isinstance(part, str) and part.startswith("<")))


def summary(error: ValidationError, most: int = 3) -> str:
    """The first problems in one line."""
    messages = [message for _, message in problems(error)]
    more = f" (and {len(messages) - most} more)" if len(messages) > most else ""
    return "; ".join(messages[:most]) + more

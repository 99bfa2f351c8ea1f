"""Pydantic's validation errors as messages for the person who wrote the value."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import ValidationError

from chainette.text import did_you_mean


def problems(error: ValidationError, known: Collection[str] = ()) -> list[tuple[str, str]]:
    """List the problems as pairs of location and message; values are never shown.

    Args:
        error: The validation error.
        known: The valid keys, for suggestions.

    Returns:
        Pairs such as `("model", "missing")`; the location is dotted, or empty for the whole value.
    """
    pairs = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        location = ".".join(str(part) for part in without_tags(item["loc"]))
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            pairs.append((location, f"unknown key {key!r}{did_you_mean(key, known)}"))
        elif item["type"] == "missing":
            pairs.append((location, f"{location!r} is missing"))
        else:
            message = item["msg"].removeprefix("Value error, ")
            pairs.append((location, f"{location}: {message}" if location else message))
    return pairs


def without_tags(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A location without the tags of unions, such as `<step>`, which are not in the file."""
    return tuple(part for part in location if not (isinstance(part, str) and part.startswith("<")))


def summary(error: ValidationError, limit: int = 3) -> str:
    """The first problems on one line."""
    messages = [message for _, message in problems(error)]
    more = f" (and {len(messages) - limit} more)" if len(messages) > limit else ""
    return "; ".join(messages[:limit]) + more

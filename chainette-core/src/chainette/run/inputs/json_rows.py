"""Rows of JSON files: a row on each line, or one array of rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NoReturn, TextIO, TypeAlias

from chainette.errors import InputError

MAX_CHARACTERS = 100_000_000
"""Maximum length of a line; a longer one is not a row and would take too much memory."""
HEAD = 10
"""Lines that tell how a file is laid out, if its first line is not a row."""
BRACKETS = ("[", "]")
"""Lines that are not rows: those around rows that make up an array."""
Read: TypeAlias = tuple[Any, str, InputError | None]
"""A value as it was read, its file and line, and the reason why it could not be read."""
_BROKEN = object()


def read_json(file: TextIO, name: str, *, is_array: bool) -> Iterator[Read]:
    """Read the rows of a JSON file, lazily if each is on a line of its own.

    Args:
        file: The file.
        name: Its name.
        is_array: Whether its name says that it is an array.

    Raises:
        InputError: It holds something else.
    """
    lines = _lines(file)
    head, values = _head(lines, is_array)
    if is_array and not values:
        raise InputError(f"{name}: is empty; expected a JSON array of rows")
    if _is_array(head, values, is_array):
        yield from _array(chain(head, lines), values, name)
    else:
        yield from _json_lines(chain(head, lines), name)


def count_lines(open_file: Callable[[], TextIO]) -> int | None:
    """The number of rows in a file with one on each line; `None` if it is laid out otherwise.

    Args:
        open_file: Opens the file.
    """
    with open_file() as file:
        head, values = _head(_lines(file), False)
    if _is_array(head, values, False):
        return None
    with open_file() as file:
        return sum(1 for line in _lines(file) if (line.strip() or "[") not in BRACKETS)


def _head(lines: Iterator[str], is_array: bool) -> tuple[list[str], list[Any]]:
    """The lines that tell how a file is laid out, and the values of those that are not blank."""
    head: list[str] = []
    values: list[Any] = []
    for line in lines:
        head.append(line)
        if not line.strip():
            continue
        values.append(_value_or_broken(line))
        is_plain = not (is_array or values[0] is _BROKEN or isinstance(values[0], list))
        if is_plain or len(values) == HEAD:
            break
    return head, values


def _is_array(head: list[str], values: list[Any], is_array: bool) -> bool:
    """Whether a file is one JSON value, or pretends to be."""
    if not values:
        return False
    first = values[0]
    if first is _BROKEN:
        text = next(line for line in head if line.strip()).strip().lstrip("\ufeff")
        return text[:1] == "[" or text == "{" or all(value is _BROKEN for value in values)
    if isinstance(first, dict):
        return is_array and len(values) == 1
    if isinstance(first, list) and len(values) == 1:
        return is_array or (bool(first) and all(isinstance(item, dict) for item in first))
    return is_array


def _array(lines: Iterable[str], values: list[Any], name: str) -> Iterator[Read]:
    text = "".join(lines).removeprefix("\ufeff")
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        if any(isinstance(value, dict) for value in values):  # rows on lines, in brackets
            yield from _json_lines(text.splitlines(keepends=True), name)
            return
        _refuse(text, name, error)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: not JSON: {error}") from None
    if not isinstance(rows, list):
        kind = "object" if isinstance(rows, dict) else "value"
        fields = rows if isinstance(rows, dict) else {}
        inside = [key for key, value in fields.items() if _holds_rows(value)]
        hint = f"; its rows may be those under {inside[0]!r}" if inside else ""
        raise InputError(
            f"{name}: expected a JSON array of rows, or a row on each line, not one {kind}{hint}"
        )
    for index, value in enumerate(rows):
        yield value, f"{name}, row {index}", None


def _holds_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _refuse(text: str, name: str, error: json.JSONDecodeError) -> NoReturn:
    """Raise one error that says what a file is whose lines are not rows."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name}: not UTF-8; save it as UTF-8") from None
    try:
        json.JSONDecoder().raw_decode(text.lstrip())
    except ValueError:
        message = f"{name}:{error.lineno}: not JSON: {error.msg} at column {error.colno}"
        raise InputError(message) from None
    raise InputError(
        f"{name}: its rows span several lines; put each on one line "
        "(`jq -c . FILE` does), or all into one array"
    )


def _json_lines(lines: Iterable[str], name: str) -> Iterator[Read]:
    for number, line in enumerate(lines, start=1):
        if (line.strip() if len(line) < HEAD else line) in ("", *BRACKETS) or line.isspace():
            continue
        place = f"{name}:{number}"
        if len(line) > MAX_CHARACTERS:
            message = f"{place}: longer than {MAX_CHARACTERS // 1_000_000} million characters"
            yield None, place, InputError(message)
            continue
        try:
            line.encode()
            yield _value(line), place, None
        except UnicodeEncodeError:
            yield None, place, InputError(f"{place}: not UTF-8")
        except json.JSONDecodeError as error:
            message = f"{place}: not JSON: {error.msg} at column {error.colno}"
            yield None, place, InputError(message)
        except (ValueError, RecursionError) as error:
            yield None, place, InputError(f"{place}: not JSON: {error}")


def _value(line: str) -> Any:
    """The value on a line, which may end in a comma, as the rows of an array do.

    Raises:
        ValueError: The line is not JSON.
    """
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        text = line.strip().lstrip("\ufeff").removesuffix(",")
        if text == line.strip():
            raise
        try:
            return json.loads(text)
        except ValueError:
            raise error from None


def _value_or_broken(line: str) -> Any:
    try:
        line.encode()
        return _value(line) if len(line) <= MAX_CHARACTERS else _BROKEN
    except (ValueError, RecursionError):
        return _BROKEN


def _lines(file: TextIO) -> Iterator[str]:
    """The lines of a file; only the beginning of a line that is too long."""
    while line := file.readline(MAX_CHARACTERS + 1):
        yield line
        while len(line) > MAX_CHARACTERS and not line.endswith("\n"):
            line = file.readline(MAX_CHARACTERS + 1)

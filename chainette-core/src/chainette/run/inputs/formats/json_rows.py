"""Rows of JSON files: a row on each line, or one array of rows."""

from __future__ import annotations

import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NoReturn, TextIO, TypeAlias

from chainette.errors import InputError
from chainette.text import printable

MAX_CHARACTERS = 100_000_000
"""Maximum length of a line; a longer one is not a row and would take too much memory."""
HEAD = 10
"""Lines that tell how a file is laid out, if its first line is not a row."""
BRACKETS = ("[", "]")
"""Lines that are not rows: those around rows that make up an array."""
Read: TypeAlias = tuple[Any, str, InputError | None]
"""A value as it was read, its file and line, and the reason why it could not be read."""
_BROKEN = object()
_RECORD = "\ufeff\x1e"
"""Marks before a value: of an encoding, and of a record as in RFC 7464."""


class _RepeatedKeyError(ValueError):
    """A key appears twice in one object, so that one of its values would be lost."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _RepeatedKeyError(f"the key {printable(repeated)[:80]!r} appears twice")
    return value


_constants = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": None}
_decoder = json.JSONDecoder(
    strict=False, object_pairs_hook=_object, parse_constant=_constants.__getitem__
)
"""NaN is no value, as in a table; control characters in texts are read."""


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
        text = next(line for line in head if line.strip()).strip().lstrip(_RECORD)
        return text[:1] == "[" or text == "{" or all(value is _BROKEN for value in values)
    if isinstance(first, dict):
        return is_array and len(values) == 1
    if isinstance(first, list) and len(values) == 1:
        return is_array or (bool(first) and all(isinstance(item, dict) for item in first))
    return is_array


def _array(lines: Iterable[str], values: list[Any], name: str) -> Iterator[Read]:
    text = "".join(lines).removeprefix("\ufeff")
    _check_encoding(text, name)
    try:
        rows = _decoder.decode(text)
    except json.JSONDecodeError as error:
        if any(isinstance(value, dict) for value in values):  # rows on lines, in brackets
            yield from _json_lines(io.StringIO(text, newline=""), name)
            return
        _refuse(text, name, error)
    except _RepeatedKeyError as error:
        raise InputError(f"{name}: {error}") from None
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
    start = len(text) - len(text.lstrip())
    try:
        _, end = _decoder.raw_decode(text, start)
    except ValueError:
        message = f"{name}:{error.lineno}: not JSON: {error.msg} at column {error.colno}"
        raise InputError(message) from None
    if text[end:].lstrip(_RECORD + " ,\r\n\t")[:1] not in ("{", "["):
        raise InputError(f"{name}:{error.lineno}: text follows the JSON, at column {error.colno}")
    raise InputError(
        f"{name}: its rows span several lines, or share one; put each on one line "
        "(`jq -c . FILE` does), or all into one array"
    )


def _check_encoding(text: str, name: str) -> None:
    """Refuse a file as a whole that is not UTF-8.

    Raises:
        InputError: It is not.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise InputError(f"{name}:{line}: {_NOT_UTF_8}") from None


_NOT_UTF_8 = (
    "not UTF-8; read it with encoding='cp1252' if that is its encoding, or save it as UTF-8"
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
            yield None, place, InputError(f"{place}: {_NOT_UTF_8}")
        except _RepeatedKeyError as error:
            yield None, place, InputError(f"{place}: {error}")
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
        return _decoder.decode(line)
    except json.JSONDecodeError as error:
        text = line.strip().lstrip(_RECORD).removesuffix(",")
        if text == line.rstrip("\r\n"):
            raise
        try:
            return _decoder.decode(text)
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

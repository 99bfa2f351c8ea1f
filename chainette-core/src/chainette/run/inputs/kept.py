"""The inputs' columns that a run keeps beside its answers."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, RootModel
from pydantic_core import to_jsonable_python

from chainette.errors import InputError
from chainette.reports.codec import OutputCodec
from chainette.text import did_you_mean

COLUMN = "input"
"""The name of the only column of rows that have none, such as texts."""
_PLAIN = frozenset((str, int, bool, type(None)))
"""Types whose values are the same in JSON and cannot be changed."""
_NAMES = frozenset((str,))
_VALUES = (str, int, float, list, tuple, set, frozenset)
"""Types of rows that are one value."""
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]{4,}")
_LEFT_OUT: Final = object()
_logger = logging.getLogger(__name__)


class Kept:
    """The columns of rows as they came in, as JSON values, which nothing changes later.

    Args:
        keep: Names of columns, or `all`.

    Attributes:
        names: Names of the columns that are kept; `None` is all.
        rows: The columns of the rows that were read, by row id; who records a row removes them.
    """

    def __init__(self, keep: str | Sequence[str]) -> None:
        self.names: tuple[str, ...] | None = None if keep == "all" else (*dict.fromkeys(keep),)
        self.rows: dict[int, dict[str, Any]] = {}
        self._unseen: set[str] = {*(self.names or ())}
        self._warned: set[str] = set()
        self._codec = OutputCodec(Any)

    def of(self, value: Any) -> dict[str, Any]:
        """The columns of a row.

        Args:
            value: The row as it was read.
        """
        row = dict(value) if type(value) is dict else self._columns_of(value)
        if self.names is not None:
            if self._unseen:
                self._unseen.difference_update(row)
            row = {name: row[name] for name in self.names if name in row}
        kinds = {*map(type, row.values())}
        if not ({*map(type, row)} <= _NAMES and (kinds <= _PLAIN or _are_numbers(row, kinds))):
            return self._as_json(row)
        return row

    def check(self, columns: Collection[str], source: str) -> None:
        """Refuse a name that no column of the inputs has.

        Args:
            columns: The columns of the inputs.
            source: Name of the inputs.

        Raises:
            InputError: There is one.
        """
        for name in self.names or ():
            if name not in columns:
                hint = did_you_mean(name, columns)
                raise InputError(
                    f"{source}: no column {name!r} to keep{hint}; the columns are: "
                    f"{', '.join(map(str, columns))}"
                )

    def close(self) -> None:
        """Say which names no row had."""
        if self._unseen and len(self._unseen) <= len(self.names or ()):
            names = ", ".join(repr(name) for name in self.names or () if name in self._unseen)
            _logger.warning("keep: no row of the inputs had a column %s", names)
            self._unseen.clear()

    def _columns_of(self, value: Any) -> dict[str, Any]:
        try:
            return self._columns(value)
        except Exception as error:  # of a class of the user's
            reason = f"{type(error).__name__}: {error}"
            self._warn(reason, "columns of an input row cannot be read, and are not kept: %s")
            return {}

    def _columns(self, value: Any) -> dict[str, Any]:
        """The columns of a row that is no plain dict, in a dict of its own."""
        if isinstance(value, RootModel):
            return self._columns(value.root)
        if isinstance(value, BaseModel):
            return value.__dict__ | (value.__pydantic_extra__ or {})
        if isinstance(value, Mapping):
            return dict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {it.name: getattr(value, it.name) for it in dataclasses.fields(value)}
        if hasattr(value, "_asdict"):  # a named tuple
            return dict(value._asdict())
        if isinstance(value, _VALUES):
            return {COLUMN: value}
        if value is not None:
            self._warn(type(value).__name__, "input rows of type %r have no columns to keep")
        return {}

    def _as_json(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        """A row as JSON values that share nothing with it; what is not data is left out."""
        found = {str(name): self._value(str(name), value) for name, value in row.items()}
        return {name: value for name, value in found.items() if value is not _LEFT_OUT}

    def _value(self, name: str, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is float:
            return None if value != value else value
        try:
            if isinstance(value, Iterator):  # which to read would use up
                raise _NotDataError
            found = to_jsonable_python(
                value, by_alias=False, inf_nan_mode="constants", fallback=_as_data
            )
            return _without_nan(found)
        except _NotDataError:
            pass
        except Exception:  # bytes that are no text, a circle, a serializer of the user's
            return self._as_outputs_are(name, value)
        self._warn(name, "the inputs' column %r holds objects, not data: they are left out")
        return _LEFT_OUT

    def _as_outputs_are(self, name: str, value: Any) -> Any:
        try:
            return self._codec.dump(value)
        except Exception:
            self._warn(name, "the inputs' column %r has values that JSON cannot hold: left out")
            return _LEFT_OUT

    def _warn(self, name: str, message: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            _logger.warning(message, name)


def kept_names(kept: Kept | None) -> str | list[str]:
    """What a run keeps, for its manifest."""
    if kept is None:
        return "none"
    return "all" if kept.names is None else [*kept.names]


class _NotDataError(Exception):
    """An object tells nothing but where it is in memory."""


def _are_numbers(row: Mapping[str, Any], kinds: Collection[type]) -> bool:
    """Whether a row has, beside plain values, only floats that are numbers."""
    if not (_PLAIN | {float}).issuperset(kinds):
        return False
    return all(value == value for value in row.values())


def _without_nan(value: Any) -> Any:
    """A JSON value in which what is not a number is missing."""
    kind = type(value)
    if kind is dict:
        return {name: _without_nan(it) for name, it in value.items()}
    if kind is list:
        return [*map(_without_nan, value)]
    return None if value != value else value


def _as_data(value: Any) -> Any:
    """An object that Pydantic does not know, as JSON can hold it."""
    if type(value).__module__ == "numpy":
        is_array_of_data: Callable[[], Any] | None = getattr(value, "tolist", None)
        kind = getattr(getattr(value, "dtype", None), "kind", "O")
        if is_array_of_data is not None and kind in "biufSUO":
            return is_array_of_data()
    text = str(value)
    if _ADDRESS.search(text):
        raise _NotDataError
    return text

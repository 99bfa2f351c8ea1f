"""Values as JSON from which equal ones are rebuilt, without validators and serializers."""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import json
import pathlib
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from functools import cached_property
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import BaseModel, TypeAdapter
from pydantic_core import TzInfo

from chainette.reports.classes import Classes, UnknownClassError, is_rebuilt

_AS_TEXT: dict[type, Callable[[str], Any]] = {
    Decimal: Decimal,
    Fraction: Fraction,
    UUID: UUID,
    complex: complex,
    date: date.fromisoformat,
    **{
        kind: kind
        for kind in (
            *(pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath),
            *(pathlib.PureWindowsPath, ipaddress.IPv4Address, ipaddress.IPv6Address),
            *(ipaddress.IPv4Network, ipaddress.IPv6Network),
            *(ipaddress.IPv4Interface, ipaddress.IPv6Interface),
        )
    },
}
"""Types whose text says all, and the way back."""
_NAMED = {kind.__name__: read for kind, read in _AS_TEXT.items()}
_COLLECTIONS: dict[type, str] = {
    kind: kind.__name__ for kind in (tuple, set, frozenset, deque, OrderedDict, Counter, dict)
}
_BUILDERS: dict[str, Callable[[Any], Any]] = {
    **{name: kind for kind, name in _COLLECTIONS.items()},
    "Counter": lambda pairs: Counter(dict(pairs)),  # of pairs alone it would count the pairs
}


LOST = {"$lost": None}
"""In the place of a snapshot: the value holds an object that is not data."""


class SnapshotError(Exception):
    """A value holds an object that a snapshot cannot hold."""


class Snapshots:
    """Values of a type as JSON, and back: equal in every field, whatever their classes do.

    JSON has its own meaning, and everything else is an object with one key that begins with `$`:
    `{"$tuple": [1, 2]}`.

    Args:
        model: The type; it says where classes are.
    """

    def __init__(self, model: Any) -> None:
        self._classes = Classes(model)

    def take(self, value: Any) -> Any:
        """The snapshot of a value.

        Raises:
            SnapshotError: The value holds an object that is not data.
        """
        try:
            return self._take(value)
        except UnknownClassError as error:
            raise SnapshotError(str(error)) from None
        except RecursionError:
            raise SnapshotError("it is nested too deeply, or contains itself") from None

    def restore(self, data: Any) -> Any:
        """The value of a snapshot.

        Raises:
            LookupError: A class does not exist anymore; so do other errors of data that is not a
                snapshot.
        """
        if isinstance(data, list):
            return [self.restore(item) for item in data]
        if not isinstance(data, dict):
            return data
        tag: str = next(iter(data), "")
        if not tag.startswith("$"):
            return {key: self.restore(item) for key, item in data.items()}
        name, content = tag[1:], data[tag]
        if name in _BUILDERS:
            return _BUILDERS[name](self.restore(content))
        if name in _NAMED:
            return _NAMED[name](content)
        return getattr(self, f"_restore_{name}")(content)

    def _take(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind is int or kind is bool or kind is float:
            return value
        if kind is str:
            return value if value.isascii() else _text(value)
        if kind is list:
            return [self._take(item) for item in value]
        if kind is dict and all(map(_is_plain_key, value)):
            return {key: self._take(item) for key, item in value.items()}
        if kind in _COLLECTIONS:
            return {f"${_COLLECTIONS[kind]}": self._items(value)}
        if kind in _AS_TEXT:
            return {f"${kind.__name__}": str(value)}
        return self._take_object(value, kind)

    def _items(self, value: Any) -> list[Any]:
        if getattr(value, "maxlen", None) is not None:
            raise SnapshotError("a deque of limited length is not data")
        if isinstance(value, dict):
            return [[self._take(key), self._take(item)] for key, item in value.items()]
        items = [self._take(item) for item in value]
        return sorted(items, key=json.dumps) if isinstance(value, set | frozenset) else items

    def _take_object(self, value: Any, kind: type) -> Any:
        if issubclass(kind, Enum):
            content = value.value if issubclass(kind, Flag) else value.name
            return {"$enum": [self._classes.name(kind), content]}
        if issubclass(kind, BaseModel):
            return {"$model": [self._classes.name(kind), self._model_state(value)]}
        if dataclasses.is_dataclass(kind):
            return {"$dataclass": [self._classes.name(kind), self._take(_attributes(value))]}
        if is_rebuilt(kind):
            return {"$namedtuple": [self._classes.name(kind), [self._take(it) for it in value]]}
        write = _WRITERS.get(kind)
        return write(value) if write is not None else self._take_as_json(value, kind)

    def _model_state(self, value: BaseModel) -> list[Any]:
        """Fields, extra fields, private attributes and names of those that were set, if not all."""
        stored, names = value.__dict__, value.model_fields_set
        fields = {name: stored[name] for name in type(value).model_fields if name in stored}
        is_set = None if names == fields.keys() else sorted(names)
        extra = self._take(value.__pydantic_extra__)
        return [self._take(fields), extra, self._private(value), is_set]

    def _private(self, value: BaseModel) -> Any:
        """The private attributes; objects that are not data are left to their default factories."""
        if not value.__pydantic_private__:
            return value.__pydantic_private__
        taken: dict[str, Any] = {}
        for name, item in value.__pydantic_private__.items():
            try:
                taken[name] = self._take(item)
            except SnapshotError:
                if value.__private_attributes__[name].default_factory is None:
                    raise
                taken[name] = {"$default": name}
        return taken

    def _take_as_json(self, value: Any, kind: type) -> Any:
        """The snapshot of an object whose own class says how to write and read it."""
        if not self._classes.knows(kind):
            raise SnapshotError(f"{kind.__name__} is not data")
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            text = adapter.dump_json(value).decode()
            again = adapter.validate_json(text)
            is_same = type(again) is kind and bool(again == value)
        except Exception:  # whatever Pydantic or the class raises
            is_same, text = False, ""
        if not is_same:
            raise SnapshotError(f"{kind.__name__} is not data")
        return {"$json": [self._classes.name(kind), text]}

    def _restore_json(self, content: list[Any]) -> Any:
        kind = self._classes.find(content[0])
        return TypeAdapter(kind).validate_json(content[1])

    def _restore_enum(self, content: list[Any]) -> Any:
        kind: Any = self._classes.find(content[0])
        return kind(content[1]) if issubclass(kind, Flag) else kind[content[1]]

    def _restore_model(self, content: list[Any]) -> Any:
        kind: Any = self._classes.find(content[0])
        fields, extra, private, names = content[1]
        fields = self.restore(fields)
        value = kind.__new__(kind)
        state = {
            "__dict__": fields,
            "__pydantic_extra__": self.restore(extra),
            "__pydantic_private__": self._restore_private(kind, private),
            "__pydantic_fields_set__": set(fields if names is None else names),
        }
        BaseModel.__setstate__(value, state)
        return value

    def _restore_private(self, kind: type[BaseModel], private: dict[str, Any] | None) -> Any:
        if private is None:
            return None
        attributes = kind.__private_attributes__
        return {
            name: attributes[name].get_default(call_default_factory=True)
            if item == {"$default": name}
            else self.restore(item)
            for name, item in private.items()
        }

    def _restore_dataclass(self, content: list[Any]) -> Any:
        kind = self._classes.find(content[0])
        value: Any = object.__new__(kind)
        for name, item in self.restore(content[1]).items():
            object.__setattr__(value, name, item)
        return value

    def _restore_namedtuple(self, content: list[Any]) -> Any:
        kind: Any = self._classes.find(content[0])
        return tuple.__new__(kind, self.restore(content[1]))

    def _restore_text(self, content: str) -> Any:
        return json.loads(content)

    def _restore_bytes(self, content: str) -> Any:
        return base64.b64decode(content)

    def _restore_bytearray(self, content: str) -> Any:
        return bytearray(base64.b64decode(content))

    def _restore_timedelta(self, content: list[int]) -> Any:
        return timedelta(*content)

    def _restore_pattern(self, content: list[Any]) -> Any:
        return re.compile(*content)

    def _restore_datetime(self, content: list[Any]) -> Any:
        text, fold, zone = content
        return datetime.fromisoformat(text).replace(fold=fold, tzinfo=_zone(zone))

    def _restore_time(self, content: list[Any]) -> Any:
        text, fold, zone = content
        return time.fromisoformat(text).replace(fold=fold, tzinfo=_zone(zone))


def _text(value: str) -> Any:
    """A text; files in UTF-8 cannot hold half a surrogate pair as it is."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"$text": json.dumps(value)}
    return value


def _is_plain_key(key: Any) -> bool:
    return type(key) is str and not key.startswith("$") and (key.isascii() or _text(key) is key)


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an instance of a dataclass, beside what it has only computed."""
    names = dict.fromkeys(field.name for field in dataclasses.fields(value))
    names |= dict.fromkeys(getattr(value, "__dict__", ()))
    kind = type(value)
    return {
        name: getattr(value, name)
        for name in names
        if hasattr(value, name) and not isinstance(getattr(kind, name, None), cached_property)
    }


def _zone_name(zone: tzinfo | None) -> Any:
    """A time zone as JSON: its key, its offset in seconds with its origin, or nothing."""
    if zone is None:
        return None
    if isinstance(zone, ZoneInfo) and zone.key is not None:
        return zone.key
    offset = zone.utcoffset(None)
    if type(zone) not in (timezone, TzInfo) or offset is None:
        raise SnapshotError(f"{type(zone).__name__} is not data")
    return [type(zone).__name__, offset.total_seconds(), zone.tzname(None)]


def _zone(content: Any) -> tzinfo | None:
    if content is None or isinstance(content, str):
        return None if content is None else ZoneInfo(content)
    kind, seconds, name = content
    if kind == "TzInfo":
        return TzInfo(seconds)
    offset = timedelta(seconds=seconds)
    plain = timezone(offset)
    return plain if plain.tzname(None) == name else timezone(offset, name)


def _clock(kind: str) -> Callable[[Any], Any]:
    def write(value: Any) -> Any:
        text = value.replace(tzinfo=None).isoformat()
        return {kind: [text, value.fold, _zone_name(value.tzinfo)]}

    return write


_WRITERS: Mapping[type, Callable[[Any], Any]] = {
    bytes: lambda value: {"$bytes": base64.b64encode(value).decode()},
    bytearray: lambda value: {"$bytearray": base64.b64encode(value).decode()},
    timedelta: lambda value: {"$timedelta": [value.days, value.seconds, value.microseconds]},
    datetime: _clock("$datetime"),
    time: _clock("$time"),
    re.Pattern: lambda value: {"$pattern": [value.pattern, value.flags]},
}

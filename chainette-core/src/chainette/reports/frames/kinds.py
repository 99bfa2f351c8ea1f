"""The types of columns: what JSON values are in Arrow. Needs the extra `chainette[parquet]`."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from pydantic import TypeAdapter

MOST_DIGITS = 38
"""Digits of the longest decimals that every library has (Arrow's `decimal128`)."""
_EXACT = 2**53
"""From here on, a float does not hold every integer."""


@cache
def _reader(type: Any) -> Callable[[Any], Any]:
    return TypeAdapter(type).validate_python


class Kind:
    """The type of a column, which all of its values are looked at to know.

    A kind is asked to `look` at every value that is not `None`, then it knows its Arrow type.
    """

    def look(self, value: Any) -> bool:
        """Take note of a JSON value, and say whether it is of this kind."""
        raise NotImplementedError

    def arrow(self) -> Any:
        """The Arrow type."""
        raise NotImplementedError

    def cell(self, value: Any) -> Any:
        """A JSON value as Arrow takes it."""
        return value

    def array(self, values: Sequence[Any]) -> Any:
        """JSON values as an Arrow array."""
        import pyarrow as pa

        cell = self.cell
        return pa.array([None if it is None else cell(it) for it in values], self.arrow())

    def inner(self) -> Kind:
        """The kind of the same values inside a list or another value."""
        return self

    def joined(self, other: Kind) -> Kind | None:
        """The kind of values that are of one or the other, if there is one."""
        return self if self.__dict__ == other.__dict__ and type(self) is type(other) else None


class Plain(Kind):
    """Values that JSON has itself: `bool`, `int`, `float` or `str`.

    Args:
        type: Their type in Python.
        arrow_type: Makes their Arrow type, if it is not the widest one.
    """

    def __init__(self, type: type, arrow_type: Any = None) -> None:
        self._type = type
        self._arrow = arrow_type
        self._range = range(-(2**63), 2**63)
        if type is int and arrow_type is not None:
            bits, is_unsigned = arrow_type.bit_width, str(arrow_type).startswith("u")
            half = 1 << (bits - 1)
            self._range = range(2 * half) if is_unsigned else range(-half, half)

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        kind = type(value)
        if self._type is int:
            return kind is int and value in self._range
        if self._type is float:
            return kind is float or (kind is int and abs(value) <= _EXACT)
        return kind is self._type

    def arrow(self) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        names = {bool: pa.bool_, int: pa.int64, float: pa.float64, str: pa.string}
        return self._arrow if self._arrow is not None else names[self._type]()


class Category(Kind):
    """Texts of which there are few different ones.

    Args:
        values: The texts in their order; `None` to find them.
    """

    def __init__(self, values: Iterable[str] | None = None) -> None:
        self._is_open = values is None
        self._places: dict[str, int] = {text: place for place, text in enumerate(values or ())}

    @property
    def values(self) -> list[str]:
        """The texts in their order."""
        return [*self._places]

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        if self._is_open and type(value) is str:
            self._places.setdefault(value, len(self._places))
        return type(value) is str and value in self._places

    def arrow(self) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        return pa.dictionary(pa.int32(), pa.string())

    def array(self, values: Sequence[Any]) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        places = [None if it is None else self._places[it] for it in values]
        return pa.DictionaryArray.from_arrays(
            pa.array(places, pa.int32()), pa.array(self.values, pa.string())
        )

    def inner(self) -> Kind:
        """See `Kind`."""
        return Plain(str)

    def joined(self, other: Kind) -> Kind | None:
        """See `Kind`."""
        if not isinstance(other, Category):
            return None
        return Category(dict.fromkeys([*self.values, *other.values]))


class Json(Kind):
    """Anything, as JSON texts."""

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        return True

    def arrow(self) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        return pa.string()

    def cell(self, value: Any) -> Any:
        """See `Kind`."""
        return json.dumps(value, ensure_ascii=False)


class Unknown(Json):
    """Anything, in a field whose schema does not tell more; in a column, its values tell it."""


class Read(Kind):
    """Texts that another type is written as.

    Args:
        type: The type in Python: `date`, `time` or `timedelta`.
        arrow_type: Their Arrow type, if it is known.
    """

    def __init__(self, type: Any, arrow_type: Any = None) -> None:
        self._name: str = type.__name__
        self._arrow = arrow_type
        self._read: Callable[[Any], Any] = _reader(type)

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        try:
            return type(value) is str and self._fits(self._read(value))
        except (ValueError, ArithmeticError):
            return False

    def _fits(self, value: Any) -> bool:
        return getattr(value, "tzinfo", None) is None

    def arrow(self) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        types = {"date": pa.date32(), "time": pa.time64("us"), "timedelta": pa.duration("us")}
        return types[self._name] if self._arrow is None else self._arrow

    def cell(self, value: Any) -> Any:
        """See `Kind`."""
        return self._read(value)


class Moment(Read):
    """Dates with times; all have an offset, and become UTC, or none has.

    Args:
        arrow_type: Their Arrow type, if it is known.
    """

    def __init__(self, arrow_type: Any = None) -> None:
        super().__init__(datetime, arrow_type)
        self._is_aware: bool | None = None if arrow_type is None else arrow_type.tz is not None

    def _fits(self, value: datetime) -> bool:
        is_aware = value.tzinfo is not None
        if self._is_aware is None:
            self._is_aware = is_aware
        return self._is_aware is is_aware

    def arrow(self) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        if self._arrow is not None:
            return self._arrow
        return pa.timestamp("us", "UTC" if self._is_aware else None)


class Number(Kind):
    """Decimals, with as many digits as the longest of them needs.

    Args:
        arrow_type: Their Arrow type, if it is known.
    """

    def __init__(self, arrow_type: Any = None) -> None:
        self._arrow = arrow_type
        self._whole = self._scale = 0

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        try:
            parts = Decimal(value).as_tuple() if type(value) in (str, int) else None
        except ArithmeticError:
            return False
        if parts is None or not isinstance(parts.exponent, int):  # NaN, infinity
            return False
        self._whole = max(self._whole, len(parts.digits) + parts.exponent)
        self._scale = max(self._scale, -parts.exponent)
        if self._arrow is not None and self._scale > self._arrow.scale:
            return False
        return self._whole + self._scale <= MOST_DIGITS

    def arrow(self) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        return self._arrow or pa.decimal128(MOST_DIGITS, self._scale)

    def cell(self, value: Any) -> Any:
        """See `Kind`."""
        return Decimal(value)


class Bytes(Kind):
    """Bytes: in JSON a text, or their Base64 under `$bytes` where they are none.

    Args:
        arrow_type: Their Arrow type.
    """

    def __init__(self, arrow_type: Any) -> None:
        self._arrow = arrow_type

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        return type(value) is str or (type(value) is dict and [*value] == ["$bytes"])

    def arrow(self) -> Any:
        """See `Kind`."""
        return self._arrow

    def cell(self, value: Any) -> Any:
        """See `Kind`."""
        return value.encode() if type(value) is str else b64decode(value["$bytes"])


class Many(Kind):
    """Lists of values of one kind.

    Args:
        item: The kind of the values.
    """

    def __init__(self, item: Kind) -> None:
        self._item = item.inner()

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        look = self._item.look
        return isinstance(value, list) and all(it is None or look(it) for it in value)

    def arrow(self) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        return pa.list_(self._item.arrow())

    def cell(self, value: Any) -> Any:
        """See `Kind`."""
        cell = self._item.cell
        return [None if it is None else cell(it) for it in value]


class Struct(Kind):
    """Objects with the same fields.

    Args:
        fields: The kinds of the fields.
    """

    def __init__(self, fields: Mapping[str, Kind]) -> None:
        self._fields = dict(fields)
        self._inner = {name: kind.inner() for name, kind in fields.items()}

    def joined(self, other: Kind) -> Kind | None:
        """See `Kind`: of several models, the fields of all of them."""
        if not isinstance(other, Struct):
            return None
        fields = self._fields | other._fields
        for name in self._fields.keys() & other._fields.keys():
            fields[name] = self._fields[name].joined(other._fields[name]) or Unknown()
        return Struct(fields)

    @property
    def names(self) -> list[str]:
        """The names of the fields."""
        return [*self._fields]

    def column(self, name: str) -> Kind | None:
        """The kind of a field as a column of its own; `None` where its values tell it."""
        kind = self._fields.get(name)
        return None if isinstance(kind, Unknown) else kind

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        inner = self._inner
        return isinstance(value, dict) and all(
            name in inner and (it is None or inner[name].look(it)) for name, it in value.items()
        )

    def arrow(self) -> Any:
        """See `Kind`."""
        import pyarrow as pa

        return pa.struct([(name, kind.arrow()) for name, kind in self._inner.items()])

    def cell(self, value: Any) -> Any:
        """See `Kind`."""
        return {
            name: None if value.get(name) is None else kind.cell(value[name])
            for name, kind in self._inner.items()
        }


class Nothing(Kind):
    """A column that has no values: its node has its values in others."""

    def look(self, value: Any) -> bool:
        """See `Kind`."""
        return False


READ: dict[str, Callable[[], Kind]] = {
    "date": lambda: Read(date),
    "time": lambda: Read(time),
    "duration": lambda: Read(timedelta),
    "date-time": Moment,
    "decimal": Number,
}
"""The kinds of texts by their format in a JSON schema."""

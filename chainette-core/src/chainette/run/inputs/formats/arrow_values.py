"""Values of Arrow columns as Python's, for every type that Arrow has.

The types are those of the Arrow columnar format, "Data types"; extension types of other programs
are read as the type that they are stored in.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from chainette.errors import InputError

_OFFSETS = ("+", "-")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns of a table that are read.

    Attributes:
        needed: Names of those that rows cannot do without; `None` is all.
        kept: Names of those that are read beside them where they can be; `None` is all.
    """

    needed: frozenset[str] | None = None
    kept: frozenset[str] | None = frozenset()

    def needs(self, name: str) -> bool:
        """Whether rows cannot do without a column."""
        return self.needed is None or name in self.needed

    def takes(self, name: str) -> bool:
        """Whether a column is read."""
        return self.needs(name) or self.kept is None or name in self.kept


def readable(schema: Any, source: str, wanted: Wanted) -> list[str]:
    """The names of the columns to read: those whose values Python can have.

    Args:
        schema: The Arrow schema.
        source: Name of the inputs.
        wanted: The columns that are wanted.

    Raises:
        InputError: One that is needed has another type.
    """
    names = []
    for field in schema:
        if not wanted.takes(field.name):
            continue
        reason = next(filter(None, map(_obstacle, _all_types(field.type))), None)
        if reason is None:
            names.append(field.name)
        elif wanted.needs(field.name):
            raise InputError(
                f"{source}: the column {field.name!r} cannot be read: {reason}; convert it, or "
                "take the other columns with `columns`"
            )
        else:
            warn_of_unreadable(source, field.name, reason)
    return names


@cache
def warn_of_unreadable(source: str, name: str, reason: str) -> None:
    """Say once that a column, which the chain does not need, is not kept."""
    _logger.warning("%s: the column %r cannot be read and is not kept: %s", source, name, reason)


@cache
def warn_of_value(reason: str) -> None:
    """Say once that columns of a row, which the chain does not need, are not kept."""
    _logger.warning(
        "columns of some input rows are not kept: a value cannot be converted (%s)", reason
    )


def broken_in(names: Iterable[str], convert: Callable[[str], Any]) -> list[str]:
    """The columns of one row whose value is one that Python does not have.

    Args:
        names: The columns.
        convert: Converts the value of a column.
    """
    found = []
    for name in names:
        try:
            convert(name)
        except Exception:  # of many kinds, such as for years after 9999
            found.append(name)
    return found


def converted(batch: Any) -> list[dict[str, Any]]:
    """The rows of a record batch as dicts.

    Raises:
        Exception: A value is one that Python does not have; of many kinds.
    """
    names = batch.schema.names
    if not names:
        return [{} for _ in range(batch.num_rows)]
    columns = map(_cells, batch.columns)
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _cells(column: Any) -> list[Any]:
    """The values of a column."""
    import pyarrow as pa

    column = _decoded(column)
    if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
        # Arrow 23 makes empty lists of them when it casts them.
        return [_cells(it.values) if it.is_valid else None for it in column]
    target = _readable(column.type)
    if target != column.type:
        column = column.cast(target, safe=False)
    cells: list[Any] = column.to_pylist()
    is_interval = pa.types.is_interval(target)
    if is_interval or pa.types.is_nested(target):
        return [_plain(cell, target) for cell in cells]
    return cells


def _decoded(column: Any) -> Any:
    """A column without an encoding that repeats values, if they have to be changed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    while pa.types.is_dictionary(column.type) or pa.types.is_run_end_encoded(column.type):
        values = column.type.value_type
        if _readable(values) == values and not pa.types.is_nested(values):
            return column  # Arrow cannot decode every type, but its values are right as they are
        is_dictionary = pa.types.is_dictionary(column.type)
        column = (
            column.dictionary.take(column.indices) if is_dictionary else pc.run_end_decode(column)
        )
    return column


def _readable(kind: Any) -> Any:
    """A type whose values Python has: nanoseconds become microseconds, codes become values."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):
        values = _readable(kind.value_type)
        return kind if values == kind.value_type else values
    if types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if types.is_struct(kind):
        return pa.struct([field.with_type(_readable(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(_readable(kind.key_type), _readable(kind.item_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_readable(kind.value_type)), kind.list_size)
    for is_kind, make in (
        (types.is_list, pa.list_),
        (types.is_large_list, pa.large_list),
    ):
        if is_kind(kind):
            return make(kind.value_field.with_type(_readable(kind.value_type)))
    return kind


def _plain(value: Any, kind: Any) -> Any:
    """A value of the types that Python has: maps are dicts, as in JSON, and not lists of pairs."""
    import pyarrow as pa

    types = pa.types
    if value is None:
        return None
    if types.is_interval(kind):
        return _interval(value)
    if types.is_map(kind):
        pairs = [(_plain(k, kind.key_type), _plain(v, kind.item_type)) for k, v in value]
        if types.is_nested(kind.key_type):
            return [list(pair) for pair in pairs]
        return dict(pairs)
    if types.is_struct(kind):
        return {field.name: _plain(value[field.name], field.type) for field in kind}
    if types.is_run_end_encoded(kind) or types.is_dictionary(kind):
        return _plain(value, kind.value_type)
    if hasattr(kind, "value_type") and isinstance(value, list):
        return [_plain(item, kind.value_type) for item in value]
    if hasattr(value, "to_pydatetime"):  # of pandas, which Arrow uses for nanoseconds
        return value.to_pydatetime(warn=False)
    return value.to_pytimedelta() if hasattr(value, "to_pytimedelta") else value


def _interval(value: Any) -> str:
    """An interval in the notation of ISO 8601, such as `P1M2DT0.5S`."""
    months, days, nanoseconds = value
    seconds = format(Decimal(nanoseconds).scaleb(-9).normalize(), "f")
    return f"P{months}M{days}DT{seconds}S"


def _all_types(kind: Any) -> Iterator[Any]:
    """A type, and those inside of it."""
    yield kind
    for index in range(kind.num_fields):
        yield from _all_types(kind.field(index).type)
    if kind.num_fields == 0 and hasattr(kind, "value_type"):
        yield from _all_types(kind.value_type)
    if hasattr(kind, "storage_type"):
        yield from _all_types(kind.storage_type)


def _obstacle(kind: Any) -> str | None:
    """The reason why Python cannot have the values of a type, or `None`."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        counts = Counter(field.name for field in kind)
        repeated = [name for name, count in counts.items() if count > 1]
        return f"two of its fields have the name {repeated[0]!r}" if repeated else None
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    if zone is None or zone.startswith(_OFFSETS):
        return None
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return f"its time zone {zone!r} is not known on this machine"
    return None

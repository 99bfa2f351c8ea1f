"""The types of the inputs' columns, as the data that they came in has them."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from functools import partial
from typing import Any

from chainette.reports.frames.kinds import (
    MOST_DIGITS,
    Bytes,
    Category,
    Kind,
    Many,
    Moment,
    Number,
    Plain,
    Read,
    Struct,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """What is left of the inputs of a run when it has ended: no rows, but their types.

    Attributes:
        library: The library of the data frame, such as `pandas`; empty for others.
        frame: The data frame, without its rows, or `None`.
        index: The index of a data frame of pandas, or `None`.
        schema: Makes the Arrow schema of the columns.
        kept: Names of the columns that the run keeps; `None` is all.
    """

    library: str = ""
    frame: Any = None
    index: Any = None
    schema: Callable[[], Any] = field(default=lambda: None, repr=False)
    kept: frozenset[str] | None = frozenset()

    def keeps(self, column: str) -> bool:
        """Whether the run keeps a column."""
        return self.kept is None or column in self.kept

    def kinds(self) -> dict[str, Any]:
        """The Arrow types of the columns by name; empty where they are not known."""
        schema = self._known_schema()
        return {} if schema is None else {str(it.name): it.type for it in schema}

    def detached(self) -> Origin:
        """The same without a hold on the inputs, so that it can be pickled."""
        return replace(self, schema=partial(copy, self._known_schema()))

    def _known_schema(self) -> Any:
        try:
            return self.schema()
        except Exception:  # a column of objects that Arrow cannot hold
            return None


def kind_of_arrow(type: Any) -> Kind | None:
    """The kind of JSON values of an Arrow type; `None` where only the values tell it.

    Args:
        type: The Arrow type.
    """
    import pyarrow as pa

    types = pa.types
    plain: tuple[tuple[Callable[[Any], bool], Callable[[], Kind]], ...] = (
        (types.is_boolean, lambda: Plain(bool)),
        (types.is_integer, lambda: Plain(int, type)),
        (types.is_floating, lambda: Plain(float, type)),
        (types.is_decimal, lambda: Number(type if type.precision <= MOST_DIGITS else None)),
        (types.is_date, lambda: Read(date, type)),
        (types.is_timestamp, lambda: Moment(type)),
        (types.is_time, lambda: Read(time, type)),
        (types.is_duration, lambda: Read(timedelta, type)),
        (types.is_large_string, lambda: Plain(str, type)),
        (_is_binary, lambda: Bytes(pa.binary() if str(type) == "binary_view" else type)),
        (_is_text, lambda: Plain(str)),
    )
    for is_kind, make in plain:
        if is_kind(type):
            return make()
    if types.is_dictionary(type) and _is_text(type.value_type):
        return Category()
    if types.is_struct(type):
        fields = {it.name: kind_of_arrow(it.type) for it in type}
        known = {name: kind for name, kind in fields.items() if kind is not None}
        return Struct(known) if known and len(known) == len(fields) else None
    is_list = types.is_list(type) or types.is_large_list(type) or types.is_fixed_size_list(type)
    item = kind_of_arrow(type.value_type) if is_list else None
    return None if item is None else Many(item)


def _is_binary(type: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    is_fixed = types.is_fixed_size_binary(type) and not types.is_decimal(type)
    is_view = str(type) == "binary_view"  # which Arrow 15 does not have yet
    return bool(types.is_binary(type) or types.is_large_binary(type) or is_fixed or is_view)


def _is_text(type: Any) -> bool:
    import pyarrow as pa

    is_view = getattr(pa.types, "is_string_view", lambda _: False)
    return bool(pa.types.is_string(type) or pa.types.is_large_string(type) or is_view(type))

"""The values of a field, counted as its type wants, and the charts that show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timezone
from typing import Any

from chainette.reports.page.document import Block, Kind, bars, histogram
from chainette.reports.page.tallies import FARTHEST, Numbers

FEW = 30
"""Different texts that are offered as choices where rows are filtered."""
MANY_VALUES = 2_000
"""Different values of categories that are counted; all others are one."""
SHOWN = 12
_BUFFERED = 4_096
_DEPTH = 3
_WIDTH = 40
_FORMATS = {"date": date.fromisoformat, "date-time": datetime.fromisoformat}
_JSON = {int: "number", float: "number", str: "text", bool: "yes or no", list: "list",
         dict: "object", type(None): "empty"}  # fmt: skip


class Field:
    """The values of a field.

    Args:
        schema: Its JSON schema; empty where nothing is known about it.
        definitions: What the schema's references name.
        depth: How deep it is in other fields.

    Attributes:
        count: Values so far.
        empty: How many of them are `null`.
    """

    def __init__(
        self, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int = 0
    ) -> None:
        self._definitions = definitions
        self._schema = _resolved(schema, definitions)
        self._depth = depth
        self._buffer: list[Any] = []
        self.count: int = 0
        self._kinds: Counter[type] = Counter()
        self._choices = _choices(self._schema)
        self._values: Counter[Any] | None = Counter(dict.fromkeys(self._choices, 0))
        self._format = _FORMATS.get(self._schema.get("format", ""))
        self._is_decimal = _is_decimal(self._schema)
        self._numbers, self._lengths, self._times = Numbers(), Numbers(), Numbers()
        self._far = 0
        self._items: Field | None = None
        self._inside: dict[str, Field] = {}
        self._has_more = False

    @property
    def empty(self) -> int:
        """Values that are `null`."""
        self._flush()
        return self._kinds[type(None)]

    def add(self, value: Any) -> None:
        """Count a value."""
        self._buffer.append(value)
        if len(self._buffer) >= _BUFFERED:
            self._flush()

    def extend(self, values: Iterable[Any]) -> None:
        """Count values."""
        self._buffer.extend(values)
        if len(self._buffer) >= _BUFFERED:
            self._flush()

    def _flush(self) -> None:
        values, self._buffer = self._buffer, []
        kinds: dict[type, list[Any]] = {}
        for value in values:
            kinds.setdefault(value.__class__, []).append(value)
        self.count += len(values)
        if self._is_decimal and str in kinds:
            kinds.setdefault(float, []).extend(_floats(kinds.pop(str)))
        for kind, found in kinds.items():
            self._kinds[kind] += len(found)
            if kind is str:
                self._add_texts(found)
            elif kind is int or kind is float:
                drawn = [it for it in found if -FARTHEST < it < FARTHEST]
                self._far += len(found) - len(drawn)
                self._numbers.update(drawn)
                self._add_values(found if self._choices else ())
            elif kind is bool:
                self._add_values(found)
            elif kind is list:
                self._add_lists(found)
            elif kind is dict:
                self._add_objects(found)

    def _add_texts(self, texts: list[str]) -> None:
        if self._format is not None:
            self._times.update([*_moments(texts, self._format)])
        self._lengths.update([*map(len, texts)])
        self._add_values(texts)

    def _add_values(self, values: Iterable[Any]) -> None:
        if self._values is None:
            return
        self._values.update(values)
        limit = MANY_VALUES if self._choices else 4 * FEW
        if len(self._values) > limit:
            kept = self._values.most_common(limit) if self._choices else None
            self._values, self._has_more = Counter(dict(kept)) if kept else None, True

    def _add_lists(self, lists: list[list[Any]]) -> None:
        self._lengths.update([*map(len, lists)])
        if self._items is None:
            schema = self._schema.get("items")
            inner = schema if isinstance(schema, dict) else {}
            self._items = Field(inner, self._definitions, self._depth + 1)
        for it in lists:
            self._items.extend(it)

    def _add_objects(self, objects: list[dict[str, Any]]) -> None:
        if self._depth >= _DEPTH:
            return
        properties = self._schema.get("properties", {})
        for found in objects:
            for key, value in found.items():
                inner = self._inside.get(key)
                if inner is None:
                    if len(self._inside) >= _WIDTH:
                        continue
                    schema = properties.get(key, {})
                    inner = Field(schema, self._definitions, self._depth + 1)
                    self._inside[key] = inner
                inner.add(value)

    @property
    def kind(self) -> Kind:
        """What a column of the table with these values is."""
        self._flush()
        kinds = {*self._kinds} - {type(None)}
        if kinds <= {int, float} and kinds:
            return "category" if self._choices else "number"
        if kinds == {bool}:
            return "boolean"
        if kinds == {str}:
            if self._format is not None:
                return "date"
            return "category" if self.options is not None else "text"
        return "list" if kinds == {list} else "other" if kinds else "text"

    @property
    def options(self) -> list[str] | None:
        """The texts that the field can have, if they are few."""
        self._flush()
        if self._kinds[bool] and not {*self._kinds} - {bool, type(None)}:
            return ["true", "false"]
        if self._kinds[list] and self._items is not None:
            return self._items.options if not {*self._kinds} - {list, type(None)} else None
        if not self._kinds[str] or {*self._kinds} - {str, type(None)} or self._values is None:
            return None
        is_few = len(self._values) <= FEW and all(len(it) <= 60 for it in self._values)
        repeats = self._choices or 2 * len(self._values) <= self._kinds[str]
        return sorted(self._values) if is_few and repeats and self._format is None else None

    def charts(self, name: str, column: str | None = None) -> Iterator[Block]:
        """The charts of the field.

        Args:
            name: Its name.
            column: Its column in the table, if it has one.
        """
        self._flush()
        left_out = ((self.empty, "empty"), (self._far, "NaN, infinite or too large to draw"))
        about = ", ".join(f"{n:,} of {self.count:,} are {what}" for n, what in left_out if n)
        drawn = [*self._charts(name, about, column)]
        if len({_JSON.get(kind) for kind in self._kinds} - {"empty"}) > 1:
            kinds = Counter(_JSON.get(kind, "other") for kind in self._kinds.elements())
            yield bars(f"{name}: types of values", kinds.most_common(), total=self.count)
        yield from drawn
        if self._items is not None:
            yield from self._items.charts(f"{name}: the items", column)
        for key, inner in self._inside.items():
            yield from inner.charts(f"{name}.{key}")

    def _charts(self, name: str, about: str, column: str | None) -> Iterator[Block]:
        texts = self._kinds[str]
        if self._choices or self._kinds[bool]:
            yield self._bars(name, about, column)
        elif self._numbers.count or self._far:
            yield _histogram(name, self._numbers, about)
        if texts and self._times.count:
            yield _timeline(name, self._times, about)
        elif texts and not self._choices:
            is_few = self.options is not None
            if not (is_few and self._depth):  # items of lists are shown by their values alone
                said = ", ".join(filter(None, ["length in characters", about]))
                yield _histogram(name, self._lengths, said, "characters")
            if is_few:
                yield self._bars(name, about, column)
        if self._kinds[list]:
            about = ", ".join(filter(None, ["items in a list", about]))
            yield _histogram(name, self._lengths, about, "items")
        if not (self._kinds.total() - self._kinds[type(None)]) and self.count:
            yield bars(name, [("(empty)", self.count)], about="it never has a value")

    def _bars(self, name: str, about: str, column: str | None) -> Block:
        assert self._values is not None
        found = [(_label(it), count) for it, count in self._values.most_common(SHOWN)]
        total = self.count - self.empty
        others = max(total - sum(count for _, count in found), 0)
        return bars(name, found, about=about, total=total, column=column, others=others)


def _is_decimal(schema: Mapping[str, Any]) -> bool:
    """Whether texts are decimal numbers, by their format or by Pydantic's pattern of them."""
    return schema.get("format") == "decimal" or "^(?!^[-+.]*$)" in str(schema.get("pattern", ""))


def _floats(texts: Iterable[str]) -> Iterator[float]:
    for text in texts:
        try:
            yield float(text)
        except ValueError:
            continue


def _label(value: Any) -> str:
    return (
        value if isinstance(value, str) else {True: "true", False: "false"}.get(value, f"{value}")
    )


def _histogram(name: str, numbers: Numbers, about: str, unit: str = "") -> Block:
    bins, is_cut = numbers.bins()
    figures = numbers.figures()
    return histogram(name, bins, about=about, unit=unit, figures=figures, is_cut=is_cut)


def _timeline(name: str, times: Numbers, about: str) -> Block:
    bins, _ = times.bins(is_time=True)
    ends = (_day(it) for it in times.range)
    figures = [*zip(("first", "last"), ends, strict=True)]
    return histogram(name, bins, about=about, figures=figures, is_time=True)


def _day(milliseconds: float) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M").removesuffix(" 00:00")


def _moments(texts: Iterable[str], read: Any) -> Iterator[float]:
    """Dates as milliseconds since 1970; those without a time zone count as UTC."""
    for text in texts:
        try:
            found = read(text.replace("Z", "+00:00"))
            whole = found if isinstance(found, datetime) else datetime(*found.timetuple()[:3])
            zone = whole.tzinfo or timezone.utc
            yield whole.replace(tzinfo=zone).timestamp() * 1000
        except (ValueError, OverflowError):
            continue


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema without references, and without the part that allows `null`."""
    for _ in range(8):
        if "$ref" in schema:
            schema = definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
        elif len(parts := [it for it in _parts(schema) if it.get("type") != "null"]) == 1:
            schema = parts[0]
        else:
            break
    return schema


def _parts(schema: Mapping[str, Any]) -> list[Any]:
    found = schema.get("anyOf") or schema.get("allOf") or schema.get("oneOf") or []
    return [it for it in found if isinstance(it, dict)]


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    """The values that a schema allows, if it names them."""
    found = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return [it for it in found if isinstance(it, str | int | float | bool)]

"""Types whose values are hard to keep in files, and answers that fit them."""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Json,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    RootModel,
    Tag,
    WrapSerializer,
    WrapValidator,
    computed_field,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass
from typing_extensions import TypedDict

T = TypeVar("T")
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
INT = st.integers(-(10**6), 10**6)
FLOAT = st.floats(allow_nan=False, allow_infinity=False, width=32)


def record(**fields: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.fixed_dictionaries(fields)


# Validators that are not idempotent, of every mode


class Percent(BaseModel):
    share: float

    @field_validator("share", mode="before")
    @classmethod
    def _of_hundred(cls, value: Any) -> Any:
        return float(value) / 100


class Bracketed(BaseModel):
    word: str

    @field_validator("word")
    @classmethod
    def _bracket(cls, value: str) -> str:
        return f"<{value}>"


class Wrapped(BaseModel):
    word: Annotated[str, WrapValidator(lambda value, inner: inner(value) + "!")]
    number: Annotated[int, PlainValidator(lambda value: int(value) * 2)]
    before: Annotated[str, BeforeValidator(lambda value: f"{value}.")]


class Shifted(BaseModel):
    low: int
    high: int

    @model_validator(mode="before")
    @classmethod
    def _first(cls, data: Any) -> Any:
        return {**data, "low": data["low"] + 1} if isinstance(data, dict) else data

    @model_validator(mode="wrap")
    @classmethod
    def _around(cls, data: Any, inner: Any) -> Any:
        value = inner(data)
        value.high += 1
        return value

    @model_validator(mode="after")
    def _last(self) -> Shifted:
        self.low *= 2
        return self


class Nested(BaseModel):
    items: list[Percent]
    by_name: dict[str, Bracketed]
    pair: tuple[Percent, Bracketed] | None = None


# Serializers, excluded and computed fields


class Formatted(BaseModel):
    day: date
    amount: Annotated[float, PlainSerializer(lambda value: f"{value:.0f} EUR")]
    words: Annotated[list[str], WrapSerializer(lambda value, inner: "/".join(inner(value)))]

    @field_serializer("day")
    def _german(self, value: date) -> str:
        return value.strftime("%d.%m.%Y")


class AsText(BaseModel):
    low: int
    high: int

    @model_serializer
    def _text(self) -> str:
        return f"{self.low}-{self.high}"


class Angry(BaseModel):
    number: int

    @model_serializer
    def _fails(self) -> Any:
        raise ValueError("no")


class Excluded(BaseModel):
    shown: int
    hidden: str = Field(exclude=True)
    also: int = Field(default=3, exclude=True)


class Computed(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    width: int
    height: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.width * self.height

    @cached_property
    def half(self) -> float:
        return self.width / 2


# Names, defaults, private attributes and configuration


class Aliased(BaseModel):
    first: str = Field(alias="firstName")
    second: int = Field(validation_alias=AliasChoices("2nd", AliasPath("more", 0)))
    third: str = Field(default="x", serialization_alias="drei")


class SerializedByAlias(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        serialize_by_alias=True, alias_generator=str.upper
    )
    first_name: str


class Stamped(BaseModel):
    word: str
    id: UUID = Field(default_factory=uuid4)
    made: datetime = Field(default_factory=datetime.now)
    chance: float = Field(default_factory=random.random)


class Private(BaseModel):
    number: int
    _salt: int = PrivateAttr(default_factory=lambda: random.randrange(10**9))
    _double: int = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        self._double = self.number * 2


class Locked(BaseModel):
    word: Annotated[str, AfterValidator(lambda value: value * 2)]
    _lock: Any = PrivateAttr(default_factory=Lock)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Locked) and self.word == other.word


class Open(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")
    number: int


class Strict(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True)
    day: date
    pair: tuple[int, str]


class Loose(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        str_strip_whitespace=True, str_to_lower=True, coerce_numbers_to_str=True
    )
    word: str


class Initialised(BaseModel):
    number: int

    def __init__(self, **data: Any) -> None:
        super().__init__(**{**data, "number": data["number"] + 1})


class Late(BaseModel):
    wish: int = 1
    ratio: float = 1  # an int by default
    words: tuple[str, ...] = ()


class Frozen(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)
    number: int
    tags: frozenset[str]


class Page(BaseModel, Generic[T]):
    items: list[T]


class Tags(RootModel[list[Percent]]):
    pass


class Named(RootModel[dict[str, int]]):
    pass


class Tree(BaseModel):
    label: Bracketed
    children: list[Tree] = []


# Unions, subclasses and enumerations


class Cat(BaseModel):
    name: str


class Dog(BaseModel):
    name: str
    tricks: list[str] = []


class Puppy(Dog):
    weeks: int = 1


class Owner(BaseModel):
    pet: Cat | Dog
    number: int | float | str | bool | None = None


class Kennel(BaseModel):
    dogs: list[Dog]

    @field_validator("dogs")
    @classmethod
    def _young(cls, value: list[Dog]) -> list[Dog]:
        return [Puppy(**dog.model_dump(), weeks=9) for dog in value]


class A(BaseModel):
    kind: Literal["a"]
    value: Percent


class B(BaseModel):
    kind: Literal["b"]
    value: int


class Either(BaseModel):
    one: Annotated[A | B, Field(discriminator="kind")]
    other: Annotated[
        Annotated[int, Tag("n")] | Annotated[str, Tag("t")],
        Discriminator(lambda value: "n" if isinstance(value, int) else "t"),
    ]


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Place(Enum):
    HERE = (1, 2)
    THERE = (3, 4)


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Rights(Flag):
    READ = 1
    WRITE = 2


class Choices(BaseModel):
    colour: Colour
    level: Level
    rights: Rights
    literal: Literal[1, "1", True, None]
    place: Annotated[Place, BeforeValidator(lambda value: Place[value])]


class EnumValues(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(use_enum_values=True)
    colour: Colour


# Dataclasses, typed dicts and plain types


@dataclass
class Point:
    x: int
    y: float = 0.5
    norm: float = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.x += 1
        self.norm = math.hypot(self.x, self.y)


@checked_dataclass(frozen=True, slots=True, kw_only=True)
class Slotted:
    number: Annotated[int, AfterValidator(lambda value: value + 1)]
    name: str = "n"


class Movie(TypedDict, total=False):
    title: Annotated[str, AfterValidator(str.title)]
    year: Annotated[int, AfterValidator(lambda value: value + 1)]


class Pair(NamedTuple):
    left: int
    right: Annotated[str, AfterValidator(lambda value: value * 2)]


class Types(BaseModel):
    total: Decimal
    gap: timedelta
    moment: datetime
    clock: time
    raw: bytes
    id: UUID
    address: IPv4Address
    path: Path
    pattern: re.Pattern[str]
    link: AnyUrl
    part: Fraction


class Collections(BaseModel):
    numbers: set[int]
    frozen: frozenset[str]
    pair: tuple[int, str]
    queue: deque[int]
    by_number: dict[int, str]
    by_day: dict[date, list[int]]
    ordered: OrderedDict[str, int]
    counts: Counter[str]
    inner: Json[list[int]]


class Numbers(BaseModel):
    any_float: float
    big: int
    mixed: int | float


globals()["Page[Percent]"] = Page[Percent]  # where pickle looks for it
MOMENTS = st.sampled_from(
    ["2024-02-29T12:00:00Z", "2024-03-31T02:30:00.123456+05:30", "1999-12-31T23:59:59", "0"]
)
FIELDS: dict[Any, SearchStrategy[Any]] = {
    Percent: record(share=FLOAT),
    Bracketed: record(word=TEXT),
    Wrapped: record(word=TEXT, number=INT, before=TEXT),
    Shifted: record(low=INT, high=INT),
    Formatted: record(day=st.dates().map(str), amount=FLOAT, words=st.lists(TEXT, max_size=2)),
    AsText: record(low=INT, high=INT),
    Angry: record(number=INT),
    Excluded: record(shown=INT, hidden=TEXT),
    Computed: record(width=INT, height=INT),
    Aliased: record(firstName=TEXT, more=st.tuples(INT))
    | record(**{"firstName": TEXT, "2nd": INT}),
    SerializedByAlias: record(FIRST_NAME=TEXT),
    Stamped: record(word=TEXT),
    Private: record(number=INT),
    Locked: record(word=TEXT),
    Open: st.dictionaries(TEXT.map("x".__add__), INT | TEXT | st.none()).flatmap(
        lambda extra: record(number=INT).map(lambda own: {**extra, **own})
    ),
    Strict: record(day=st.dates().map(str), pair=st.tuples(INT, TEXT)),
    Loose: record(word=TEXT | INT),
    Initialised: record(number=INT),
    Late: st.fixed_dictionaries({}, optional={"wish": INT, "ratio": INT | FLOAT}),
    Frozen: record(number=INT, tags=st.lists(TEXT, max_size=3)),
    Tree: st.recursive(
        record(label=record(word=TEXT)),
        lambda inner: record(label=record(word=TEXT), children=st.lists(inner, max_size=2)),
        max_leaves=4,
    ),
    Owner: record(
        pet=record(name=TEXT) | record(name=TEXT, tricks=st.lists(TEXT, max_size=2)),
        number=INT | FLOAT | TEXT | st.booleans() | st.none(),
    ),
    Kennel: record(dogs=st.lists(record(name=TEXT), max_size=2)),
    Either: record(
        one=record(kind=st.just("a"), value=record(share=FLOAT))
        | record(kind=st.just("b"), value=INT),
        other=INT | TEXT,
    ),
    Choices: record(
        colour=st.sampled_from(["red", "blue"]),
        level=st.sampled_from([1, 2]),
        rights=st.sampled_from([0, 1, 2, 3]),
        literal=st.sampled_from([1, "1", True, None]),
        place=st.sampled_from(["HERE", "THERE"]),
    ),
    EnumValues: record(colour=st.sampled_from(["red", "blue"])),
    Point: record(x=INT, y=FLOAT),
    Slotted: record(number=INT),
    Movie: st.fixed_dictionaries({}, optional={"title": TEXT, "year": INT}),
    Pair: record(left=INT, right=TEXT),
    Types: record(
        total=st.decimals(allow_nan=False, allow_infinity=False).map(str),
        gap=st.timedeltas(timedelta(-999), timedelta(999)).map(timedelta.total_seconds),
        moment=MOMENTS,
        clock=st.sampled_from(["12:00", "23:59:59.5Z", "00:00:01+02:00"]),
        raw=TEXT,
        id=st.uuids().map(str),
        address=st.ip_addresses(v=4).map(str),
        path=TEXT,
        pattern=st.sampled_from(["a+", "^(?:b|c)$", ""]),
        link=st.sampled_from(["https://a.example", "ftp://ä.example/x?y#z", "mailto:a@b.example"]),
        part=st.fractions(max_denominator=99).map(str),
    ),
    Collections: record(
        numbers=st.lists(INT, max_size=3),
        frozen=st.lists(TEXT, max_size=3),
        pair=st.tuples(INT, TEXT),
        queue=st.lists(INT, max_size=3),
        by_number=st.dictionaries(INT.map(str), TEXT, max_size=2),
        by_day=st.dictionaries(st.dates().map(str), st.lists(INT, max_size=2), max_size=2),
        ordered=st.dictionaries(TEXT, INT, max_size=2),
        counts=st.dictionaries(TEXT, INT, max_size=2),
        inner=st.lists(INT, max_size=2).map(json.dumps),
    ),
    Numbers: record(
        any_float=st.floats(), big=st.integers(-(2**70), 2**70), mixed=INT | INT.map(float)
    ),
}


def _models() -> dict[str, tuple[Any, SearchStrategy[Any]]]:
    models = {cls.__name__: (cls, fields) for cls, fields in FIELDS.items()}
    percents = st.lists(FIELDS[Percent], max_size=3)
    brackets = st.dictionaries(TEXT, FIELDS[Bracketed], max_size=2)
    return models | {
        "Nested": (Nested, record(items=percents, by_name=brackets)),
        "Page[Percent]": (Page[Percent], record(items=percents)),
        "Tags": (Tags, percents),
        "Named": (Named, st.dictionaries(TEXT, INT, max_size=3)),
        "Cat | Dog": (Cat | Dog, FIELDS[Owner].map(lambda owner: owner["pet"])),
        "list[Percent]": (list[Percent], percents),
        "dict[str, Bracketed]": (dict[str, Bracketed], brackets),
        "Percent | None": (Percent | None, FIELDS[Percent] | st.none()),
        "Annotated[int]": (Annotated[int, AfterValidator(lambda value: value + 1)], INT),
        "str": (str, TEXT),
        "Decimal": (Decimal, st.decimals(allow_nan=False, allow_infinity=False).map(str)),
        "Any": (
            Any,
            st.recursive(INT | TEXT | st.none(), lambda inner: st.lists(inner, max_size=2)),
        ),
    }


NOT_ITEMS = frozenset(
    (
        "Movie",
        "Pair",
        "list[Percent]",
        "dict[str, Bracketed]",
        "Percent | None",
        "Annotated[int]",
        "Any",
    )
)
"""Types whose values functions drop, split or validate once more: only steps give them."""
HARD: dict[str, tuple[Any, SearchStrategy[Any]]] = _models()
"""A type and a strategy of JSON values that it accepts, by name."""

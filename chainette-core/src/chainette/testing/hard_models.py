"""Pydantic types on which structured output often fails; all bounded, so that answers end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel

Short = Annotated[str, Field(max_length=12)]
T = TypeVar("T")


class Colour(Enum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    """A model inside another one."""

    street: Short
    number: int = Field(ge=1, le=999)


class Person(BaseModel):
    """Nested, with an optional field and a default."""

    name: Short
    address: Address
    nickname: Short | None = None
    colour: Colour = Colour.RED


class Tree(BaseModel):
    """A model that refers to itself."""

    label: Short
    children: list[Tree] = Field(default_factory=list, max_length=2)


class Cat(BaseModel):
    """A member of a union."""

    kind: Literal["cat"]
    lives: int = Field(ge=1, le=9)


class Dog(BaseModel):
    """The other member."""

    kind: Literal["dog"]
    tricks: list[Short] = Field(max_length=2)


class Pet(BaseModel):
    """A union with a discriminator."""

    animal: Annotated[Cat | Dog, Field(discriminator="kind")]


class Invoice(BaseModel):
    """Dates, decimals and constrained numbers."""

    issued: date
    paid: datetime | None
    total: Decimal = Field(max_digits=6, decimal_places=2)
    share: float = Field(ge=0, le=1)


class Aliased(BaseModel):
    """A field with another name in JSON."""

    model_config: ClassVar[ConfigDict] = ConfigDict(populate_by_name=True)

    first_name: Short = Field(alias="firstName")


class Tags(RootModel[list[Short]]):
    """A model of a list."""

    root: list[Short] = Field(min_length=1, max_length=3)


class Scores(BaseModel):
    """A mapping, a pair and a union of plain types."""

    by_subject: dict[Short, int] = Field(max_length=2)
    extremes: tuple[int, int]
    remark: int | Short | None


class Page(BaseModel, Generic[T]):
    """A generic model."""

    items: list[T] = Field(min_length=1, max_length=2)
    more: bool


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: int


HARD_MODELS: dict[str, Any] = {
    "nested": Person,
    "recursive": Tree,
    "discriminated_union": Pet,
    "dates_and_decimals": Invoice,
    "aliased": Aliased,
    "root_list": Tags,
    "mapping_and_tuple": Scores,
    "generic": Page[Address],
    "dataclass": Point,
    "plain_list": list[Colour],
}
"""The types by their difficulty."""

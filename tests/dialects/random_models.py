"""Pydantic models made up at random, of all that schemas of decoders have trouble with."""

from __future__ import annotations

import enum
import random
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union

from chainette.engine.structured.dialects.pattern import rewritten
from pydantic import (
    AnyUrl,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    TypeAdapter,
    create_model,
)
from pydantic_core import SchemaError

ATOMS = [
    *(
        "a",
        "Z",
        "7",
        " ",
        "@",
        "-",
        "_",
        "/",
        "é",
        "中",
        "😀",
        r"\.",
        r"\-",
        r"\/",
        r"\\",
        '"',
        "'",
    ),
    *(r"\+", r"\$", r"\^", r"\(", r"\[", r"\{", r"\|", r"\t", r"\n", r"\x41", r"\u00e9", r"\x{42}"),
    *(r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", ".", "[a-z]", "[A-Z0-9_]", r"[\w.-]", r"[\d\s]"),
    *("[^@ ]", r"[^\s\"]", r"[^a-z]", r"[^\\]", "[é-ü]", "[😀-😂]", r"[\]\[]", r"[-a]", r"[^\d]"),
    *("(foo|bar)", "(?:ab|cd|)", "(a|b[0-9]|c)", "(?P<n>x)", "(?:(a)|(b))", "()", "(a?b?)", "(a*)"),
]
FOREIGN = [
    *(
        r"\b",
        r"\B",
        "(?i)a",
        "(?i:ab)",
        "(?s:.)",
        r"\p{L}",
        r"\p{Greek}",
        "[[:alpha:]]",
        "[a-z&&b]",
    ),
    *("(?=a)a", "(?!b)a", "(?<=a)b", "(?<!a)b", r"(a)\1", "(?>a)", "a++", r"\pL", r"(?<n>y)"),
]
COUNTS = ["", "", "", "?", "*", "+", "{2}", "{1,3}", "{0,2}", "{2,}", "??", "+?", "*?", "{0}"]
ENDS = [("^", "$"), ("^", "$"), ("^", "$"), ("", ""), ("^", ""), ("", "$"), (r"\A", r"\z")]


class RandomField(NamedTuple):
    """A field's type, and whether llama.cpp's dialect holds answers to all of it."""

    annotation: Any
    is_enforced: bool


class RandomModel(NamedTuple):
    """A model, and its fields whose rules are said in words."""

    model: type[BaseModel]
    in_words: frozenset[str]


class Colour(enum.Enum):
    RED = 're"d'
    BLUE = "b\\lue"
    NONE = "new\nline"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 20


class Inner(BaseModel):
    """A model with a "quote", and\na line break."""

    name: str = Field(max_length=6)
    size: int = Field(default=3, ge=0, le=99)


def is_valid(pattern: str, engine: str) -> bool:
    try:
        if engine == "python-re":
            re.compile(pattern)
        else:
            TypeAdapter(Annotated[str, Field(pattern=pattern)]).validate_python("a" * 3)
    except (re.error, SchemaError, FutureWarning):
        return False
    except ValueError:  # the text does not match
        return True
    return True


def random_pattern(chance: random.Random, engine: str) -> str:
    """A pattern that is valid in the syntax of an engine."""
    while True:
        parts = [
            chance.choice(FOREIGN if chance.random() < 0.06 else ATOMS) + chance.choice(COUNTS)
            for _ in range(chance.randint(1, 4))
        ]
        inner = "".join(parts)
        if chance.random() < 0.15:
            inner = "|".join(parts)
        if chance.random() < 0.1:
            inner = f"({inner}){chance.choice(COUNTS)}"
        first, last = chance.choice(ENDS)
        pattern = first + inner + last
        if is_valid(pattern, engine):
            return pattern


def text_of_pattern(chance: random.Random, engine: str) -> RandomField:
    pattern = random_pattern(chance, engine)
    limits = {"max_length": 12} if chance.random() < 0.3 else {}
    found = rewritten(pattern, escapes=True, most=limits.get("max_length"))
    if found is None and limits:  # no text has this length
        return RandomField(str, True)
    is_enforced = found is not None and found.has_lengths
    return RandomField(Annotated[str, Field(pattern=pattern, **limits)], is_enforced)


SIMPLE: list[Callable[[], RandomField]] = [
    lambda: RandomField(Annotated[str, Field(max_length=12)], True),
    lambda: RandomField(Annotated[str, Field(min_length=2, max_length=9)], True),
    lambda: RandomField(Annotated[str, Field(max_length=3000)], True),
    lambda: RandomField(int, True),
    lambda: RandomField(bool, True),
    lambda: RandomField(float, True),
    lambda: RandomField(None, True),
    lambda: RandomField(Annotated[int, Field(ge=1, le=5)], True),
    lambda: RandomField(Annotated[int, Field(gt=-4, lt=2000)], True),
    lambda: RandomField(Annotated[int, Field(ge=0, le=10**20)], False),
    lambda: RandomField(Annotated[int, Field(multiple_of=5)], False),
    lambda: RandomField(Annotated[float, Field(ge=0, lt=1)], False),
    lambda: RandomField(Decimal, True),
    lambda: RandomField(Annotated[Decimal, Field(max_digits=6, decimal_places=2)], True),
    lambda: RandomField(Annotated[Decimal, Field(decimal_places=0)], True),
    lambda: RandomField(Annotated[Decimal, Field(max_digits=4, ge=0)], True),
    lambda: RandomField(Annotated[Decimal, Field(gt=5)], False),
    lambda: RandomField(date, False),  # the shape, but not the days of a month
    lambda: RandomField(datetime, False),
    lambda: RandomField(NaiveDatetime, False),
    lambda: RandomField(time, True),
    lambda: RandomField(timedelta, False),
    lambda: RandomField(uuid.UUID, True),
    lambda: RandomField(AnyUrl, False),
    lambda: RandomField(Colour, True),
    lambda: RandomField(Level, True),
    lambda: RandomField(Literal["yes", 'n"o', "ma\\ybe", "é\n"], True),
    lambda: RandomField(Literal[1, "one", None, True], True),
    lambda: RandomField(Inner, True),
    lambda: RandomField(Any, True),
    lambda: RandomField(tuple[()], True),
]


def random_field(chance: random.Random, engine: str, depth: int = 0) -> RandomField:
    """A type of any kind."""
    kind = chance.random()
    if kind < 0.4:
        return text_of_pattern(chance, engine)
    if kind < 0.75 or depth > 1:
        return chance.choice(SIMPLE)()
    inner, is_enforced = random_field(chance, engine, depth + 1)
    holders: list[RandomField] = [
        RandomField(Annotated[list[inner], Field(max_length=2)], is_enforced),
        RandomField(Annotated[list[inner], Field(min_length=1, max_length=3)], is_enforced),
        RandomField(Annotated[dict[str, inner], Field(max_length=2)], False),
        RandomField(dict[Annotated[str, Field(pattern="^k")], inner], False),
        RandomField(tuple[inner, int], is_enforced),
        RandomField(Optional[inner], is_enforced),  # noqa: UP045
        RandomField(Union[int, inner], is_enforced),  # noqa: UP007
    ]
    return chance.choice(holders)


def random_model(seed: int) -> RandomModel:
    """The model of a seed, the same one each time."""
    chance = random.Random(seed)
    engine = chance.choice(["rust-regex", "rust-regex", "python-re"])
    fields: dict[str, Any] = {}
    in_words: set[str] = set()
    for name in chance.sample(["reasoning", "answer", "größe", "a b", "type", "x-1"], 2):
        field = random_field(chance, engine)
        fields[f"f{len(fields)}"] = (field.annotation, Field(alias=name, description='A "field".'))
        if not field.is_enforced:
            in_words.add(name)
    config = ConfigDict(regex_engine=engine)  # type: ignore[typeddict-item]
    return RandomModel(create_model(f"M{seed}", __config__=config, **fields), frozenset(in_words))

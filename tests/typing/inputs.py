"""Types of rows from nothing, and of their samplers."""

import datetime as dt
from collections.abc import Mapping, Sequence
from enum import Enum
from random import Random
from typing import Any

from chainette import Chain, Run, Step, rows
from chainette.samplers import (
    Sampler,
    boolean,
    choice,
    constant,
    date,
    datetime,
    faker,
    integer,
    normal,
    number,
    optional,
    several,
    subset,
    switch,
    template,
    uuid,
)
from models import Review, Sentiment
from typing_extensions import assert_type


class Tone(Enum):
    DRY = "dry"


assert_type(choice("dry", "warm"), Sampler[str])
assert_type(choice(["dry", "warm"]), Sampler[str])
assert_type(choice({1: 0.5, 2: 0.5}), Sampler[int])
assert_type(choice(Tone), Sampler[Tone])
assert_type(choice(1, 2, weights=[3, 1]), Sampler[int])
assert_type(subset("a", "b", size=(1, 2)), Sampler[list[str]])
assert_type(constant(5), Sampler[int])
assert_type(boolean(0.2), Sampler[bool])
assert_type(integer(18, 90), Sampler[int])
assert_type(number(0, 1), Sampler[float])
assert_type(normal(5, 2, low=0), Sampler[float])
assert_type(date("2024-01-01", dt.date(2024, 2, 1)), Sampler[dt.date])
assert_type(datetime("2024-01-01", "2024-02-01", step="hour"), Sampler[dt.datetime])
assert_type(uuid(), Sampler[str])
assert_type(template("{{ a }}"), Sampler[str])
assert_type(faker("name", locale="de_DE"), Sampler[Any])
assert_type(optional(integer(1, 2)), Sampler[int | None])
assert_type(several(integer(1, 2), (1, 3)), Sampler[list[int]])
assert_type(switch("a", {"b": integer(1, 2)}, default=None), Sampler[Any])
values: Sampler[int | str] = integer(1, 2)  # what draws numbers draws numbers or texts
integer("18", 90)  # type: ignore[arg-type]  # pyright: ignore
datetime("2024-01-01", "2024-02-01", step="week")  # type: ignore[arg-type]  # pyright: ignore


def aged(row: Mapping[str, Any], rng: Random, row_id: int) -> int:
    return rng.randint(1, 9) + row_id


drawn = rows(10, seed=7, text=choice("a", "b"), age=aged, more=lambda row: row["age"] + 1)
columns: Sequence[dict[str, Any]] = drawn
assert_type(drawn[0], dict[str, Any])
assert_type(drawn[:2], list[dict[str, Any]])
rows("10")  # type: ignore[arg-type]  # pyright: ignore
label = Step(
    id="label",
    input_model=Review,
    output_model=Sentiment,
    engine_name="small",
    user_prompt="{{ text }}",
)
assert_type(Chain(name="labels", steps=label).run(drawn), Run[Sentiment])
assert_type(
    Chain(name="labels", steps=label).run(rows(9, {"text": "a"}, given=[{}])), Run[Sentiment]
)

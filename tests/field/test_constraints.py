"""Constraints that a server's decoder does not enforce: said in words, and named when they fail."""

from __future__ import annotations

import enum
import json
import math
import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest
from chainette import Chain, Step
from chainette.engine.structured.schema import OutputSchema
from chainette.testing.servers import FakeOllama, FakeOpenAI
from pydantic import AwareDatetime, BaseModel, Field, PastDate, create_model


class Row(BaseModel):
    n: int


RULES: dict[str, tuple[Any, Any, str, str]] = {
    # type of the field; a value that breaks it; what the description says; what the correction says
    "range of a float": (
        Annotated[float, Field(ge=0, lt=1)],
        1.5,
        "At least 0. Less than 1.",
        "field: Input should be less than 1",
    ),
    "step of an integer": (
        Annotated[int, Field(multiple_of=5)],
        3,
        "A multiple of 5.",
        "field: Input should be a multiple of 5",
    ),
    "pattern": (
        Annotated[str, Field(pattern=r"(?i)^[A-Z]{3}-\d$")],
        "abc",
        "Must match the regular expression `(?i)^[A-Z]{3}-\\d$`.",
        r"field: String should match pattern",
    ),
    "digits of a Decimal": (
        Annotated[Decimal, Field(max_digits=4, decimal_places=2)],
        "1.234",
        "At most 4 digits. At most 2 decimal places.",
        "field: Decimal input should have no more than 2 decimal places",
    ),
    "range of a Decimal": (
        Annotated[Decimal, Field(gt=0)],
        "-1",
        "More than 0",
        "field: Input should be greater than 0",
    ),
    "format of a timedelta": (
        timedelta,
        "an hour",
        "Format: duration, as PT1H30M in ISO 8601.",
        "field: Input should be a valid duration",
    ),
    "range of a timedelta": (
        Annotated[timedelta, Field(le=timedelta(hours=2))],
        "PT3H",
        "At most PT2H.",
        "field: Input should be less than or equal to 2 hours",
    ),
    "range of a date": (
        Annotated[date, Field(ge=date(2020, 1, 1))],
        "2019-01-01",
        "Not before 2020-01-01.",
        "field: Input should be greater than or equal to 2020-01-01",
    ),
    "a date in the past": (PastDate, "2999-01-01", "In the past.", "field: Date should be in the"),
    "a time zone": (
        AwareDatetime,
        "2026-01-01T00:00:00",
        "With a time zone.",
        "field: Input should have timezone info",
    ),
    "members of a list": (
        list[Annotated[float, Field(ge=0)]],
        [-1],
        "At least 0.",
        "field.0: Input should be greater than or equal to 0",
    ),
    "an optional number": (
        Annotated[float, Field(ge=0)] | None,
        -1,
        "At least 0.",
        "field: Input should be greater than or equal to 0",
    ),
    "values of a dict": (
        dict[str, Annotated[float, Field(le=5)]],
        {"a": 9},
        "At most 5.",
        "field.a: Input should be less than or equal to 5",
    ),
}
SERVERS: dict[str, Any] = {
    "llamacpp": (FakeOpenAI, {"backend": "llamacpp"}),
    "ollama_api": (FakeOllama, {"backend": "ollama_api"}),
}


def model_of(annotation: Any) -> type[BaseModel]:
    return create_model("Answer", field=(annotation, Field(description="What it is")))


@pytest.mark.parametrize("backend", SERVERS)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_that_llama_cpp_does_not_enforce_is_in_the_description_and_in_the_second_try(
    rule: str, backend: str, make_engine: Any
) -> None:
    annotation, bad, description, correction = RULES[rule]
    server_class, fields = SERVERS[backend]
    with server_class(lambda _: json.dumps({"field": bad})) as server:
        make_engine(endpoint=server.endpoint, **fields)
        step = Step(
            id="s",
            input_model=Row,
            output_model=model_of(annotation),
            engine_name="e",
            user_prompt="{{ n }}",
        )
        (result,) = Chain(name="c", steps=step).run([{"n": 1}]).results
        first, second = server.requests
    schema = first.schema["properties"]["field"]
    assert description in json.dumps(schema, ensure_ascii=False).replace("\\\\", "\\")
    if not isinstance(bad, list | dict):
        assert schema["description"].startswith("What it is. ")
    assert correction in second.messages[-1]["content"]
    assert correction in str(result.error)
    assert "errors.pydantic.dev" not in str(result.error)


@pytest.mark.parametrize("rule", RULES)
def test_openai_strict_has_each_rule_as_a_keyword_or_in_words(rule: str) -> None:
    annotation, _, description, _ = RULES[rule]
    schema = OutputSchema(model_of(annotation)).strict.schema
    field = json.dumps(schema["properties"]["field"], ensure_ascii=False).replace("\\\\", "\\")
    keywords = ("minimum", "maximum", "exclusiveM", "multipleOf", "pattern", "format")
    lacks = [word for word in description.split(". ") if word.strip(".") not in field]
    assert not lacks or any(f'"{keyword}' in field for keyword in keywords)


def test_rules_without_a_keyword_are_in_words_for_every_server() -> None:
    class Answer(BaseModel):
        day: date = Field(gt=date(2020, 1, 1), description="A day!")
        price: Decimal = Field(decimal_places=2)
        at: datetime

    fields = OutputSchema(Answer).schema["properties"]
    assert fields["day"]["description"] == "A day! After 2020-01-01."
    assert fields["price"]["description"] == "At most 2 decimal places."
    assert "description" not in fields["at"]
    assert "x-chainette" not in json.dumps(OutputSchema(Answer).schema)


def test_what_llama_cpp_enforces_is_not_repeated() -> None:
    class Inner(BaseModel):
        age: int = Field(ge=0, le=150)
        name: str = Field(min_length=1, max_length=9)
        tags: list[str] = Field(min_length=1, max_length=3)
        day: date

    class Answer(BaseModel):
        inner: Inner
        default: int = 3

    schema = OutputSchema(Answer).in_dialect("llama_cpp")
    assert "description" not in json.dumps(schema)


def test_the_second_try_names_every_rule_that_failed(make_engine: Any) -> None:
    names = [f"f{n}" for n in range(6)]
    fields: Any = {name: (Annotated[float, Field(ge=0)], ...) for name in names}
    bad = json.dumps(dict.fromkeys(names, -1))
    with FakeOpenAI(lambda _: bad) as server:
        client = make_engine(endpoint=server.endpoint, backend="llamacpp")
        client.generate(["hi"], output_model=create_model("Answer", **fields))
        correction = server.requests[1].messages[-1]["content"]
    assert re.findall(r"(f\d): Input should be greater than or equal to 0", correction) == names


DIALECTS = ("openai_strict", "llama_cpp", "xgrammar", "plain")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_infinite_numbers_leave_a_schema_that_is_json(dialect: str) -> None:
    """Servers answer 400 to `Infinity`, which JSON does not have (RFC 8259, 6)."""

    class Span(BaseModel):
        most: float = math.inf
        least: float = Field(-math.inf, examples=[math.nan, 1.5])

    made = OutputSchema(Span)
    for schema in (made.in_dialect(dialect), made.shape.in_dialect(dialect)):
        text = json.dumps(schema, allow_nan=False)
        assert "Infinity" in text
    json.loads(made.instruction.partition("\n")[2], parse_constant=pytest.fail)
    assert made.adapter.validate_json("{}") == Span()


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


def test_keys_that_are_read_into_numbers_are_texts_in_the_schema() -> None:
    schema = OutputSchema(dict[Level, str]).in_dialect("plain")
    assert schema["propertyNames"] == {"enum": ["1", "2"]}

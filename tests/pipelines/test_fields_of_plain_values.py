"""Fields that prompts, conditions and keys take from values that have none."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import pytest
from chainette import Chain, Code, Step, apply, reduce, repeat, route
from chainette.errors import ChainError
from chainette.testing import fake_engine
from pydantic import BaseModel


class Author(BaseModel):
    name: str = "A"


class Row(BaseModel):
    article: str = "text"
    author: Author = Author()
    authors: list[Author] = []
    day: date = date(2026, 1, 1)
    kind: Literal["a", "b"] = "a"


def first(output_model: Any) -> Step[Row, Any]:
    return Step(
        id="first",
        input_model=Row,
        output_model=output_model,
        engine_name="e",
        user_prompt="{{ article }}",
    )


def second(input_model: Any, prompt: str) -> Step[Any, str]:
    return Step(id="second", input_model=input_model, engine_name="e", user_prompt=prompt)


def count(row: Row) -> int:
    return len(row.article)


def same(value: Any) -> Any:
    return value


PLAIN = {
    "a text": str, "a number": int, "a fraction": float, "true or false": bool,
    "code": Code("python"), "perhaps": str | None, "one of two": str | int,
    "one of some": Literal["a", "b"], "a set": set[str], "a list": list[str],
}  # fmt: skip


@pytest.mark.parametrize("form", ["{{ first.summary }}", "{{ first['summary'] }}"])
@pytest.mark.parametrize("name", PLAIN)
def test_a_field_of_a_plain_output_is_refused_when_the_chain_is_built(name: str, form: str) -> None:
    model: Any = PLAIN[name]
    with pytest.raises(ChainError, match=r"step 'second', user_prompt: 'first' is a.* no field"):
        Chain(name="c", steps=[first(model), second(model, form)])


REFUSED: dict[str, tuple[Any, str]] = {
    "a function's output": (
        [apply(count), second(int, "{{ count.words }}")],
        "'count' is an int and has no field 'words'; use count itself",
    ),
    "a field of the row": (
        second(Row, "{{ article.heading }}"), "'article' is a str and has no field 'heading'",
    ),
    "a field with the name of a method": (
        second(Row, "{{ article.title }}"),
        r"'article' is a str and has no field 'title' \(for its method, write article.title\(\)\)",
    ),
    "a field of items with the name of a method": (
        [first(list[Author]), second(list[Author], "{{ first.count }}")],
        "'first' is a list and has no field 'count'",
    ),
    "a field of a field": (
        second(Row, "{{ chain_input.article.heading }}"), "'chain_input.article' is a str",
    ),
    "a field of a model inside": (
        second(Row, "{{ author.nam }}"), r"'author' has no field 'nam' \(did you mean 'name'\?\)",
    ),
    "deep inside": (
        second(Row, "{{ chain_input.author.name.first }}"), "'chain_input.author.name' is a str",
    ),
    "in a loop": (
        second(Row, "{% for it in chain_input.authors %}{{ it.nam }}{% endfor %}"),
        "'it' has no field 'nam'",
    ),
    "a date": (second(Row, "{{ day.jear }}"), "'day' is a date and has no field 'jear'"),
    "a condition": (
        [first(str), apply(same, input_model=str, output_model=str, when="first.ok")],
        "apply 'same', when: 'first' is a str and has no field 'ok'",
    ),
    "until": (
        repeat(first(str), until="first.ok", id="r"), "until: 'first' is a str and has no field",
    ),
    "a key of a route": (
        [first(str), route("first.kind", id="r").case("a", None).default(None)],
        "by: 'first' is a str",
    ),
    "a key of groups": (
        [first(str), reduce(apply(same, id="g"), by="first.kind")], "by: 'first' is a str",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_field_that_there_cannot_be_is_refused(name: str) -> None:
    steps, message = REFUSED[name]
    with pytest.raises(ChainError, match=message):
        Chain(name="c", steps=steps)


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        (str, "{{ first.upper() }}"),
        (str, "{{ first.split()[0].lower() }}"),
        (str, "{{ first[0] }} {{ first[1:] }}"),
        (int, "{{ first.real }}"),
        (list[str], "{{ first.count('a') }}"),
        (list[Author], "{{ first[0].name }}"),
        (dict[str, str], "{{ first.summary }}"),
        (str | Author, "{{ first.name }}"),
        (Any, "{{ first.summary }}"),
    ],
)
def test_methods_and_what_is_not_certain_are_allowed(model: Any, prompt: str) -> None:
    Chain(name="c", steps=[first(model), second(model, prompt)])


def test_a_date_and_the_text_of_a_step_keep_what_they_have() -> None:
    steps = [first(str), second(str, "{{ chain_input.day.year }} {{ first.upper() }}")]
    with fake_engine("e", ["good", "fine"]) as engine:
        assert Chain(name="c", steps=steps).run_one({}) == "fine"
    assert engine.requests[1][-1]["content"] == "2026 GOOD"


@pytest.mark.parametrize(
    ("steps", "meant"),
    [
        ([first(str), second(str, "{{ article }}")], "chain_input.article"),
        ([first(Author), apply(lambda it: 1, id="n", input_model=Author, output_model=int),
          second(int, "{{ name }}")], "first.name"),
    ],
)  # fmt: skip
def test_the_owner_of_a_field_is_named(steps: list[Any], meant: str) -> None:
    with pytest.raises(ChainError) as caught:
        Chain(name="c", steps=steps)
    assert f"(did you mean '{meant}'?)" in str(caught.value)

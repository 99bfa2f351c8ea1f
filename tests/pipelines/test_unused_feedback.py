"""A repeat whose feedback no prompt uses is told of when the chain is built."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from chainette import Branch, Chain, Step, apply, repeat
from pydantic import BaseModel


class Row(BaseModel):
    text: str


class Verdict(BaseModel):
    ok: bool
    feedback: str


def step(id: str = "s", prompt: str = "{{ text }}", **fields: Any) -> Step[Row, Any]:
    fields = {"output_model": Row, **fields}
    return Step(id=id, input_model=Row, engine_name="e", user_prompt=prompt, **fields)


def judged() -> Step[Row, Any]:
    return step("judge", output_model=Verdict)


def short(row: Row) -> str | None:
    return None


async def short_later(row: Row) -> str:
    return ""


def good(row: Row) -> bool:
    return True


def open_end(row: Row):  # type: ignore[no-untyped-def]
    return "longer"


def plain(row: Row) -> Row:
    return row


def with_names(row: Row, names: Mapping[str, Any]) -> Row:
    return row


WARNED: dict[str, Callable[[], Any]] = {
    "a function with feedback": lambda: repeat(step(), until=short, id="r"),
    "a coroutine": lambda: repeat(step(), until=short_later, id="r"),
    "a judge": lambda: repeat(step(), until=judged(), id="r"),
    "a function in front": lambda: repeat([apply(plain), step()], until=short, id="r"),
}
QUIET: dict[str, Callable[[], Any]] = {
    "feedback": lambda: repeat(step(prompt="{{ text }} {{ feedback }}"), until=short, id="r"),
    "previous": lambda: repeat(step(prompt="{{ text }} {{ previous }}"), until=short, id="r"),
    "round": lambda: repeat(step(prompt="{{ text }} {{ round }}"), until=judged(), id="r"),
    "a system prompt": lambda: repeat(step(system_prompt="{{ feedback }}"), until=short, id="r"),
    "in a branch": lambda: repeat(
        [Branch("b", step("t", "{{ feedback }} {{ text }}")).join("a"), step()], until=short, id="r"
    ),
    "a function with the names": lambda: repeat([apply(with_names), step()], until=short, id="r"),
    "a condition": lambda: repeat(step(when="not feedback"), until=short, id="r"),
    "no feedback": lambda: repeat(step(), until=good, id="r"),
    "not certain": lambda: repeat(step(), until=open_end, id="r"),
    "an expression": lambda: repeat(step(), until="text", id="r"),
    "other sampling": lambda: repeat(
        step(sampling={"temperature": [0, 1]}), until=judged(), id="r"
    ),
    "one round": lambda: repeat(step(), until=short, id="r", max_rounds=1),
    "no prompts": lambda: repeat(apply(plain), until=short, id="r"),
}


@pytest.mark.parametrize("name", [*WARNED, *QUIET])
def test_feedback_that_no_prompt_uses_causes_one_warning(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = (WARNED | QUIET)[name]()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            Chain(name="c", steps=node)
    said = [it.getMessage() for it in caplog.records]
    assert len(said) == (name in WARNED)
    if said:
        assert said[0].startswith("repeat 'r': no prompt in it uses feedback or previous")
        assert said[0].endswith(
            "add {% if feedback %}{{ feedback }}{% endif %} to that of step 's'"
        )

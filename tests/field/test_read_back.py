"""Values that are read back from a run's files are the values that were there."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from chainette import Chain, Step, apply
from chainette.testing import fake_engine
from hard_values import HARD, NOT_ITEMS
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from same import same

EXAMPLES = int(os.environ.get("READ_BACK_EXAMPLES", "20"))
"""Values of each type; more for a thorough search."""
TOGETHER = 20
"""Values of one run."""

every_model = pytest.mark.parametrize("name", HARD)


class Row(BaseModel):
    number: int


class Word(BaseModel):
    word: str


def answers(values: list[Any]) -> Callable[[Any], str]:
    """The engine's answer to `answer N`, and to any other prompt."""

    def answer(messages: Any) -> str:
        verb, _, number = messages[-1]["content"].partition(" ")
        return json.dumps(values[int(number)]) if verb == "answer" else '{"word": "w"}'

    return answer


def chain_of(name: str, seen: dict[int, Any]) -> Chain:
    """A step that answers with a type, a function that notes it, and a step that shows it."""
    model, _ = HARD[name]
    is_item = name not in NOT_ITEMS
    # A model whose serializer fails cannot be in a prompt.
    shown = "chain_input.number" if name == "Angry" else "answer"

    def note(value: Any, names: Any) -> Any:
        seen[names["chain_input"].number] = copy.deepcopy(value)
        return value if is_item else Word(word="w")

    def step(id: str, takes: Any, gives: Any, prompt: str) -> Step[Any, Any]:
        return Step(
            id=id, input_model=takes, output_model=gives, engine_name="e", user_prompt=prompt
        )

    given = model if is_item else Word
    return Chain(
        name="read_back",
        steps=[
            step("answer", Row, model, "answer {{ number }}"),
            apply(note, input_model=model, output_model=given),
            step("say", given, Word, f"say {{{{ {shown} }}}}"),
        ],
    )


def rows(count: int) -> list[Row]:
    return [Row(number=number) for number in range(count)]


def check_each(name: str, check: Callable[[list[Any]], None]) -> None:
    """Check a type with generated answers, several in each run."""
    values = st.lists(HARD[name][1], min_size=TOGETHER, max_size=TOGETHER)
    options = settings(
        max_examples=max(1, EXAMPLES // TOGETHER), phases=[Phase.generate], deadline=None
    )
    options(given(values)(check))()


@every_model
def test_a_value_is_the_same_in_memory_and_on_disk(name: str) -> None:
    def check(values: list[Any]) -> None:
        seen: dict[int, Any] = {}
        with TemporaryDirectory() as folder, fake_engine("e", answers(values)):
            run = chain_of(name, seen).run(rows(len(values)), output_dir=folder)
            assert [result.error for result in run.results] == [None] * len(values)
            for result in run.results:
                assert same(result.outputs["answer"], seen[result.row_id])
                if name not in NOT_ITEMS:
                    assert same(result.outputs["note"], seen[result.row_id])

    check_each(name, check)

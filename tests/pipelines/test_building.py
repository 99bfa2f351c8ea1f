"""Mistakes that are found when a chain is built, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from chainette import Branch, Chain, SamplingParams, Step, apply, get_engine
from chainette.errors import ChainError
from chainette.testing import fake_engine
from pydantic import BaseModel, Field


class Row(BaseModel):
    text: str


class Score(BaseModel):
    score: int = Field(le=10)


def step(**fields: Any) -> Step[Any, Any]:
    defaults = {
        "id": "s", "input_model": Row, "output_model": Row, "engine_name": "e",
        "user_prompt": "{{ text }}",
    }  # fmt: skip
    return Step(**{**defaults, **fields})


def one(row: Row) -> Row:
    return row


def several(row: Row) -> list[Row]:
    return [row]


def ranked(rows: list[Row]) -> list[Row]:
    return rows


def lengths(rows: list[Row]) -> Row:
    return rows[0]


def by_text(rows: dict[str, Row]) -> list[Row]:
    return list(rows.values())


def no_order(rows: list[Row]) -> set[str]:
    return {row.text for row in rows}


def nothing() -> None:
    return None


def keyword(row: Row, *, amount: int) -> Row:
    return row


def chain(*steps: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=list(steps))


def twice(part: Any, *others: Any) -> Chain[Any, Any]:
    return chain(part, *others, part)


STEPS: list[tuple[dict[str, Any], str]] = [
    ({"sampling": {"temprature": 0}}, "unknown key 'temprature' (did you mean 'temperature'?)"),
    ({"sampling": {"temperature": -1}}, "temperature: expected a number of at least 0"),
    ({"sampling": {"n": 3}}, "n=3 would pay for 3 completions"),
    ({"sampling": {1: 2}}, "unknown key '1'"),
    ({"sampling": SamplingParams}, "sampling is a class; give SamplingParams(temperature=0)"),
    ({"sampling": 0.5}, "sampling is a float; give SamplingParams(temperature=0)"),
    (
        {"user_prompt": [{"role": "user", "content": "{{ text }}"}]},
        "give a text, not a list; a con",
    ),
    (
        {"system_prompt": ("a", "b")},
        "step 's', system_prompt: give a text, not a tuple; a conversa",
    ),
    ({"user_prompt": Path("prompt.txt")}, "; read the file: path.read_text()"),
    ({"user_prompt": 5}, "step 's', user_prompt: give a text, not an int"),
    ({"system_prompt": None}, "give a text, not None; for no text, leave it out"),
    ({"output_format_instruction": ["JSON"]}, "output_format_instruction: give a text, not a list"),
    ({"id": None}, "step id is None; give a text"),
    ({"engine_name": None}, "step 's': engine_name is None; give the name of an engine"),
    ({"input_model": "Row"}, "step 's': input_model is the text 'Row'; give the type itself"),
    ({"output_model": Row(text="a")}, "output_model is one Row, not a type; give its class: Row"),
    ({"output_model": [Row]}, "output_model is a list, not a type; give list[Row]"),
    (
        {"output_model": {"text": str}},
        "output_model is a dict, not a type; give a class of Pydantic",
    ),
]
PARTS: list[tuple[Any, str]] = [
    (Step, "Step is the class; give a Step(…)"),
    (Branch, "Branch is the class; give a Branch(…)"),
    (one, "'one' is a function, not a step; wrap it: apply(one)"),
    (lambda row: row, "wrap it: apply(function, id=…)"),
    (partial(one), "wrap it: apply(function)"),
    (None, "None is not a node of a chain; what was to make it may have"),
    ("s", "'s' is not a node of a chain; give the step itself, not its id"),
    (Row, "is not a node of a chain; the nodes are Step(…), apply(fn), split"),
    (Row(text="a"), "is not a node of a chain; the nodes are Step(…), apply(fn), split"),
    (5, "5 is not a node of a chain; the nodes are Step(…), apply(fn), split"),
    ({"a": 1}, "the steps are a dict, not a list; give [a, b] in their order"),
    (iter([1]), "the steps are a list_iterator, not a list; give [a, b] in their order"),
    ({1}, "the steps are a set, not a list; give [a, b] in their order"),
]
OTHERS: dict[str, tuple[Callable[[], Any], str]] = {
    "a function of a list, later": (
        lambda: chain(apply(several), apply(ranked)),
        "Row], but apply 'several' gives Row; items come one at a time: to take several, say how "
        'many with apply(ranked, batch=8), or batch="all"',
    ),
    "a function of a list, after a step": (
        lambda: chain(step(), apply(ranked)), "say how many with apply(ranked, batch=8)",
    ),
    "a function of a list, first": (
        lambda: chain(apply(ranked)), "if each row is a list, give it as input_model",
    ),
    "a batch of one": (
        lambda: apply(one, batch=2),
        "apply 'one': with batch it is called with a list; annotate it as list[Row], not Row",
    ),
    "a batch that gives one": (
        lambda: apply(lengths, batch="all"),
        "apply 'lengths': with batch it returns a list; annotate it as list[Row], not Row",
    ),
    "a batch of a dict": (lambda: apply(by_text, batch=2), "annotate it as list["),
    "a batch without order": (lambda: apply(no_order, batch=2), "with batch it returns a list"),
    "batch=True": (lambda: apply(ranked, batch=True), "batch is True; give a number from 1"),
    "no parameter": (lambda: apply(nothing), "the function has no parameter; it gets an item"),
    "a keyword": (lambda: apply(keyword), "the function needs row, amount; it gets an item"),
    "a step as a function": (
        lambda: apply(step()), "is a step already; put it into the chain as it is",  # type: ignore[call-overload]
    ),
    "a function's name": (
        lambda: apply("module:one"), "give the function itself, not its name",  # type: ignore[call-overload]
    ),
    "a function's output": (
        lambda: apply(one(Row(text="a"))), "give the function itself, not what it returned",  # type: ignore[call-overload]
    ),
    "a function's id": (lambda: apply(one, id=5), "apply id is 5; give a text"),  # type: ignore[call-overload]
    "a branch's name": (lambda: Branch(name=None, steps=step()), "branch: name is None"),  # type: ignore[call-overload]
    "a branch's alias": (lambda: Branch("b", step()).join(5), "alias is 5; give a text"),  # type: ignore[arg-type]
    "a branch without steps": (lambda: Branch(name="b", steps=[]), "branch 'b' has no steps"),
    "a chain's name": (lambda: Chain(name=None, steps=step()), "chain: name is None"),  # type: ignore[call-overload]
    "a step twice": (
        lambda: twice(step()),
        "the same step 's' is in it 2 times; make another one, with another id, for each place",
    ),
    "a function twice": (lambda: twice(apply(one)), "the same apply 'one' is in it 2 times"),
    "a step in two branches": (
        lambda: (lambda it: chain(Branch("a", it), Branch("b", it)))(step()),
        "the same step 's' is in it 2 times",
    ),
    "a branch twice": (
        lambda: twice(Branch("b", step()), apply(one)),
        "the same branch 'b' is in it 2 times; make another one, with another name",
    ),
    "two steps of one id": (lambda: chain(step(), step()), "2 steps have the id 's'"),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), STEPS)
def test_wrong_arguments_of_steps(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ChainError) as caught:
        step(**fields)
    assert message in str(caught.value)


def test_an_engine_in_the_place_of_its_name() -> None:
    with fake_engine("e"), pytest.raises(ChainError, match="give the name of the engine, not the"):
        step(engine_name=get_engine("e"))


@pytest.mark.parametrize(("part", "message"), PARTS, ids=lambda it: type(it).__name__)
def test_what_is_no_part_of_a_chain(part: Any, message: str) -> None:
    builds: list[Callable[[], Any]] = [
        lambda: Chain(name="c", steps=part),
        lambda: Chain(name="c", steps=[part]),
        lambda: Chain(name="c", steps=[step(), [part]]),
        lambda: Branch(name="b", steps=part),
        lambda: step() >> part,
        lambda: step() | part,
    ]
    for build in builds:
        with pytest.raises(ChainError) as caught:
            build()
        assert message in str(caught.value)


@pytest.mark.parametrize("case", OTHERS)
def test_other_mistakes(case: str) -> None:
    build, message = OTHERS[case]
    with pytest.raises(ChainError) as caught:
        build()
    assert message in str(caught.value)


def test_sampling_is_a_mapping_as_in_yaml() -> None:
    sampling = {"temperature": 0, "stop": "END"}
    assert step(sampling=sampling).sampling == SamplingParams(temperature=0, stop=["END"])


def test_rows_that_are_lists_are_taken_as_they_are() -> None:
    node: Any = apply(ranked, input_model=list[Row])
    assert chain(node).run([[{"text": "a"}]]).results[0].unwrap() == [Row(text="a")]


RETURNED: list[tuple[Any, Any, str]] = [
    ("good", Score, "apply 'f' returned a str, not a Score"),
    (3, Score, "apply 'f' returned an int, not a Score"),
    (Row(text="a"), Score, "apply 'f' returned a Row, not a Score"),
    (Row(text="a"), int, "apply 'f' returned a Row, not an int"),
    (b"a", list[str], "apply 'f' returned a bytes, not a list[str]"),
    ({"score": 11}, Score, "apply 'f' returned a dict that is not a Score: score: Input should"),
    ({}, Score, "apply 'f' returned a dict that is not a Score: 'score' is missing"),
    ("x", int, "apply 'f' returned a str that is not an int: Input should be a valid integer"),
    ([Score(score=1), "a"], Score, "apply 'f' returned a list whose item 1 is a str, not a Score"),
    (
        ["a"],
        list[str],
        "apply 'f' returned a list whose item 0 is a str, not a list[str]; a list is always "
        "several items: put one value that is a list into a model",
    ),
    ((it for it in "a"), Score, "apply 'f' returned a list whose item 0 is a str, not a Score"),
]


@pytest.mark.parametrize(("value", "model", "message"), RETURNED)
def test_what_a_function_returned_is_said_in_plain_words(
    value: Any, model: Any, message: str
) -> None:
    node: Any = apply(lambda row: value, id="f", input_model=Row, output_model=model)
    error = chain(node).run([{"text": "a"}]).results[0].error
    assert str(error).startswith(message)


def test_what_a_batch_returned_is_said_in_plain_words() -> None:
    def scores(rows: list[Row]) -> list[Score]:
        return ["good" for _ in rows]  # type: ignore[misc]

    def unordered(rows: Any) -> Any:
        return {row.text for row in rows}

    def generated(rows: list[Row]) -> Iterator[Row]:
        yield from rows

    rows = [{"text": "a"}, {"text": "b"}]
    first = chain(apply(scores, batch=2)).run(rows).results[0].error
    assert str(first) == "apply 'scores' returned a str, not a Score"
    node: Any = apply(unordered, batch=2, input_model=Row, output_model=str)
    second = chain(node).run(rows).results[0].error
    assert "needs a list of the same length, got set" in str(second)
    assert chain(apply(generated, batch=2)).run(rows).counts.ok == 2

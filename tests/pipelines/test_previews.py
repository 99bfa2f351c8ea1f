"""The first answers of a run on a terminal: what a cell shows, and how much of it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from chainette import Branch, Chain, Group, Step, apply, pipe, reduce
from chainette.cli.tables import answers, failures, group_answers
from chainette.cli.tree import tree
from pydantic import AfterValidator, BaseModel
from rich.console import Console


class Turn(BaseModel):
    speaker: str
    text: str


class Debate(BaseModel):
    n: int
    turns: list[Turn] = []
    names: list[str] = []
    best: Turn | None = None


LONG = "The lamp hums when it rains. " * 100


def debate(row: Debate) -> Debate:
    turns = [Turn(speaker="A", text="hello")]
    return Debate(n=row.n, turns=turns, names=["A", "B"], best=turns[0])


def numbers(row: Debate) -> list[int]:
    return [*range(row.n)]


def half(n: int) -> int:
    return n // 2


def long(row: Debate) -> Debate:
    return Debate(n=row.n, turns=[Turn(speaker=str(n), text=LONG) for n in range(40)])


def long_items(row: Debate) -> list[Turn]:
    return [Turn(speaker=str(n), text=LONG) for n in range(40)]


def text(row: Debate) -> str:
    return LONG


def lines(row: Debate) -> str:
    return "\n".join(str(n) for n in range(100))


def odd(row: Debate) -> str:
    return "\ud800 half"


def count(group: Group[Any]) -> int:
    return len(group.items)


def same(group: Group[Any]) -> list[Any]:
    return group.items


def shown(*nodes: Any, n: int = 3, width: int = 120) -> str:
    chain = Chain(name="c", steps=pipe(*nodes))
    run = chain.run([{"n": n}])
    console = Console(width=width)
    with console.capture() as capture:
        for grid in (answers(run, chain, width), *group_answers(run, chain, width)):
            console.print(grid)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def test_what_was_before_a_split_is_shown_once() -> None:
    found = shown(apply(debate), apply(numbers), apply(half), n=9)
    assert found.count("hello") == 2  # among the turns, and the best one
    assert "n: 9" in found
    assert "0 (2 times)" in found


def test_equal_items_of_a_branch_are_shown_once() -> None:
    branch = Branch("b", [apply(numbers), apply(lambda n: "yes", id="yes", input_model=int)])
    assert shown(branch, apply(debate)).count("yes") == 2  # the name of the column, and the value


def test_models_in_a_cell_are_json() -> None:
    found = shown(apply(debate))
    assert '"speaker": "A", "text": "hello"' in found
    assert "names: A, B" in found
    assert "Turn(" not in found
    assert "speaker='A'" not in found


def test_a_list_of_models_has_a_line_for_each() -> None:
    found = shown(reduce(apply(same)), apply(lambda it: [it], id="x", output_model=Debate))
    assert "n: 3" in found


@pytest.mark.parametrize("fn", [long, long_items, text, lines])
@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_cell_does_not_fill_the_screen(fn: Any, width: int) -> None:
    found = shown(apply(fn), width=width)
    assert len(found.splitlines()) <= 18
    assert "…" in found
    assert "……" not in found


def test_items_that_have_no_room_are_counted() -> None:
    assert "… and 38 more items" in shown(apply(long_items), width=80)
    assert "… and 29 more items" in shown(apply(numbers), n=40)
    assert "more items" not in shown(apply(numbers), n=12)


def test_texts_that_are_not_unicode_are_shown() -> None:
    assert "half" in shown(apply(odd))


def test_all_rows_have_no_key() -> None:
    found = shown(reduce(apply(count)))
    assert "all rows" in found
    assert "null" not in found


def test_the_failure_of_all_rows_has_no_key() -> None:
    def wrong(group: Group[Debate]) -> int:
        raise ValueError("no")

    chain = Chain(name="c", steps=reduce(apply(wrong)))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(failures(chain.run([{"n": 1}]), chain))
    assert "group all rows" in capture.get()


def test_a_type_that_may_be_none_says_so() -> None:
    chain = Chain(name="c", steps=apply(lambda it: it, id="x", output_model=Turn | None))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tree(chain))
    assert "Turn | None" in capture.get()


def test_the_tree_says_what_a_function_and_a_step_do_besides() -> None:
    def unlooped(text: str) -> str:
        return text

    def pieces(text: str) -> list[str]:
        return [text]

    word = Annotated[str, AfterValidator(unlooped)]
    steps = [
        Step(
            id="ask",
            input_model=Turn,
            output_model=word,
            engine_name="e",
            user_prompt="{{ chain_input }}",
            reasks=3,
        ),
        apply(pieces),
        apply(lambda text: [text], id="words", input_model=str, output_model=list[word]),
    ]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tree(Chain(name="c", steps=steps), icons=False))
    shown = [line.strip("├└─ ") for line in capture.get().splitlines()]
    assert shown[1:] == [
        "ask  Turn → str  engine e  3 reasks",
        "pieces  str → str  several items",
        "words  str → list[str]",
    ]

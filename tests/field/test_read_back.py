"""Values that are read back from a run's files are the values that were there."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import re
import subprocess
import sys
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from threading import Lock
from time import sleep
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import read_back_chain
from chainette import Branch, Chain, Step, apply
from chainette.errors import OutputDirError, ServerError
from chainette.reports.results import StoredResults
from chainette.testing import fake_engine
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from hard_values import (
    HARD,
    NOT_ITEMS,
    Angry,
    AsText,
    Cat,
    Colour,
    Computed,
    Dog,
    Excluded,
    Formatted,
    Late,
    Pair,
    Percent,
    Puppy,
    Shifted,
)
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from same import same

EXAMPLES = int(os.environ.get("READ_BACK_EXAMPLES", "20"))
"""Values of each type; more for a thorough search."""
TOGETHER = min(EXAMPLES, 50)
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
        seen[names["chain_input"].number] = value if name == "Locked" else copy.deepcopy(value)
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


@every_model
def test_a_resumed_run_continues_with_the_values_that_were_there(name: str) -> None:
    def check(values: list[Any]) -> None:
        first: dict[int, Any] = {}
        again: dict[int, Any] = {}
        answer = answers(values)

        def fail(messages: Any) -> Any:
            is_answer = messages[-1]["content"].startswith("answer")
            return answer(messages) if is_answer else ServerError("gone")

        with TemporaryDirectory() as folder:
            with fake_engine("e", fail) as engine:
                chain_of(name, first).run(rows(len(values)), output_dir=folder)
                prompts = prompts_of(engine)
            with fake_engine("e", answers([])) as engine:
                chain = chain_of(name, again)
                run = chain.run(rows(len(values)), output_dir=folder, retry_errors=True)
                assert prompts_of(engine) == {prompt for prompt in prompts if "say" in prompt}
                for result in run.results:
                    assert same(result.outputs["answer"], first[result.row_id])
            assert run.counts.ok == len(values)
            assert not (again.keys() - first.keys())

    check_each(name, check)


def prompts_of(engine: Any) -> set[str]:
    return {messages[-1]["content"] for messages in engine.requests}


# Functions


class Plain:
    def __init__(self, number: int) -> None:
        self.number = number


@dataclass
class Holder:
    number: int
    lock: Any = None


def cat_or_dog(row: Row) -> Cat | Dog:
    return Cat(name="c") if row.number % 2 else Dog(name="d", tricks=["sit"])


def subclass(row: Row) -> Dog:
    return Puppy(name="p", weeks=row.number)


def several(row: Row) -> list[Cat | Dog]:
    return [Cat(name="c"), Puppy(name="p", weeks=row.number)]


def untyped(row):  # type: ignore[no-untyped-def]
    return {"cat": Cat(name="c"), "when": datetime(2024, 1, row.number + 1), "pair": (1, {2})}


def constructed(row: Row) -> Percent:
    return Percent.model_construct(share=row.number)


def twice(row: Row) -> Shifted:
    return Shifted(low=row.number, high=0)


def halves(row: Row) -> Late:
    return Late(wish=row.number)


def surrogate(row: Row) -> Word:
    return Word.model_construct(word=f"half \ud800 {row.number}")


def base(row: Row) -> BaseModel:
    return Percent(share=row.number)


def hidden(row: Row) -> Excluded:
    return Excluded(shown=1, hidden=f"h{row.number}")


def angry(row: Row) -> Angry:
    return Angry(number=row.number)


class Simple(BaseModel):
    """A model whose values would come back, had they been validated."""

    number: int = 0
    ratio: float = 0.5
    text: str = ""
    when: datetime | None = None
    pair: tuple[int, str] = (1, "x")
    parts: list[Cat] = []
    flag: bool = False
    short: Annotated[str, Field(max_length=3)] = ""
    named: dict[str, int] = {}


ODD: list[dict[str, Any]] = [
    {},
    {"number": True},
    {"number": 1.0},
    {"ratio": 1},
    {"ratio": math.nan},
    {"text": 5},
    {"text": "\ud800"},
    {"when": datetime(2024, 1, 1, tzinfo=timezone.utc)},
    {"when": datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))},
    {"when": "2024-01-01"},
    {"pair": [1, "x"]},
    {"parts": (Cat(name="c"),)},
    {"parts": [Dog(name="d")]},
    {"flag": 1},
    {"short": "longer than that"},
    {"named": {1: 2}},
    {"more": 1},
]


@pytest.mark.parametrize("fields", ODD, ids=str)
def test_a_value_that_was_not_validated_is_read_back_as_it_was(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    def make(row: Row) -> Simple:
        return Simple.model_construct(**fields)

    run = Chain(name="o", steps=[apply(make)]).run(rows(1), output_dir=tmp_path / "run")
    (result,) = run.results
    assert same(result.value, Simple.model_construct(**fields))


FUNCTIONS = [
    *(cat_or_dog, subclass, several, untyped, constructed, twice, halves, surrogate, base),
    *(hidden, angry),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_output_of_a_function_is_read_back_and_not_computed_again(
    function: Any, tmp_path: Path
) -> None:
    calls: list[int] = []
    made: dict[int, Any] = {}

    def counted(row: Row) -> Any:
        calls.append(row.number)
        made[row.number] = function(row)
        return made[row.number]

    def chain() -> Chain:
        node = apply(function)
        counting = apply(counted, id="f", output_model=node.output_model)
        step = Step(
            id="say", input_model=Any, output_model=Word, engine_name="e",
            user_prompt="{{ chain_input.number }} {{ f is mapping }}",
        )  # fmt: skip
        return Chain(name="f", steps=[counting, step])

    with fake_engine("e", lambda messages: ServerError("gone")):
        chain().run(rows(4), output_dir=tmp_path / "run")
    with fake_engine("e", lambda messages: '{"word": "w"}'):
        run = chain().run(rows(4), output_dir=tmp_path / "run", retry_errors=True)
    assert sorted(calls) == [0, 1, 2, 3]
    for result in run.results:
        assert result.ok
        assert same(result.outputs["f"], made[result.row_id])


def test_a_last_function_that_yields_nothing_still_gives_the_value(tmp_path: Path) -> None:
    def shown(row: Row) -> Word:
        return Word(word=str(row.number))

    def last(word: Word) -> Dog:
        return Puppy(name=word.word, weeks=2)

    chain = Chain(name="l", steps=[apply(shown), apply(last, yield_output=False)])
    run = chain.run(rows(3), output_dir=tmp_path / "run")
    assert [result.value for result in run.results] == [
        Puppy(name=str(number), weeks=2) for number in range(3)
    ]


def test_the_outputs_of_a_branch_that_split_are_read_back(tmp_path: Path) -> None:
    def parts(row: Row) -> list[Dog]:
        return [Puppy(name="a", weeks=row.number), Dog(name="b")]

    def price(dog: Dog) -> Percent:
        return Percent(share=50)

    branch = Branch(name="side", steps=[apply(parts), apply(price)])
    run_one = Chain(name="b", steps=[branch, apply(hidden)])
    run = run_one.run(rows(3), output_dir=tmp_path / "run")
    for result in run.results:
        assert result["parts"] == [Puppy(name="a", weeks=result.row_id), Dog(name="b")]
        assert result["price"] == [Percent(share=50)] * 2
        assert result.value == hidden(Row(number=result.row_id))


@pytest.mark.parametrize("kind", ["class", "dataclass", "any"])
def test_what_files_cannot_hold_is_said_once_and_computed_again(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    types = {"class": Plain, "dataclass": Holder, "any": Any}

    def make(row: Row) -> Any:
        calls.append(row.number)
        if kind == "class":
            return Plain(row.number)
        return Holder(row.number, Lock()) if kind == "dataclass" else {"lock": Lock()}

    def shown(value: Any) -> Word:
        return Word(word=str(getattr(value, "number", 0)))

    def chain() -> Chain:
        node = apply(make, output_model=types[kind])
        step = Step(
            id="say", input_model=Word, output_model=Word, engine_name="e", user_prompt="{{ word }}"
        )
        return Chain(name="p", steps=[node, apply(shown), step])

    with fake_engine("e", lambda messages: ServerError("gone")):
        chain().run(rows(3), output_dir=tmp_path / "run")
    assert [record.message for record in caplog.records if "make" in record.message] == [
        "apply 'make': its outputs cannot be read back "
        f"({'Plain' if kind == 'class' else 'lock'} is not data): run.results has them as JSON, "
        "and the function is called again when the run is resumed"
    ]
    with fake_engine("e", lambda messages: '{"word": "w"}'):
        run = chain().run(rows(3), output_dir=tmp_path / "run", retry_errors=True)
    assert sorted(calls) == [0, 0, 1, 1, 2, 2]
    assert run.counts.ok == 3
    assert not any(isinstance(result.outputs["make"], Holder | Plain) for result in run.results)


# Tables


def test_tables_have_what_the_models_serializers_write(tmp_path: Path) -> None:
    values = {
        "computed": Computed(width=2, height=3),
        "formatted": Formatted(day="2024-01-02", amount=5, words=["a", "b"]),
        "text": AsText(low=1, high=2),
        "excluded": Excluded(shown=1, hidden="x"),
        "puppy": Puppy(name="p", weeks=3),
    }

    def table(run: Any) -> list[dict[str, Any]]:
        return run.to_arrow().drop_columns(["row_id", "number"]).to_pylist()

    def chain() -> Chain:
        def make(id: str, value: Any) -> Any:
            return apply(
                lambda row: value, id=id, input_model=Any,
                output_model=Dog if id == "puppy" else type(value),
            )  # fmt: skip

        return Chain(name="t", steps=[make(id, value) for id, value in values.items()])

    run = chain().run(rows(1), output_dir=tmp_path / "run")
    (line,) = table(run)
    assert line == {
        "computed.width": 2, "computed.height": 3, "computed.area": 6,
        "formatted.day": "02.01.2024", "formatted.amount": "5 EUR", "formatted.words": "a/b",
        "text": "1-2", "excluded.shown": 1,
        "puppy.name": "p", "puppy.tricks": [], "puppy.weeks": 3,
    }  # fmt: skip
    assert table(chain().run(rows(1))) == [line]
    (result,) = run.results
    assert all(same(result.outputs[id], value) for id, value in values.items())


# Inputs in memory


def frame(count: int) -> Any:
    return pl.DataFrame({"number": range(count)})


INPUTS = {
    "dicts": lambda count: [{"number": number, "tags": {"a", "b"}} for number in range(count)],
    "models": rows,
    "tuple": lambda count: tuple(rows(count)),
    "surrogates": lambda count: [{"number": number, "x": "\ud800"} for number in range(count)],
    "frame": frame,
    "table": lambda count: frame(count).to_arrow(),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_a_run_is_not_resumed_on_a_list_that_has_changed(kind: str, tmp_path: Path) -> None:
    def price(row: Row) -> Percent:
        return Percent(share=row.number)

    def run(inputs: Any, **options: Any) -> Any:
        chain = Chain(name="p", steps=[apply(price)])
        return chain.run(inputs, output_dir=tmp_path / "run", **options)

    make = INPUTS[kind]
    run(make(3))
    assert run(make(3), resume=True).nothing_to_do
    for other in (make(4), make(2), make(3)[::-1]):
        with pytest.raises(OutputDirError, match="changed since: the inputs;"):
            run(other, resume=True)
    assert run(make(4), resume=True, force=True).counts.ok == 4


def test_rows_that_hold_objects_have_no_digest(tmp_path: Path) -> None:
    def price(row: dict[str, Any]) -> Percent:
        return Percent(share=row["number"])

    chain = Chain(name="p", steps=[apply(price)])
    inputs = [{"number": 1, "lock": Lock()}]
    chain.run(inputs, output_dir=tmp_path / "run")
    assert chain.run(inputs, output_dir=tmp_path / "run", resume=True).counts.ok == 1


# Runs that are killed

ROWS = int(os.environ.get("READ_BACK_ROWS", "6"))
"""Values of each type in a run that is killed."""


def generated(name: str, count: int) -> list[Any]:
    values: list[Any] = []

    def collect(some: list[Any]) -> None:
        values.extend(some)

    strategy = st.lists(HARD[name][1], min_size=TOGETHER, max_size=TOGETHER)
    options = settings(
        max_examples=1 + 2 * count // TOGETHER, phases=[Phase.generate], deadline=None
    )
    options(given(strategy)(collect))()
    return (values * count)[:count]


@pytest.mark.exhaustive
def test_a_run_that_is_killed_and_resumed_has_the_values_that_were_there(tmp_path: Path) -> None:
    values = [generated(name, ROWS) for name in read_back_chain.NAMES]

    def answer(messages: Any) -> Reply:
        index, number = map(int, messages[-1]["content"].split())
        return Reply(json.dumps(values[index][number]))

    run, kills = tmp_path / "run", 0
    with FakeOpenAI(answer) as server:
        command = [
            sys.executable, read_back_chain.__file__, str(run), str(ROWS), server.endpoint,
        ]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
        wanted = ROWS * len(values)
        for share in (0.2, 0.5, 0.8, 2):  # of all answers, before the process is killed
            process = subprocess.Popen(command, env=environment)
            while process.poll() is None and len(server.requests) < share * wanted:
                sleep(0.01)
            kills += process.poll() is None
            process.kill()
            process.wait()
        assert kills == 3
        assert process.returncode == 0
        assert len(server.requests) <= wanted + 16 * kills
    with run.with_suffix(".notes").open("rb") as notes, Path(os.devnull).open("ab") as nowhere:
        stored = StoredResults(run, read_back_chain.chain(nowhere), ROWS)
        results = {result.row_id: result.outputs for result in stored}
        count = 0
        while True:
            try:
                index, number, value = pickle.load(notes)
            except EOFError:
                break
            count += 1
            assert same(results[number][f"m{index}"], value), read_back_chain.NAMES[index]
    assert count >= wanted


# Functions that change what they get


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_function_that_changes_its_item_leaves_earlier_outputs_alone(
    on_disk: bool, tmp_path: Path
) -> None:
    def clean(word: Word, names: Any) -> Word:
        word.word = word.word.strip()
        names["chain_input"].number = -1
        assert names["chain_input"].number == -1
        return word

    inputs = rows(2)
    step = Step(
        id="say", input_model=Row, output_model=Word, engine_name="e", user_prompt="{{ number }}"
    )
    last = Step(
        id="last", input_model=Word, output_model=Word, engine_name="e",
        user_prompt="{{ chain_input.number }} [{{ say.word }}] [{{ word }}]",
    )  # fmt: skip
    with fake_engine("e", lambda messages: '{"word": " w "}') as engine:
        chain = Chain(name="c", steps=[step, apply(clean), last])
        run = chain.run(inputs, output_dir=tmp_path / "run" if on_disk else None)
    assert inputs == rows(2)
    for result in run.results:
        assert result["say"] == Word(word=" w ")
        assert result["clean"] == Word(word="w")
    assert {"0 [ w ] [w]", "1 [ w ] [w]"} < prompts_of(engine)


@pytest.mark.parametrize(
    "value",
    [
        Counter({"a": 2, "b": -1}),
        OrderedDict(b=1, a=2),
        deque([1, 2]),
        {1: "a", None: "b", (1, 2): {"c"}},
        {"$model": ["os:system", "x"]},
        {"$": 1},
        [{"$tuple": [1]}, ()],
        {"half \ud800": 1, "b": 2},
        [1, 1.0, True, -0.0, math.inf, 2**200],
        timedelta(-1, 5, 7),
        [datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), time(1, 2)],
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
        [b"\x00\xff", bytearray(b"a"), 1 + 2j, Decimal("1.10"), Decimal("NaN")],
        [Path("a/b"), PureWindowsPath("c:/d"), UUID(int=5), re.compile("a", re.IGNORECASE)],
        list(Colour),
        Pair(1, "x"),
    ],
    ids=repr,
)
def test_any_data_is_read_back_from_a_function_without_a_type(value: Any, tmp_path: Path) -> None:
    def make(row: Row) -> Any:
        return {"value": value}

    run = Chain(name="a", steps=[apply(make)]).run(rows(1), output_dir=tmp_path / "run")
    (result,) = run.results
    assert same(result.value["value"], value)

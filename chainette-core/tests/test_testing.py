from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import anyio
import pytest
from chainette import Chain, Step, get_engine_config, register_engine
from chainette.errors import EngineError, RateLimitError, UnknownEngineError
from chainette.testing.fake_engine import fake_engine, forbid_requests
from chainette.testing.sample import sample
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter

Make = Callable[..., str]


class Color(enum.Enum):
    RED = "red"


class Node(BaseModel):
    value: int
    children: list[Node] = []
    next: Node | None = None


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]
    age: Annotated[int, Field(gt=3, multiple_of=5)]


class Hard(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=10, max_length=12)
    short: str = Field(max_length=2)
    whole: int = Field(ge=3, lt=5)
    negative: int = Field(lt=0)
    real: float = Field(gt=0, lt=1)
    below: float = Field(lt=-1)
    color: Color
    day: date
    moment: datetime
    clock: time
    span: timedelta
    id: uuid.UUID
    price: Decimal
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    pair: tuple[int, str]
    many: list[Dog] = Field(min_length=2)
    unique: set[int] = Field(min_length=3)
    table: dict[str, list[int]] = Field(min_length=1)
    tree: Node
    anything: Any
    alias: int = Field(alias="theAlias")
    flag: bool
    nothing: None


class Many(RootModel[list[Hard]]):
    pass


def chain(*outputs: Any) -> Chain:
    steps, input_model = [], Node
    for index, output in enumerate(outputs):
        steps.append(
            Step(
                id=f"s{index}", input_model=input_model, output_model=output, engine_name="e",
                user_prompt=f"Step {index} of {{{{ chain_input.value }}}}",
            )
        )  # fmt: skip
        input_model = output
    return Chain(name="c", steps=steps)


ROWS = [{"value": 1}, {"value": 2}]


@pytest.mark.parametrize("model", [Hard, Many, Node, dict[str, int], list[Color], int, bool, str])
def test_generated_answers_are_valid_for_any_output_model(model: Any) -> None:
    with fake_engine("e") as engine:
        run = chain(model).run(ROWS)
    assert [result.ok for result in run.results] == [True, True], run.results[0].error
    assert len(engine.requests) == 2
    assert run.usage["s0"].prompt_tokens > 0


@given(st.integers(-50, 50), st.integers(0, 20), st.integers(1, 7))
def test_generated_numbers_keep_their_bounds(low: int, room: int, step: int) -> None:
    for limits in (
        {"ge": low, "le": low + room + step, "multiple_of": step},
        {"gt": low, "lt": low + room + 2 * step, "multiple_of": step},
        {"lt": low}, {"le": low}, {"gt": low}, {"ge": low},
    ):  # fmt: skip
        for kind in (int,) if "multiple_of" in limits else (int, float):
            adapter = TypeAdapter(Annotated[kind, Field(**limits)])  # type: ignore[valid-type]
            adapter.validate_python(sample(adapter.json_schema()))


def test_an_engine_outside_of_its_block_is_named() -> None:
    chain_of_one = chain(int)
    fake_engine("e")
    with pytest.raises(UnknownEngineError, match=r"; fake_engine\('e'\) is one inside its block"):
        chain_of_one.run(ROWS)
    with fake_engine("e"):
        assert chain_of_one.run(ROWS).counts.ok == 2
    with pytest.raises(UnknownEngineError) as caught:
        chain_of_one.run(ROWS)
    assert "fake_engine" not in str(caught.value)


def test_types_whose_answers_cannot_be_generated_are_reported() -> None:
    class Plate(BaseModel):
        number: str = Field(pattern="(?i)[A-Z]{2}-[0-9]+")

    class Endless(BaseModel):
        again: Endless

    with fake_engine("e"):
        for model, message in ((Plate, "pattern"), (Endless, "infinitely deep")):
            assert message in str(chain(model).run(ROWS).results[0].error)


def test_answers_from_a_list_are_used_in_order(caplog: pytest.LogCaptureFixture) -> None:
    with fake_engine("e", [Node(value=5), {"value": 6}, '{"value": 7}'], max_concurrency=1):
        run = chain(Node).run([*ROWS, {"value": 3}, {"value": 4}])
    assert [r.value.value for r in run.results if r.ok] == [5, 6, 7]
    assert "no more answers" in str(run.results[3].error)
    assert [it for it in caplog.messages if "fake engine 'e': the script has no more" in it]


def test_answers_are_chosen_by_words_of_the_prompt() -> None:
    with fake_engine("e", {"of 1": {"value": 10}, "of 2": RateLimitError("slow down")}):
        run = chain(Node).run([*ROWS, {"value": 3}])
    assert run.results[0].value == Node(value=10)
    assert "slow down" in str(run.results[1].error)
    assert "no answer to: Step 0 of 3" in str(run.results[2].error)


def test_answers_come_from_a_function() -> None:
    with fake_engine("e", lambda messages: {"value": len(messages[-1]["content"])}):
        assert chain(Node, Node).run(ROWS).results[0].value == Node(value=len("Step 1 of 1"))


def test_plain_text_is_supported() -> None:
    with fake_engine("e") as engine:
        assert engine.generate(["hello"])[0].outputs[0].text == "text"


def test_the_real_engine_is_restored_afterwards(scripted: Make) -> None:
    real = register_engine("e", backend="scripted").engine
    with fake_engine("e") as fake:
        assert get_engine_config("e").engine is fake
    assert get_engine_config("e").engine is real
    with fake_engine("other"):
        pass
    with pytest.raises(UnknownEngineError):
        get_engine_config("other")


def test_real_requests_can_be_forbidden(scripted: Make) -> None:
    register_engine("real", backend="scripted")
    real = get_engine_config("real").engine
    with forbid_requests():
        with pytest.raises(BaseException) as exc_info:  # noqa: PT011  a group around it
            real.generate(["x"])
        assert "real requests are forbidden" in repr(exc_info.value)
        with fake_engine("e"):
            assert chain(Node).run(ROWS).counts.ok == 2
        other = chain(Node)
        other.steps[0].engine_name = "real"
        with pytest.raises(RuntimeError, match=r"'real'.*forbidden"):
            other.run(ROWS)
    assert isinstance(anyio.run(real.complete, "x").error, EngineError)

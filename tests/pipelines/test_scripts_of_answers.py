"""Scripts of fake engines: several answers to one prompt, and the faults of servers."""

from __future__ import annotations

from typing import Any

import pytest
from chainette import Chain, Step, register_engine
from chainette.errors import (
    EngineError,
    OutputTruncatedError,
    RefusalError,
    StructuredOutputError,
)
from chainette.testing import fake_engine, faults, in_turn
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel


class Row(BaseModel):
    text: str


class Named(BaseModel):
    name: str


STEP = Step(
    id="s", input_model=Row, output_model=Named, engine_name="e", user_prompt="Name {{ text }}"
)
CHAIN = Chain(name="c", steps=STEP)
ROWS = [{"text": "lamp"}, {"text": "bike"}]


def test_a_key_can_have_several_answers_in_turn_and_the_last_repeats() -> None:
    answers = {"lamp": in_turn("bad", {"name": "L"}), "bike": Named(name="B")}
    with fake_engine("e", answers) as engine:
        assert [it.unwrap().name for it in CHAIN.run(ROWS).results] == ["L", "B"]
        assert len(engine.requests) == 3
        assert CHAIN.run_one(ROWS[0]) == Named(name="L")


def test_a_server_answers_in_turn_as_well() -> None:
    with FakeOpenAI({"lamp": in_turn(faults.wrong_schema(), {"name": "L"})}) as server:
        register_engine("e", backend="openai", endpoint=server.endpoint, model="m")
        assert CHAIN.run_one(ROWS[0]) == Named(name="L")
    assert len(server.requests) == 2


def test_no_answer_in_turn_is_refused() -> None:
    with pytest.raises(TypeError, match="at least one answer"):
        in_turn()


FAULTS: dict[str, tuple[Any, type[EngineError]]] = {
    "cut": (faults.cut(), OutputTruncatedError),
    "wrong schema": (faults.wrong_schema(), StructuredOutputError),
    "refusal": (faults.refusal(), RefusalError),
    "filter": (faults.content_filter(), RefusalError),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_the_answer_itself_need_no_server(name: str) -> None:
    fault, error = FAULTS[name]
    with fake_engine("e", {"": fault}), pytest.raises(error):
        CHAIN.run_one(ROWS[0])
    with fake_engine("e", [Reply()]):
        assert isinstance(CHAIN.run_one(ROWS[0]), Named)


@pytest.mark.parametrize(
    "fault", [faults.status(503), faults.slow(1), faults.stalled(), faults.html_page()]
)
def test_a_fault_of_the_connection_says_what_to_use(fault: Any) -> None:
    with (
        fake_engine("e", [fault]),
        pytest.raises(EngineError, match="no connection for Reply") as e,
    ):
        CHAIN.run_one(ROWS[0])
    assert "chainette.testing.servers" in str(e.value)

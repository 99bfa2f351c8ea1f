"""What the model receives when its answer was not valid."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from chainette import Chain, Step, register_engine
from chainette.engine.client.request import LONGEST_ECHO
from chainette.errors import StructuredOutputError
from chainette.registry import engines as registry
from chainette.testing.fake_engine import fake_engine
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from chainette.types import Completion, LLMOutput, Message
from pydantic import AfterValidator, BaseModel


def even(number: int) -> int:
    assert number % 2 == 0, "it must be even"
    return number


class Row(BaseModel):
    word: str


class Count(BaseModel):
    letters: Annotated[int, AfterValidator(even)]


GOOD = {"letters": 4}


def chain(**fields: Any) -> Chain[Row, Count]:
    step = Step(
        id="count",
        input_model=Row,
        output_model=Count,
        engine_name="counter",
        user_prompt="Count {{ word }}",
        **fields,
    )
    return Chain(name="c", steps=step)


def second_request(first: Any, **fields: Any) -> list[Message]:
    with fake_engine("counter", [first, GOOD]) as engine:
        assert chain(**fields).run_one({"word": "door"}) == Count(letters=4)
    return engine.requests[1]


@pytest.mark.parametrize(
    ("answer", "shown", "problem"),
    [
        ('{"letters": 3}', '{"letters": 3}', "the answer is not valid: letters: it must be even"),
        ('{"words": 4}', '{"words": 4}', "the answer is not valid: 'letters' is missing"),
        ("Four.", "Four.", "the answer is not valid: Invalid JSON: expected value at"),
        (
            '<think>Is it {"letters": 1}?</think>\n{"letters": 3}',
            '{"letters": 3}',
            "the answer is not valid: letters: it must be even",
        ),
        (
            '{"letters": 2} or {"letters": 4}',
            '{"letters": 2} or {"letters": 4}',
            "the answer is ambiguous: it has 2 different values",
        ),
    ],
)
def test_the_model_sees_its_own_answer_and_the_problem_alone(
    answer: str, shown: str, problem: str
) -> None:
    system, user, echo, said = second_request(answer, system_prompt="You count.")
    assert system["role"] == "system"
    if "must be even" in problem:  # it has the form, and the prompt stays as it was
        assert system["content"] == "You count."
    else:
        assert system["content"].startswith("You count.\n\nRespond ONLY with JSON")
    assert user == {"role": "user", "content": "Count door"}
    assert echo == {"role": "assistant", "content": shown}
    assert said["role"] == "user"
    assert said["content"].startswith(problem)
    assert "counter" not in said["content"]


def test_of_a_long_answer_the_model_sees_both_ends() -> None:
    echo = second_request("start" + "x" * 100_000 + "end")[-2]["content"]
    assert len(echo) <= LONGEST_ECHO + 10
    assert (echo[:5], echo[-3:]) == ("start", "end")
    assert "[…]" in echo


@pytest.mark.parametrize("text", ["", "  \n"])
def test_after_an_empty_answer_turns_still_alternate(text: str) -> None:
    empty = LLMOutput([Completion(text)])
    system, user = second_request(empty)
    assert system["content"].startswith("Respond ONLY with JSON")
    assert user["role"] == "user"
    assert user["content"].startswith("Count door\n\nthe answer is not valid: ")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    with FakeOpenAI() as server:
        yield server


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "prompt"])
def test_the_schema_is_said_once_in_every_mode(mode: str, server: FakeOpenAI) -> None:
    server.set_answers(["Four.", GOOD])
    register_engine(
        "counter", backend="openai", model="m", endpoint=server.endpoint, structured_output=mode
    )
    chain().run_one({"word": "door"})
    system, *_, echo, problem = server.requests[1].messages
    assert system["content"].count("Respond ONLY") == 1
    assert [echo["role"], problem["role"]] == ["assistant", "user"]


def test_a_draft_that_the_server_refused_is_shown_without_its_address(server: FakeOpenAI) -> None:
    body = (
        b'{"error": {"message": "Failed to generate JSON", "code": "json_validate_failed", '
        b'"failed_generation": "{\\"letters\\": 3}"}}'
    )
    server.set_answers([Reply(status=400, body=body), GOOD])
    register_engine("counter", backend="openai", model="m", endpoint=server.endpoint)
    assert chain().run_one({"word": "door"}) == Count(letters=4)
    *_, echo, problem = server.requests[1].messages
    assert echo == {"role": "assistant", "content": '{"letters": 3}'}
    assert problem["content"].startswith("the answer is not valid: letters: it must be even")


def test_the_error_of_the_row_still_names_engine_and_type() -> None:
    with (
        fake_engine("counter", ["Three.", "Three."]),
        pytest.raises(
            StructuredOutputError, match="engine 'counter': the answer is not a valid Count: "
        ),
    ):
        chain().run_one({"word": "door"})


def test_a_script_by_words_answers_a_second_try_by_the_prompt() -> None:
    with fake_engine("counter", {"door": {"letters": 3}}) as engine:
        with pytest.raises(StructuredOutputError, match="it must be even"):
            chain().run_one({"word": "door"})
        assert len(engine.requests) == 2

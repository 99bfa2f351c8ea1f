"""Schemas that a server refuses or ends on: remembered for themselves, and not for the engine."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Annotated, Any

import anyio
import pytest
from chainette import LLMOutput, register_engine
from chainette.engine.client import retry
from chainette.engine.client.base import BaseClient
from chainette.errors import RequestError, ServerError
from chainette.testing import faults
from chainette.testing.fake_server import ReceivedRequest
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel, Field


class Bad(BaseModel):
    """A type on which the server fails, as long as it has a pattern."""

    code: Annotated[str, Field(pattern="^a+$")]


class Good(BaseModel):
    n: int = Field(ge=0, le=9)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.01)
    monkeypatch.setattr(retry, "LONGEST", 0.05)


class Converter(FakeOpenAI):
    """Fails on some schemas; `forms` has how each request asked."""

    fault: Reply = faults.status(400, "failed to parse grammar")
    fails_on: str = '"pattern"'

    def __init__(self) -> None:
        super().__init__(lambda _: Reply())
        self.forms: list[str] = []

    def _scripted(self, request: ReceivedRequest) -> tuple[Reply, bytes]:
        schema = json.dumps(request.schema)
        mode = request.body.get("response_format", {}).get("type", "prompt")
        name = request.body.get("response_format", {}).get("json_schema", {}).get("name", "")
        is_whole = any(word in schema for word in ('"pattern"', '"maximum"'))
        self.forms.append(f"{name} {'whole' if is_whole else 'shape'}" if name else mode)
        if mode == "json_schema" and self.fails_on in schema:
            reply = self.fault
            if reply.status != 200:
                return reply, json.dumps(self.error(reply.status, reply.message)).encode()
            return reply, b"{}" * 100
        return super()._scripted(request)


@pytest.fixture
def server() -> Iterator[Converter]:
    with Converter() as server:
        yield server


@pytest.fixture
def engine(server: Converter) -> BaseClient:
    fields = {"backend": "openai", "model": "m", "schema_dialect": "llama_cpp"}
    config = register_engine("e", endpoint=server.endpoint, **fields)
    client = config.engine
    assert isinstance(client, BaseClient)
    return client


def answers(engine: BaseClient, model: Any, times: int = 1) -> list[LLMOutput]:
    return engine.generate([f"row {n}" for n in range(times)], output_model=model)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


CONVERTERS = {  # as recorded: llama.cpp's server, and Ollama 0.33 and 0.25
    "llama.cpp": (400, "Failed to initialize samplers: failed to parse grammar"),
    "Ollama's JSON in a string": (
        400,
        '{"error":{"code":400,"message":"Field \'json_schema\': JSON schema conversion failed:\\n'
        'Pattern must start with \'^\' and end with \'$\'","type":"invalid_request_error"}}',
    ),
    "no parser": (400, "Automatic parser generation failed: JSON schema conversion failed:\nError"),
    "Ollama 0.25": (500, "invalid JSON schema in format"),
    "an empty grammar": (500, "got exception: Unexpected empty grammar stack after accepting ."),
}


@pytest.mark.parametrize("case", CONVERTERS)
def test_a_refused_schema_is_sent_as_its_shape_and_others_as_they_are(
    case: str, server: Converter, engine: BaseClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.fault = faults.status(*CONVERTERS[case])
    assert [it.error for it in answers(engine, Good)] == [None]
    first = answers(engine, Bad)[0]
    assert first.error is None or "pattern" in str(first.error)
    assert server.forms[:3] == ["Good whole", "Bad whole", "Bad shape"]
    server.forms.clear()
    answers(engine, Bad)
    assert [it.error for it in answers(engine, Good)] == [None]
    assert "Bad whole" not in server.forms
    assert server.forms[-1] == "Good whole"
    assert [line for line in said(caplog) if "refuses the schema of Bad" in line]
    assert len(said(caplog)) == 1


def test_the_next_ways_are_any_json_and_the_prompt(server: Converter, engine: BaseClient) -> None:
    server.fails_on = '"Bad"'
    answers(engine, Bad)
    assert server.forms[:3] == ["Bad whole", "Bad shape", "json_object"]


CRASHES = {
    "the connection": faults.dropped(0.0),
    "half an answer": faults.dropped(),
    "Ollama's runner": faults.status(
        500,
        "model runner has unexpectedly stopped, this may be due to resource limitations or an "
        "internal error, check ollama server logs for details",
    ),
}


@pytest.mark.parametrize("case", CRASHES)
def test_a_schema_that_ends_the_server_twice_is_sent_as_its_shape(
    case: str, server: Converter, engine: BaseClient, caplog: pytest.LogCaptureFixture
) -> None:
    server.fault = CRASHES[case]
    answers(engine, Bad)
    assert server.forms[:3] == ["Bad whole", "Bad whole", "Bad shape"]
    assert "the server crashed 2 times on the schema of Bad" in said(caplog)[0]
    server.forms.clear()
    answers(engine, Good)
    assert server.forms == ["Good whole"]


def test_a_shape_that_ends_the_server_is_not_sent_either(
    server: Converter, engine: BaseClient
) -> None:
    server.fault, server.fails_on = faults.dropped(0.0), '"Bad"'
    answers(engine, Bad)
    assert server.forms[:5] == ["Bad whole"] * 2 + ["Bad shape"] * 2 + ["prompt"]


def test_many_rows_in_flight_are_one_crash(server: Converter, engine: BaseClient) -> None:
    server.fault = faults.dropped(0.0)
    answers(engine, Bad, times=16)
    assert server.forms.count("Bad whole") <= 17  # all at once, then one alone


def test_a_schema_beside_the_guilty_one_goes_on_as_it_was(
    server: Converter, engine: BaseClient
) -> None:
    server.fault = faults.dropped(0.0)

    async def both() -> None:
        async with anyio.create_task_group() as group:
            for model in (Bad, Good) * 6:
                group.start_soon(lambda model=model: engine.agenerate(["x"], output_model=model))
        await engine.aclose()

    anyio.run(both)
    answers(engine, Good)
    assert server.forms[-1] == "Good whole"
    assert "Good shape" not in server.forms


def test_a_schema_that_had_an_answer_is_not_to_blame(server: Converter, engine: BaseClient) -> None:
    assert [it.error for it in answers(engine, Good)] == [None]
    server.fault, server.fails_on = faults.dropped(0.0), '"Good"'
    config = engine.config.model_copy(update={"max_retries": 2})
    engine._retry = retry.Retry(config, engine.limits)
    assert isinstance(answers(engine, Good)[0].error, Exception)
    assert set(server.forms) == {"Good whole"}


def test_answers_that_leave_their_json_twice_drop_the_patterns(
    server: Converter, engine: BaseClient, caplog: pytest.LogCaptureFixture
) -> None:
    message = "The model produced output that does not match the expected peg-native format"
    server.fault = faults.status(500, message)
    answers(engine, Bad)
    assert server.forms[:3] == ["Bad whole", "Bad whole", "Bad shape"]
    assert "leave their JSON" in said(caplog)[0]


def test_a_mode_that_was_configured_is_kept(server: Converter) -> None:
    server.fails_on = '"Bad"'
    fields = {"backend": "openai", "model": "m", "structured_output": "json_schema"}
    engine = register_engine("strict", endpoint=server.endpoint, **fields).engine
    assert isinstance(engine, BaseClient)
    assert type(answers(engine, Bad)[0].error) is RequestError
    assert set(server.forms) <= {"Bad whole", "Bad shape"}


def test_a_failure_with_other_words_is_the_servers(server: Converter, engine: BaseClient) -> None:
    server.fault = faults.status(500, "CUDA error: out of memory")
    config = engine.config.model_copy(update={"max_retries": 1})
    engine._retry = retry.Retry(config, engine.limits)
    assert type(answers(engine, Bad)[0].error) is ServerError
    assert set(server.forms) == {"Bad whole"}


# --- answers that are valid and not what was meant


class Flags(BaseModel):
    spam: bool = False
    topic: str = "none"


class Reasoned(BaseModel):
    reasoning: str
    answer: str


class Scored(BaseModel):
    score: int
    comment: str


@pytest.mark.parametrize(("blanks", "warnings"), [(25, 0), (26, 1)])
def test_answers_that_are_nothing_but_defaults_are_told_once(
    blanks: int, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    texts = ["{}", '{"spam": false, "topic": "none"}'] * 13
    with FakeOpenAI([*texts[:blanks], *['{"spam": true}'] * (60 - blanks)]) as server:
        fields = {"backend": "openai", "model": "m", "max_concurrency": 1}
        engine = register_engine("e", endpoint=server.endpoint, **fields).engine
        outputs = engine.generate(["x"] * 60, output_model=Flags)
    assert all(output.error is None for output in outputs)
    assert len(said(caplog)) == warnings
    assert all("nothing but its defaults" in line for line in said(caplog))


ORDERS = {
    "sorted": (Reasoned, '{"answer": "b", "reasoning": "a"}', 1),
    "as asked": (Reasoned, '{"reasoning": "a", "answer": "b"}', 0),
    "not a field to think in": (Scored, '{"comment": "a", "score": 1}', 0),
}


@pytest.mark.parametrize("case", ORDERS)
def test_fields_that_the_server_sorts_are_told_once(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    model, text, warnings = ORDERS[case]
    with FakeOpenAI(lambda _: text) as server:
        fields = {"backend": "openai", "model": "m"}
        engine = register_engine("e", endpoint=server.endpoint, **fields).engine
        for _ in range(2):
            engine.generate(["x"] * 3, output_model=model)
    assert len(said(caplog)) == warnings
    assert all("'answer' comes before 'reasoning'" in line for line in said(caplog))

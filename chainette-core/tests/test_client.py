from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
import pytest
from chainette import LLMOutput, SamplingParams, register_engine
from chainette.engine.client.base import BaseClient
from chainette.engine.client.request import Request
from chainette.errors import (
    EngineTimeoutError,
    OutputTruncatedError,
    RefusalError,
    ServerError,
    StructuredOutputError,
    ValidatorError,
)
from chainette.types import Completion, GuidedDecodingParams
from chainette.usage import Usage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

Make = Callable[..., str]
SENTINEL = "sk-SENTINEL-0123456789"


class Animal(BaseModel):
    name: str
    legs: Literal[2, 4]


def text(request: Request) -> str:
    return request.messages[-1]["content"]


def said(what: str, **fields: Any) -> LLMOutput:
    return LLMOutput([Completion(what, **fields)], usage=Usage(1, 2))


def make_client(scripted: Make, answer: Any, **fields: Any) -> BaseClient:
    fields = {"max_retries": 0, **fields}
    config = register_engine("e", backend="scripted", **fields)
    client = config.engine
    sys.modules[type(client).__module__].answer = answer  # type: ignore[attr-defined]
    return client


async def echo(request: Request) -> LLMOutput:
    return said(text(request))


@given(delays=st.lists(st.integers(0, 3), max_size=30), cap=st.integers(1, 8))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_outputs_have_the_prompts_length_and_order(
    scripted: Make, delays: list[int], cap: int
) -> None:
    async def answer(request: Request) -> LLMOutput:
        await anyio.sleep(delays[int(text(request))] / 1000)
        return said(text(request))

    client = make_client(scripted, answer, max_concurrency=cap)
    outputs = client.generate([str(index) for index in range(len(delays))])
    assert [output.outputs[0].text for output in outputs] == [str(i) for i in range(len(delays))]


def test_prompts_are_texts_or_conversations(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        return said("|".join(message["role"] for message in request.messages))

    client = make_client(scripted, answer)
    conversation: Any = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    outputs = client.generate(["hello", conversation])
    assert [output.outputs[0].text for output in outputs] == ["user", "system|user"]


def test_a_single_text_instead_of_a_list_is_refused(scripted: Make) -> None:
    with pytest.raises(TypeError, match="list of prompts"):
        make_client(scripted, echo).generate("hello")


def test_one_prompt_that_fails_fails_no_other(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        if text(request) == "bad":
            raise ValueError("a defect of the backend")
        return said(text(request))

    outputs = make_client(scripted, answer).generate(["a", "bad", "c"])
    assert [output.error is None for output in outputs] == [True, False, True]
    assert isinstance(outputs[1].error, ServerError)
    assert str(outputs[1].error) == ("engine 'e': unexpected ValueError: a defect of the backend")
    assert outputs[1].outputs[0].finish_reason == "error"


def test_never_more_requests_in_flight_than_configured(scripted: Make) -> None:
    flying, most = 0, 0

    async def answer(request: Request) -> LLMOutput:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await anyio.sleep(0.001)
        flying -= 1
        return said("x")

    client = make_client(scripted, answer, max_concurrency=3)

    async def two_callers() -> None:
        async with anyio.create_task_group() as callers:
            callers.start_soon(client.agenerate, ["x"] * 20)
            callers.start_soon(client.agenerate, ["x"] * 20)

    anyio.run(two_callers)
    assert most == 3


def test_generate_works_inside_a_running_loop(scripted: Make) -> None:
    client = make_client(scripted, echo)

    async def notebook_cell() -> list[LLMOutput]:
        return client.generate(["a"])

    assert asyncio.run(notebook_cell())[0].outputs[0].text == "a"


def test_one_client_serves_several_threads_and_loops(scripted: Make) -> None:
    client = make_client(scripted, echo, max_concurrency=2)
    found: list[str] = []

    def work(name: str) -> None:
        for _ in range(3):
            outputs = client.generate([name] * 5)
            found.extend(output.outputs[0].text for output in outputs)

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(str(i) for i in range(8) for _ in range(15))


def test_a_request_that_takes_too_long_is_an_error_of_its_own(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        await anyio.sleep(30)
        raise AssertionError

    (output,) = make_client(scripted, answer, timeout=0.05).generate(["x"])
    assert isinstance(output.error, EngineTimeoutError)
    assert "timeout=0.05 s" in str(output.error)


def test_cancelling_cancels_the_request(scripted: Make) -> None:
    cancelled = []

    async def answer(request: Request) -> LLMOutput:
        try:
            await anyio.sleep(30)
        except BaseException:
            cancelled.append(True)
            raise
        raise AssertionError

    client = make_client(scripted, answer)

    async def call() -> None:
        with anyio.move_on_after(0.02):
            await client.agenerate(["x"] * 3)
        assert len(asyncio.all_tasks()) == 1

    anyio.run(call)
    assert cancelled == [True] * 3


def test_a_typed_answer_is_parsed_and_the_text_kept(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        assert request.output is not None
        assert request.output.schema["title"] == "Animal"
        return said('{"name": "cat", "legs": 4}', reasoning_content="Cats have four.")

    (output,) = make_client(scripted, answer).generate(["x"], output_model=Animal)
    assert output.outputs[0].parsed == Animal(name="cat", legs=4)
    assert output.outputs[0].text == '{"name": "cat", "legs": 4}'
    assert output.outputs[0].reasoning_content == "Cats have four."
    assert output.usage == Usage(1, 2)
    assert output.latency > 0


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (said('{"name": "cat", "legs": 3}'), StructuredOutputError, "not a valid Animal: legs"),
        (said("A cat."), StructuredOutputError, "not a valid Animal: Invalid JSON"),
        (said(""), StructuredOutputError, "Invalid JSON"),
        (said('{"name": "c', finish_reason="length"), OutputTruncatedError, "max_tokens=7"),
        (said("I can't.", finish_reason="refusal"), RefusalError, "I can't."),
        (said("", finish_reason="content_filter"), RefusalError, "content_filter"),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_with_its_text(
    scripted: Make, answer: LLMOutput, error: type[Exception], words: str
) -> None:
    async def reply(request: Request) -> LLMOutput:
        return answer

    client = make_client(scripted, reply)
    (output,) = client.generate(["x"], SamplingParams(max_tokens=7), output_model=Animal)
    assert isinstance(output.error, error)
    assert words in str(output.error)
    assert output.error.raw_text == answer.outputs[0].text
    assert output.error.engine == "e"
    # What does not fit is asked for a second time.
    assert output.usage == (Usage(2, 4) if error is StructuredOutputError else Usage(1, 2))


def test_plain_text_may_be_cut_off(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        return said("half a", finish_reason="length")

    (output,) = make_client(scripted, answer).generate(["x"])
    assert output.error is None
    assert output.outputs[0].finish_reason == "length"


def test_what_a_backend_cannot_sample_is_named_in_one_warning(
    scripted: Make, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[SamplingParams] = []

    async def answer(request: Request) -> LLMOutput:
        seen.append(request.sampling)
        return said("x")

    client = make_client(scripted, answer)
    params = SamplingParams(
        temperature=0.5, top_k=3, n=2, guided_decoding=GuidedDecodingParams(regex="a")
    )
    client.generate(["x"] * 5, params)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        "engine 'e': backend 'scripted' has no sampling parameter "
        "guided_decoding, n, top_k; ignored"
    ]
    assert all(p == SamplingParams(temperature=0.5) for p in seen)


def test_rows_that_share_an_error_name_the_engine_once(scripted: Make) -> None:
    shared = ServerError("did not start")

    async def answer(request: Request) -> LLMOutput:
        raise shared

    outputs = make_client(scripted, answer).generate(["a", "b"])
    assert [str(output.error) for output in outputs] == ["engine 'e': did not start"] * 2


def test_secrets_are_scrubbed_from_errors(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        raise ServerError(f"bad header {SENTINEL}", raw_text=f"you sent {SENTINEL}")

    (output,) = make_client(scripted, answer, headers={"X-Key": SENTINEL}).generate(["x"])
    assert output.error is not None
    assert SENTINEL not in str(output.error) + str(output.error.raw_text) + repr(output)
    assert "***" in str(output.error)


def test_a_start_that_raises_anything_fails_the_rows_not_the_run(
    scripted: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(scripted, echo)

    async def start() -> None:
        raise ValueError("a defect of the backend")

    monkeypatch.setattr(client, "start", start)
    outputs = client.generate(["a", "b"])
    assert [type(output.error) for output in outputs] == [ServerError, ServerError]


def test_a_validator_that_raises_anything_fails_its_row_not_the_run(scripted: Make) -> None:
    class Fragile(BaseModel):
        key: str

        @field_validator("key")
        @classmethod
        def _known(cls, key: str) -> str:
            return {"a": key}[key]

    async def answer(request: Request) -> LLMOutput:
        return said(f'{{"key": "{text(request)}"}}')

    outputs = make_client(scripted, answer).generate(["a", "b"], output_model=Fragile)
    assert outputs[0].outputs[0].parsed == Fragile(key="a")
    assert isinstance(outputs[1].error, ValidatorError)
    assert "a validator of Fragile failed: KeyError: 'b'" in str(outputs[1].error)
    assert outputs[1].error.raw_text == '{"key": "b"}'


def test_every_completion_of_a_prompt_is_parsed(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        texts = ['{"name": "cat", "legs": 4}', '{"name": "hen", "legs": 2}']
        return LLMOutput([Completion(one) for one in texts])

    (output,) = make_client(scripted, answer).generate(["x"], output_model=Animal)
    assert [completion.parsed.name for completion in output.outputs] == ["cat", "hen"]


@pytest.mark.parametrize(
    ("output_type", "answer", "value"),
    [
        (list[int], "[1, 2]", [1, 2]),
        (dict[str, Animal], '{"a": {"name": "x", "legs": 2}}', {"a": Animal(name="x", legs=2)}),
        (int | None, "null", None),
        (Annotated[int, Field(ge=3)], "3", 3),
    ],
)
def test_any_type_that_pydantic_validates_can_be_asked_for(
    scripted: Make, output_type: Any, answer: str, value: Any
) -> None:
    async def reply(request: Request) -> LLMOutput:
        return said(answer)

    (output,) = make_client(scripted, reply).generate(["x"], output_model=output_type)
    assert output.error is None
    assert output.outputs[0].parsed == value


def test_no_prompts_give_no_outputs(scripted: Make) -> None:
    assert make_client(scripted, echo).generate([]) == []


@pytest.mark.parametrize("own", [SENTINEL, f"{SENTINEL}-and-more", f"  {SENTINEL}  "])
def test_a_secret_is_scrubbed_whole_whatever_it_looks_like(
    scripted: Make, own: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def answer(request: Request) -> LLMOutput:
        raise ValueError(f"illegal value {own!r} or {own} or {own.strip()}")

    client = make_client(scripted, answer, headers={"X-One": SENTINEL, "X-Two": own})
    (output,) = client.generate(["x"])
    assert SENTINEL not in f"{output!r}{output.error}{client!r}{caplog.text}"
    assert "and-more" not in f"{output!r}{caplog.text}"


def test_a_refusal_that_repeats_a_long_secret_shows_no_piece_of_it(scripted: Make) -> None:
    async def answer(request: Request) -> LLMOutput:
        return said("y" * 190 + " " + SENTINEL, finish_reason="refusal")

    client = make_client(scripted, answer, headers={"X-Key": SENTINEL})
    (output,) = client.generate(["x"], output_model=Animal)
    assert isinstance(output.error, RefusalError)
    assert "SENT" not in str(output.error)


def test_an_exception_of_the_loop_reaches_the_caller_of_generate(scripted: Make) -> None:
    client = make_client(scripted, echo)

    async def notebook_cell() -> None:
        client.generate("not a list")

    with pytest.raises(TypeError, match="list of prompts"):
        asyncio.run(notebook_cell())


class Beast(BaseModel):
    name: str
    legs: int


@pytest.mark.parametrize(
    ("parsed", "name"),
    [
        (Animal(name="from the backend", legs=2), "from the backend"),
        ({"name": "from the backend", "legs": 2}, "from the backend"),
        ({"name": "from the backend", "legs": 3}, "from the text"),
        (Beast(name="from the backend", legs=2), "from the text"),
        ("from the backend", "from the text"),
    ],
)
def test_a_value_that_the_backend_has_parsed_is_kept_if_the_type_accepts_it(
    scripted: Make, parsed: Any, name: str
) -> None:
    async def reply(request: Request) -> LLMOutput:
        return said('{"name": "from the text", "legs": 4}', parsed=parsed)

    (output,) = make_client(scripted, reply).generate(["x"], output_model=Animal)
    assert output.error is None
    assert isinstance(output.outputs[0].parsed, Animal)
    assert output.outputs[0].parsed.name == name


def test_a_value_that_does_not_fit_is_not_left_in_a_failed_answer(scripted: Make) -> None:
    async def reply(request: Request) -> LLMOutput:
        return said("not JSON", parsed={"name": "cat", "legs": 3})

    (output,) = make_client(scripted, reply).generate(["x"], output_model=Animal)
    assert isinstance(output.error, StructuredOutputError)
    assert output.outputs[0].parsed is None

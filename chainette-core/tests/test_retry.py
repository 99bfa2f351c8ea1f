"""Retries of requests, pauses of engines, and the fallback of output modes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import anyio
import pytest
from chainette import LLMOutput, register_engine
from chainette.engine.client import retry
from chainette.engine.client.base import BaseClient
from chainette.engine.client.retry import retry_after
from chainette.errors import (
    AuthenticationError,
    EngineDownError,
    EngineError,
    EngineUnreachableError,
    QuotaError,
    RequestError,
    ServerError,
    StructuredOutputError,
)
from chainette.testing import faults
from chainette.testing.fake_server import ReceivedRequest
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel


class Row(BaseModel):
    n: int


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.01)
    monkeypatch.setattr(retry, "LONGEST", 0.05)


class Picky(FakeOpenAI):
    """Supports only some output modes."""

    modes: tuple[str, ...] = ("json_schema", "json_object", "prompt")

    def _scripted(self, request: ReceivedRequest) -> tuple[Reply, bytes]:
        mode = request.body.get("response_format", {}).get("type", "prompt")
        if mode not in self.modes:
            return self._refused(400, f"{mode} is not supported")
        return super()._scripted(request)


def seconds_between(server: FakeOpenAI) -> float:
    """Seconds between the first and the last request."""
    return server.requests[-1].at - server.requests[0].at


@pytest.fixture
def server() -> Iterator[Picky]:
    with Picky() as server:
        yield server


def client(server: FakeOpenAI, **fields: Any) -> BaseClient:
    config = register_engine("e", backend="openai", model="m", endpoint=server.endpoint, **fields)
    return config.engine


def ask(
    engine: BaseClient, prompt: str = "row", output_model: Any = None
) -> tuple[LLMOutput, list[tuple[EngineError, float]]]:
    """The output, and the error and wait of each retry."""
    retries: list[tuple[EngineError, float]] = []

    async def call() -> LLMOutput:
        try:
            return await engine.complete(
                prompt,
                output_model=output_model,
                on_retry=lambda error, wait: retries.append((error, wait)),
            )
        finally:
            await engine.aclose()

    return anyio.run(call), retries


TEMPORARY = [
    faults.status(408),
    faults.status(409),
    faults.status(425),
    faults.status(429),
    faults.status(500),
    faults.status(502),
    faults.status(503),
    faults.status(529),
    faults.html_page(),
    faults.dropped(),
    faults.dropped(0.0),
    faults.truncated_json(),
    faults.stalled(),
    Reply(body=b'{"error": {"message": "no upstream", "code": 502}}'),
]
PERMANENT = [
    faults.status(400),
    faults.status(401),
    faults.status(402),
    faults.status(403),
    faults.status(404),
    faults.status(413),
    faults.status(422),
    faults.status(307),
    faults.html_page(200),
    Reply(body=b'["what"]'),
]


@pytest.mark.parametrize("fault", TEMPORARY, ids=str)
def test_temporary_failures_are_retried(fault: Reply, server: FakeOpenAI) -> None:
    server.set_answers([fault, fault, "fine"])
    output, retries = ask(client(server, timeout=0.5))
    assert output.error is None
    assert output.outputs[0].text == "fine"
    assert len(retries) == 2
    assert len(server.requests) == 3


@pytest.mark.parametrize("fault", PERMANENT, ids=str)
def test_permanent_failures_are_not_retried(fault: Reply, server: FakeOpenAI) -> None:
    server.set_answers([fault, "fine"])
    output, retries = ask(client(server))
    assert output.error is not None
    assert not retries
    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [faults.refusal(), faults.content_filter(), faults.cut()])
def test_a_refused_or_incomplete_answer_is_not_retried(reply: Reply, server: FakeOpenAI) -> None:
    server.set_answers([reply, "fine"])
    output, _ = ask(client(server), output_model=Row)
    assert output.error is not None
    assert len(server.requests) == 1


def test_a_request_fails_after_max_retries(server: FakeOpenAI) -> None:
    server.set_answers(lambda _: faults.status(503, "busy"))
    output, retries = ask(client(server, max_retries=3))
    assert type(output.error) is ServerError
    assert "busy" in str(output.error)
    assert len(server.requests) == 4
    assert len(retries) == 3


def test_requests_are_sent_once_without_retries(server: FakeOpenAI) -> None:
    server.set_answers([faults.status(503), "fine"])
    output, _ = ask(client(server, max_retries=0))
    assert type(output.error) is ServerError
    assert len(server.requests) == 1


def test_retry_after_is_respected(server: FakeOpenAI) -> None:
    server.set_answers([faults.status(429, retry_after="0.3"), "fine"])
    output, retries = ask(client(server))
    assert output.error is None
    assert 0.3 <= retries[0][1] <= 0.4
    assert server.requests[1].at - server.requests[0].at >= 0.3


def test_a_429_pauses_the_whole_engine(server: FakeOpenAI) -> None:
    limited = faults.status(429, retry_after="0.3")
    server.set_answers([limited, *["fine"] * 8])
    engine = client(server, max_concurrency=1)
    outputs = engine.generate(["row"] * 8)
    assert [output.error for output in outputs] == [None] * 8
    assert server.requests[1].at - server.requests[0].at >= 0.3


def test_an_engine_pauses_until_an_exhausted_limit_resets(
    server: FakeOpenAI,
) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "300ms"}
    server.set_answers([Reply("fine", headers=headers), "fine"])
    outputs = client(server, max_concurrency=1).generate(["row"] * 2)
    assert [output.error for output in outputs] == [None] * 2
    assert server.requests[1].at - server.requests[0].at >= 0.3


def test_a_retry_after_that_is_too_long_is_an_error(server: FakeOpenAI) -> None:
    server.set_answers(lambda _: faults.status(429, "come back tomorrow", retry_after="86400"))
    output, _ = ask(client(server))
    assert type(output.error) is EngineDownError
    assert "asks to wait 86400 s" in str(output.error)
    assert len(server.requests) == 1


def test_an_exhausted_quota_is_final(server: FakeOpenAI) -> None:
    body = {"error": {"message": "You exceeded", "type": "insufficient_quota", "code": None}}
    server.set_answers(lambda _: Reply(status=429, body=json.dumps(body).encode()))
    output, _ = ask(client(server))
    assert type(output.error) is QuotaError
    assert output.error.final
    assert "billing" in str(output.error)
    assert len(server.requests) == 1


def test_a_server_that_never_answered_is_not_waited_for(server: FakeOpenAI) -> None:
    engine = client(server)
    server.close()
    output, retries = ask(engine)
    assert type(output.error) is EngineUnreachableError
    assert not retries


def test_a_server_that_disappears_is_waited_for(server: FakeOpenAI) -> None:
    engine = client(server, give_up_after=0.5, max_retries=1)
    assert ask(engine)[0].error is None
    server.close()
    output, retries = ask(engine)
    assert type(output.error) is EngineDownError
    assert "give_up_after" in str(output.error)
    assert len(retries) > 3, "max_retries is for requests, not for engines"


def test_a_server_that_comes_back_is_used(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = client(server)
    ask(engine)
    answers = iter([EngineUnreachableError("gone")] * 9)
    send = type(engine)._chat

    async def chat(self: Any, request: Any) -> LLMOutput:
        for error in answers:
            raise error
        return await send(self, request)

    monkeypatch.setattr(type(engine), "_chat", chat)
    output, retries = ask(engine)
    assert output.error is None
    assert len(retries) == 9


def test_one_bad_request_among_good_ones_does_not_stop_the_engine(server: FakeOpenAI) -> None:
    server.set_answers({"bad": faults.dropped(), "": "fine"})
    outputs = client(server, max_retries=2).generate(["row", "bad row", *["row"] * 30])
    assert [index for index, output in enumerate(outputs) if output.error] == [1]
    assert not isinstance(outputs[1].error, EngineDownError)


def test_limits_are_shared_by_all_threads(server: FakeOpenAI) -> None:
    from concurrent.futures import ThreadPoolExecutor

    server.set_answers(lambda _: Reply("fine", delay=0.02))
    engine = client(server, max_concurrency=3)
    with ThreadPoolExecutor(6) as threads:
        batches = list(threads.map(lambda _: engine.generate(["row"] * 5), range(6)))
    assert all(output.error is None for outputs in batches for output in outputs)
    assert server.peak == 3


def test_requests_per_minute_spread_the_requests(server: FakeOpenAI) -> None:
    client(server, requests_per_minute=600).generate(["row"] * 15)  # ten a second
    assert seconds_between(server) >= 0.3


def test_the_error_of_a_retry_names_the_engine_and_hides_secrets(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = client(server, api_key="sk-SENTINEL-0123456789")

    async def fail(request: Any) -> LLMOutput:
        raise ServerError("no sk-SENTINEL-0123456789 here")

    monkeypatch.setattr(engine, "_chat", fail)
    _, retries = ask(engine)
    assert len(retries) == 5
    assert {str(error) for error, _ in retries} == {"engine 'e': no *** here"}


# --- headers


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        (
            {
                "x-ratelimit-reset-requests": "1.5s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "10",
            },
            1.5,
        ),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1h2m"}, 3720.0),
        ({"x-ratelimit-reset-tokens": "later"}, None),
        ({"x-ratelimit-reset-tokens": "12"}, 12.0),
    ],
)
def test_retry_headers_are_parsed(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == (None if seconds is None else pytest.approx(seconds))


def test_dates_in_retry_headers_are_parsed() -> None:
    then = datetime.now(timezone.utc) + timedelta(seconds=30)
    assert retry_after({"retry-after": format_datetime(then)}) == pytest.approx(30, abs=2)
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    then += timedelta(seconds=30)
    assert retry_after({"x-ratelimit-reset-requests": str(then.timestamp())}) == pytest.approx(
        60, abs=2
    )


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset-tokens"]), st.text()
    )
)
def test_any_retry_header_is_a_finite_time_or_none(headers: dict[str, str]) -> None:
    seconds = retry_after(headers)
    assert seconds is None or 0 <= seconds < float("inf")


# --- output modes


@pytest.mark.parametrize(
    ("modes", "requests"),
    [
        (("json_schema",), 1),
        (("json_object", "prompt"), 2),
        (("prompt",), 3),
    ],
)
def test_output_modes_fall_back_once_with_one_warning(
    modes: tuple[str, ...], requests: int, server: Picky, caplog: pytest.LogCaptureFixture
) -> None:
    server.modes, answers = modes, ['{"n": 1}'] * 2
    server.set_answers(answers)
    engine = client(server)
    output, _ = ask(engine, output_model=Row)
    assert output.outputs[0].parsed == Row(n=1)
    assert len(server.requests) == requests
    assert ask(engine, output_model=Row)[0].outputs[0].parsed == Row(n=1)
    assert len(server.requests) == requests + 1
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (requests > 1)


def test_a_request_refused_in_every_output_mode_fails(server: Picky) -> None:
    server.modes = ()
    output, _ = ask(client(server), output_model=Row)
    assert type(output.error) is RequestError
    assert "json_schema is not supported" in str(output.error)


def test_an_output_mode_that_worked_is_kept_after_a_bad_request(server: FakeOpenAI) -> None:
    engine = client(server)
    ask(engine, output_model=Row)
    server.set_answers(lambda _: faults.status(400, "too long"))
    output, _ = ask(engine, output_model=Row)
    assert type(output.error) is RequestError
    assert len(server.requests) == 1


def test_a_configured_output_mode_is_kept(server: Picky) -> None:
    server.modes = ("prompt",)
    output, _ = ask(client(server, structured_output="json_schema"), output_model=Row)
    assert type(output.error) is RequestError
    assert len(server.requests) == 1


def test_an_invalid_answer_is_retried_once(server: FakeOpenAI) -> None:
    server.set_answers(["It is one.", '{"n": 1}'])
    output, retries = ask(client(server), output_model=Row)
    assert output.outputs[0].parsed == Row(n=1)
    assert [type(error) for error, _ in retries] == [StructuredOutputError]
    system = server.requests[1].messages[0]
    assert system["role"] == "system"
    assert "ONLY with JSON" in system["content"]
    *_, echo, problem = server.requests[1].messages
    assert echo == {"role": "assistant", "content": "It is one."}
    assert problem["role"] == "user"
    assert problem["content"].startswith("the answer is not valid: Invalid JSON")
    first, second = (len(request.messages) for request in server.requests)
    assert second == first + 3
    assert output.usage is not None
    assert output.usage.completion_tokens == 3 + 2, "tokens of both answers count"


def test_a_second_invalid_answer_is_the_error(server: FakeOpenAI) -> None:
    server.set_answers(["It is one.", '{"n": "two"}'])
    output, _ = ask(client(server), output_model=Row)
    assert type(output.error) is StructuredOutputError
    assert output.error.raw_text == '{"n": "two"}'
    assert len(server.requests) == 2


def test_a_failed_second_attempt_keeps_the_first_error(server: FakeOpenAI) -> None:
    server.set_answers(["It is one.", faults.status(401)])
    output, _ = ask(client(server), output_model=Row)
    assert type(output.error) is StructuredOutputError
    assert output.error.raw_text == "It is one."
    assert AuthenticationError not in type(output.error).__mro__

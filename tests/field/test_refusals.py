"""Errors as OpenAI-compatible servers report them: by words and codes as well as by status."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, SamplingParams, Step
from chainette.engine.client.base import BaseClient
from chainette.errors import (
    AuthenticationError,
    EngineDownError,
    NotFoundError,
    QuotaError,
    RateLimitError,
    RefusalError,
    RequestError,
    ServerError,
    StructuredOutputError,
)
from chainette.testing import faults
from chainette.testing.script import Reply
from pydantic import BaseModel


class Row(BaseModel):
    number: int


class City(BaseModel):
    name: str
    inhabitants: int


OSLO = {"name": "Oslo", "inhabitants": 700000}
STEP: dict[str, Any] = {
    "id": "city", "input_model": Row, "output_model": City, "engine_name": "e",
    "user_prompt": "City {{ number }}",
}  # fmt: skip
ROWS = [{"number": number} for number in range(6)]


def error(http_status: int, message: str, **fields: Any) -> Reply:
    body = {"error": {"message": message, **fields}}
    return Reply(status=http_status, body=json.dumps(body).encode())


NOTHING_LEFT = {
    "402": error(402, "Insufficient Balance"),
    "Anthropic": error(
        400,
        "Your credit balance is too low to access the Anthropic API.",
        type="invalid_request_error",
    ),
    "OpenRouter's key": error(403, "Key limit exceeded (total limit).", code=403),
    "OpenRouter in a success": error(200, "Insufficient credits. Add more", code=402),
    "OpenAI's words": error(
        429, "You exceeded your current quota, please check your plan and billing details."
    ),
    "OpenAI's limit": error(400, "Hard limit reached", code="billing_hard_limit_reached"),
    "OpenAI's code in a 403": error(403, "No", code="insufficient_quota"),
    "OpenAI's type in a 503": error(503, "No", type="insufficient_quota"),
    "OpenAI's code in a success": error(200, "No", code="insufficient_quota"),
    "LiteLLM for DeepSeek": error(400, "Insufficient Balance", code="invalid_request_error"),
    "Moonshot": error(429, "Your account is suspended", type="exceeded_current_quota_error"),
    "Alibaba": error(400, "Access denied", code="Arrearage"),
    "a gateway": error(403, "用户额度不足", code="insufficient_user_quota"),
    "a plain text": Reply(status=403, body=b"Insufficient account balance"),
}


@pytest.mark.parametrize("reply", NOTHING_LEFT.values(), ids=NOTHING_LEFT)
def test_an_account_with_nothing_left_stops_the_run_and_fails_no_row(
    reply: Reply, server: Any, make_engine: Any, chain: Chain[Any, Any], tmp_path: Path
) -> None:
    make_engine(max_concurrency=1)
    server.set_answers([OSLO, OSLO, reply])
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    assert isinstance(run.stopped, QuotaError)
    assert (run.counts.ok, run.counts.failed) == (2, 0)
    server.set_answers(lambda _: OSLO)
    run = chain.run(ROWS, output_dir=tmp_path / "out", resume=True)
    assert (run.stopped, run.counts.ok, run.counts.failed) == (None, 6, 0)


def test_a_limit_per_minute_that_speaks_of_billing_is_waited_for(
    server: Any, make_engine: Any
) -> None:
    """Gemini's free tier."""
    words = "You exceeded your current quota, please check your plan and billing details. "
    server.set_answers([error(429, f"{words} Please retry in 0.02s."), "fine"])
    output = make_engine().generate(["hi"])[0]
    assert output.outputs[0].text == "fine"


def test_a_prompt_that_is_quoted_does_not_stop_the_run(server: Any, make_engine: Any) -> None:
    quoted = "bad input: " + "x" * 600 + " your credit balance is too low"
    server.set_answers([error(400, quoted)])
    assert type(make_engine().generate(["hi"])[0].error) is RequestError


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_once_between_good_answers_is_tried_again(
    status: int, server: Any, make_engine: Any, chain: Chain[Any, Any]
) -> None:
    make_engine(max_concurrency=1)
    server.set_answers([OSLO, error(status, "Invalid key"), OSLO, OSLO])
    run = chain.run(ROWS[:3])
    assert (run.counts.ok, run.counts.failed) == (3, 0)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("max_retries", [0, 5])
def test_a_key_that_is_refused_for_good_stops_the_run_and_fails_no_row(
    status: int,
    max_retries: int,
    server: Any,
    make_engine: Any,
    chain: Chain[Any, Any],
    tmp_path: Path,
) -> None:
    make_engine(max_concurrency=1, max_retries=max_retries)
    refused = error(status, "Invalid key")
    server.set_answers(lambda _: refused if len(server.requests) > 2 else OSLO)
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    assert isinstance(run.stopped, AuthenticationError)
    assert (run.counts.ok, run.counts.failed) == (2, 0)
    assert len(server.requests) <= 2 + 2 * 2
    server.set_answers(lambda _: OSLO)
    run = chain.run(ROWS, output_dir=tmp_path / "out", resume=True)
    assert (run.stopped, run.counts.ok) == (None, 6)


def test_a_page_of_a_firewall_fails_only_its_row(
    server: Any, make_engine: Any, chain: Chain[Any, Any]
) -> None:
    make_engine(max_concurrency=1)
    page = faults.html_page(403)
    server.set_answers({"City 2": page, "": OSLO})
    run = chain.run(ROWS)
    assert (run.stopped, run.counts.ok, run.counts.failed) == (None, 5, 1)


GEMINI = b"""[{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
"status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}]"""
SCALEWAY = b'{"error": "MODEL_NOT_FOUND", "status": 422, "message": "No model of that name"}'
BY_WORDS = {
    "Gemini's key": (Reply(status=400, body=GEMINI), AuthenticationError, "API key not valid"),
    "a key's code": (error(400, "No", code="invalid_api_key"), AuthenticationError, "No"),
    "Scaleway's model": (Reply(status=422, body=SCALEWAY), NotFoundError, "No model of that name"),
    "Mistral's model": (error(400, "Invalid model: m", type="invalid_model"), NotFoundError, ": m"),
    "OpenRouter's code of many uses": (
        error(400, "context length exceeded", code="invalid_prompt"),
        RequestError,
        "context length",
    ),
    "a code and no message": (Reply(status=400, body=b'{"error": "no"}'), RequestError, "no"),
    "a null message": (
        Reply(status=400, body=b'{"error": {"message": null, "code": null}}'),
        RequestError,
        "null",
    ),
}


@pytest.mark.parametrize(("reply", "kind", "words"), BY_WORDS.values(), ids=BY_WORDS)
def test_an_error_is_what_it_says_whatever_its_status(
    reply: Reply, kind: type[Exception], words: str, server: Any, make_engine: Any
) -> None:
    server.set_answers([reply])
    found = make_engine().generate(["hi"])[0].error
    assert type(found) is kind
    assert words in str(found)
    assert len(server.requests) == 1


CODES = [
    ({"code": 401}, AuthenticationError),
    ({"code": "invalid_api_key"}, AuthenticationError),
    ({"code": 402}, QuotaError),
    ({"code": 404}, NotFoundError),
    ({"code": "model_not_found"}, NotFoundError),
    ({"code": 429}, RateLimitError),
    ({"status": "RESOURCE_EXHAUSTED", "code": 429}, RateLimitError),
    ({"code": "503"}, ServerError),
    ({"type": "server_error"}, ServerError),
    ({"type": "invalid_request_error"}, RequestError),
]


@pytest.mark.parametrize(("fields", "kind"), CODES)
def test_an_error_in_a_success_is_what_its_code_says(
    fields: dict[str, Any], kind: type[Exception], server: Any, make_engine: Any
) -> None:
    server.set_answers([error(200, "these words", **fields)])
    found = make_engine(max_retries=0).generate(["hi"])[0].error
    assert type(found) is kind
    assert "these words" in str(found)
    assert "200 with error" in str(found)


def test_an_older_servers_error_in_a_success_is_what_its_code_says(
    server: Any, make_engine: Any
) -> None:
    body = b'{"object": "error", "message": "no such model", "code": 404}'
    server.set_answers([Reply(body=body)])
    assert type(make_engine().generate(["hi"])[0].error) is NotFoundError


def test_the_words_of_the_server_behind_a_gateway_are_shown(server: Any, make_engine: Any) -> None:
    metadata = {"raw": "the model melted", "provider_name": "P"}
    server.set_answers([error(400, "Provider returned error", code=400, metadata=metadata)])
    assert "the model melted" in str(make_engine().generate(["hi"])[0].error)


AZURE = {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's policy.",
    "code": "content_filter",
    "innererror": {"code": "ResponsibleAIPolicyViolation"},
}
FILTERED = {
    "Azure": error(400, **AZURE),
    "Azure's inner code": error(400, "No", innererror={"code": "ResponsibleAIPolicyViolation"}),
    "OpenAI": error(
        400,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
        code="invalid_prompt",
    ),
    "OpenRouter": error(403, "m requires moderation on P. Your input was flagged for violence"),
    "Alibaba": error(400, "Input data may contain…", code="data_inspection_failed"),
    "DeepSeek": error(400, "Content Exists Risk", type="invalid_request_error"),
    "Moonshot": error(400, "The request was rejected because it was considered high risk"),
}


@pytest.mark.parametrize("reply", FILTERED.values(), ids=FILTERED)
def test_a_content_filter_fails_its_row_as_a_refusal(
    reply: Reply, server: Any, make_engine: Any, chain: Chain[Any, Any]
) -> None:
    make_engine(max_concurrency=1)
    server.set_answers({"City 2": reply, "": OSLO})
    run = chain.run(ROWS)
    assert (run.stopped, run.counts.ok, run.counts.failed) == (None, 5, 1)
    failed = [result.error for result in run.results if result.error]
    assert [type(each) for each in failed] == [RefusalError]
    assert len(server.requests) == 6


# --- output modes


def modes(server: Any) -> list[str]:
    formats = [request.body.get("response_format", {}) for request in server.requests]
    return [each.get("type", "prompt") for each in formats]


GROQ = {
    "message": "Failed to validate JSON. Please adjust your prompt. See 'failed_generation'.",
    "type": "invalid_request_error",
    "code": "json_validate_failed",
}


def test_json_that_the_server_found_wrong_is_asked_for_once_more_in_the_same_mode(
    server: Any, make_engine: Any
) -> None:
    server.set_answers([error(400, **GROQ, failed_generation='{"name": '), OSLO])
    output = make_engine().generate(["hi"], output_model=City)[0]
    assert output.outputs[0].parsed == City(**OSLO)
    assert modes(server) == ["json_schema"] * 2


def test_json_that_the_server_found_wrong_twice_fails_its_row(
    server: Any, make_engine: Any
) -> None:
    draft = '{"name": '
    server.set_answers(lambda _: error(400, **GROQ, failed_generation=draft))
    output = make_engine().generate(["hi"], output_model=City)[0]
    assert isinstance(output.error, StructuredOutputError)
    assert output.error.raw_text == draft
    assert "Failed to validate JSON" in str(output.error)
    assert modes(server) == ["json_schema"] * 2


def test_a_valid_answer_in_the_servers_complaint_is_read(server: Any, make_engine: Any) -> None:
    fenced = f"```json\n{json.dumps(OSLO)}\n```"
    server.set_answers([error(400, **GROQ, failed_generation=fenced)])
    output = make_engine().generate(["hi"], output_model=City)[0]
    assert output.error is None
    assert output.outputs[0].parsed == City(**OSLO)


def test_a_bad_request_for_another_reason_does_not_give_up_the_output_mode(
    server: Any, make_engine: Any
) -> None:
    server.set_answers([error(400, "The image could not be fetched"), OSLO])
    engine = make_engine()
    assert type(engine.generate(["hi"], output_model=City)[0].error) is RequestError
    assert engine.generate(["hi"], output_model=City)[0].error is None
    assert modes(server) == ["json_schema"] * 2


REFUSED_MODES = {
    "OpenAI": "Invalid parameter: 'response_format' of type 'json_schema' is not supported",
    "DeepSeek": "This response_format type is unavailable now",
    "OpenAI's schema": "Invalid schema for response_format 'City': context=()",
    "llama.cpp": "failed to parse grammar",
    "vLLM": "The provided JSON schema contains features not supported by xgrammar.",
    "Gemini": "Unknown name \"responseSchema\" at 'generation_config': Cannot find field.",
}


@pytest.mark.parametrize("message", REFUSED_MODES.values(), ids=REFUSED_MODES)
def test_a_refused_output_mode_is_given_up(message: str, server: Any, make_engine: Any) -> None:
    server.set_answers([error(400, message), OSLO])
    output = make_engine().generate(["hi"], output_model=City)[0]
    assert output.error is None
    assert modes(server) == ["json_schema", "json_object"]


def test_an_output_mode_that_is_named_as_the_parameter_is_given_up(
    server: Any, make_engine: Any
) -> None:
    server.set_answers([error(400, "Not possible here", param="response_format"), OSLO])
    assert make_engine().generate(["hi"], output_model=City)[0].error is None


# --- sampling parameters

HOT = SamplingParams(
    temperature=0.2, top_p=0.9, max_tokens=9, seed=1, presence_penalty=1, stop=["x"]
)
REFUSED = {
    "OpenAI": (
        "temperature",
        error(
            400,
            "Unsupported value: 'temperature' does not support 0.2 with this model. "
            "Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        ),
    ),
    "Mistral": (
        "seed",
        Reply(
            status=422,
            body=b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],'
            b' "msg": "Extra inputs are not permitted", "input": 1}]}',
        ),
    ),
    "xAI": ("presence_penalty", error(400, "Model g does not support parameter presencePenalty.")),
    "Gemini": ("presence_penalty", error(400, "Presence penalty is not enabled for models/g")),
    "Gemini's name": ("seed", error(400, 'Unknown name "seed": Cannot find field.')),
    "xAI's stop": ("stop", error(400, "Model g does not support parameter stop.")),
    "Anthropic": (
        "top_p",
        error(400, "`temperature` and `top_p` cannot both be specified for this model."),
    ),
    "a gateway": (
        "temperature",
        error(400, "Provider returned error", metadata={"raw": "`temperature` is deprecated"}),
    ),
}


@pytest.mark.parametrize(("name", "reply"), REFUSED.values(), ids=REFUSED)
def test_a_parameter_that_the_model_refuses_is_left_out_where_that_is_allowed(
    name: str, reply: Reply, server: Any, make_engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server.set_answers([reply, *["fine"] * 3])
    engine = make_engine(drop_unsupported_params=True, max_concurrency=1)
    outputs = engine.generate(["hi"] * 3, HOT)
    assert [output.error for output in outputs] == [None] * 3
    sent = [name in request.body for request in server.requests]
    assert sent == [True, False, False, False]
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert name in warnings[0]


@pytest.mark.parametrize(("name", "reply"), REFUSED.values(), ids=REFUSED)
def test_a_parameter_that_the_model_refuses_stops_the_run_with_advice(
    name: str, reply: Reply, server: Any, make_engine: Any, tmp_path: Path
) -> None:
    make_engine(max_concurrency=1)
    chain = Chain(name="cities", steps=Step(**STEP, sampling=HOT))
    server.set_answers(lambda _: reply)
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    assert run.stopped is not None
    assert run.counts.failed == 0
    assert f"leave {name} out" in str(run.stopped)
    assert "drop_unsupported_params: true" in str(run.stopped)
    assert len(server.requests) <= 2
    make_engine(drop_unsupported_params=True)
    server.set_answers([reply, *[OSLO] * 6])
    run = chain.run(ROWS[:1], output_dir=tmp_path / "other")
    assert run.counts.ok == 1


def test_a_parameter_of_another_name_is_renamed_once(
    server: Any, make_engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead."
    )
    refused = error(400, message, param="max_tokens", code="unsupported_parameter")
    server.set_answers([refused, *["fine"] * 3])
    outputs = make_engine(max_concurrency=1).generate(["hi"] * 3, SamplingParams(max_tokens=9))
    assert [output.error for output in outputs] == [None] * 3
    assert [request.body.get("max_completion_tokens") for request in server.requests] == [
        None, 9, 9, 9,
    ]  # fmt: skip
    assert not any("max_tokens" in request.body for request in server.requests[1:])
    assert sum(each.levelno == logging.WARNING for each in caplog.records) == 1


def test_several_refused_parameters_are_learnt_one_after_the_other(
    server: Any, make_engine: Any
) -> None:
    def answer(messages: Any) -> Any:
        body = server.requests[-1].body
        for name in ("temperature", "presence_penalty", "seed"):
            if name in body:
                return error(400, f"Unsupported parameter: '{name}'", param=name)
        return "fine"

    server.set_answers(answer)
    outputs = make_engine(drop_unsupported_params=True).generate(["hi"] * 20, HOT)
    assert [output.error for output in outputs] == [None] * 20


def test_the_responses_api_learns_parameters_too(server: Any, make_engine: Any) -> None:
    message = "Unsupported parameter: 'temperature' is not supported with this model."
    server.set_answers([error(400, message, param="temperature"), "fine"])
    engine = make_engine(api="responses", drop_unsupported_params=True)
    output = engine.generate(["hi"], SamplingParams(temperature=0.2))[0]
    assert output.error is None
    assert "temperature" not in server.requests[-1].body


@pytest.mark.parametrize(
    "message",
    [
        "'max_tokens' is too large: 9. This model's maximum context length is 5 tokens",
        "temperature must be at most 2",
        "the word temperature is in the prompt",
    ],
)
def test_a_refused_value_is_an_error_of_its_row(
    message: str, server: Any, make_engine: Any
) -> None:
    server.set_answers(lambda _: error(400, message, param="max_tokens"))
    found = make_engine(drop_unsupported_params=True).generate(["hi"], HOT)[0].error
    assert type(found) is RequestError
    assert not found.final
    assert len(server.requests) == 1


# --- waiting


@pytest.mark.parametrize("max_retries", [0, 5])
def test_a_wait_until_tomorrow_stops_the_run_with_the_time_to_resume(
    max_retries: int, server: Any, make_engine: Any, chain: Chain[Any, Any], tmp_path: Path
) -> None:
    make_engine(max_concurrency=1, max_retries=max_retries)
    server.set_answers([OSLO, faults.status(429, retry_after="86400")])
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    assert isinstance(run.stopped, EngineDownError)
    assert "resume after 20" in str(run.stopped)
    assert "UTC" in str(run.stopped)
    assert run.counts.failed == 0


@pytest.mark.parametrize(
    ("status", "should_retry", "requests"),
    [(400, "true", 2), (503, "false", 1), (429, "false", 1), (503, "true", 2), (503, "?", 2)],
)
def test_a_server_that_says_whether_to_retry_is_obeyed(
    status: int, should_retry: str, requests: int, server: Any, make_engine: Any
) -> None:
    refused = Reply(status=status, headers={"x-should-retry": should_retry})
    server.set_answers([refused, "fine"])
    output = make_engine().generate(["hi"])[0]
    assert (output.error is None) == (requests == 2)
    assert len(server.requests) == requests


def test_a_wait_in_milliseconds_is_obeyed(server: Any, make_engine: Any) -> None:
    headers = {"retry-after-ms": "150", "retry-after": "5"}
    server.set_answers([Reply(status=429, headers=headers), "fine"])
    engine: BaseClient = make_engine()
    assert engine.generate(["hi"])[0].error is None
    assert 0.15 <= server.requests[1].at - server.requests[0].at < 2

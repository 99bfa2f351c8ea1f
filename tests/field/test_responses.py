"""Answers of the Responses API as servers really send them, through both senders."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chainette import LLMOutput, SamplingParams, Usage
from chainette.errors import (
    OutputTruncatedError,
    RateLimitError,
    RefusalError,
    RequestError,
    ServerError,
    StructuredOutputError,
)
from chainette.testing.script import Reply
from pydantic import BaseModel

OSLO = '{"name": "Oslo", "inhabitants": 700000}'
SENDERS = pytest.mark.parametrize("sender", ["http", "sdk"])


class City(BaseModel):
    name: str
    inhabitants: int


def part(text: str | None, kind: str = "output_text") -> dict[str, Any]:
    return {"type": kind, "text": text, "annotations": [], "logprobs": []}


def message(*parts: Any, **fields: Any) -> dict[str, Any]:
    base = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    return {**base, "content": list(parts), **fields}


def response(*items: Any, **fields: Any) -> dict[str, Any]:
    base = {"id": "resp_1", "object": "response", "status": "completed", "error": None}
    usage = {"input_tokens": 9, "output_tokens": 20, "total_tokens": 29}
    whole = {**base, "incomplete_details": None, "model": "m", "output": list(items)}
    return {**whole, "usage": usage, **fields}


def reasoning(**fields: Any) -> dict[str, Any]:
    return {"id": "rs_1", "type": "reasoning", "summary": [], **fields}


GOOD = message(part(OSLO))
ANSWERED: dict[str, Any] = {
    "one message": response(GOOD),
    "a message twice (OpenAI)": response(GOOD, GOOD),
    "the same answer in two messages": response(GOOD, GOOD | {"id": "msg_2"}),
    "commentary first": response(message(part("Let me see."), phase="commentary"), GOOD),
    "words first": response(message(part("Here it is:"), id="msg_0"), GOOD),
    "a text of null beside it": response(message(part(None), part(OSLO))),
    "content that is a text": response(GOOD | {"content": OSLO}),
    "parts called text": response(message(part(OSLO, "text"))),
    "a message without a type": response({"role": "assistant", "content": [part(OSLO)]}),
    "an encrypted item": response(reasoning(encrypted_content="gAAAA"), GOOD),
    "a summary of null": response(reasoning(summary=None), GOOD),
    "items of other types": response(
        {"type": "web_search_call", "id": "ws", "status": "completed"},
        {"type": "mcp_list_tools", "id": "mcp", "tools": []},
        {"type": "compaction", "id": "cmp", "encrypted_content": "x"},
        {"type": "of_the_future", "content": [part("no")]},
        GOOD,
    ),
    "a call of a function": response(
        {"type": "function_call", "name": "City", "arguments": OSLO, "call_id": "c"}
    ),
    "a call whose arguments are decoded": response(
        {"type": "function_call", "name": "City", "arguments": json.loads(OSLO), "call_id": "c"}
    ),
    "the prompt repeated": response(
        {"type": "message", "role": "user", "content": "What is {x}? " + OSLO.lower()}, GOOD
    ),
    "a summary that is a text": response(reasoning(summary="hm"), reasoning(summary=["hm"]), GOOD),
    "a status of another type": response(GOOD, status={"code": 200}),
    "no usage": response(GOOD, usage=None),
    "no status (gateways)": {"output": [GOOD]},
    "inside a text (gateways)": json.dumps(response(GOOD)),
    "inside an object (gateways)": {"success": True, "result": response(GOOD)},
    "an error beside the answer": response(GOOD, error={"code": "x", "message": "no"}),
    "a reply of llama.cpp": {
        "completed_at": 1, "created_at": 1, "id": "resp_1", "model": "m", "object": "response",
        "output": [GOOD], "status": "completed",
        "usage": {"input_tokens": 32, "output_tokens": 20, "total_tokens": 52},
    },
}  # fmt: skip


def events(*each: Any, named: bool = True, done: bool = False) -> bytes:
    lines = [
        (f"event: {it['type']}\n" if named else "") + f"data: {json.dumps(it)}\n\n" for it in each
    ]
    return "".join([*lines, *(["data: [DONE]\n\n"] if done else [])]).encode()


CREATED = {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}
DELTA = {"type": "response.output_text.delta", "item_id": "m", "delta": "{"}
ITEM = {"type": "response.output_item.done", "output_index": 1, "item": GOOD}
THOUGHT = {
    "type": "response.output_item.done", "output_index": 0,
    "item": reasoning(summary=[part("hm", "summary_text")]),
}  # fmt: skip
COMPLETED = {"type": "response.completed", "response": response(GOOD)}
ANSWERED |= {
    "a stream": events(CREATED, DELTA, ITEM, COMPLETED),
    "a stream without names": events(CREATED, DELTA, COMPLETED, named=False, done=True),
    "a stream whose end has no output": events(
        CREATED, ITEM, THOUGHT, {"type": "response.completed", "response": {"id": "r"}}
    ),
    "a stream whose end has an empty output": events(
        CREATED, ITEM, {"type": "response.completed", "response": response()}
    ),
}


def ask(
    server: Any, make_engine: Any, reply: Any, sender: str, body: Any, **options: Any
) -> LLMOutput:
    server.set_answers([reply(body)])
    engine = make_engine(api="responses", client=sender, max_retries=0, **options.pop("fields", {}))
    output: LLMOutput = engine.generate(["hi"], **options)[0]
    return output


@SENDERS
@pytest.mark.parametrize("body", ANSWERED.values(), ids=ANSWERED)
def test_an_answer_is_read(
    server: Any, make_engine: Any, reply: Any, sender: str, body: Any
) -> None:
    output = ask(server, make_engine, reply, sender, body, output_model=City)
    assert output.error is None
    assert output.outputs[0].parsed == City(name="Oslo", inhabitants=700000)
    assert len(server.requests) == 1


FLAGGED = "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
CUT = {"reason": "max_output_tokens"}
FAILED: dict[str, tuple[Any, type[Exception], str]] = {
    "failed": (
        response(status="failed", error={"code": "server_error", "message": "crashed"}),
        ServerError, "the response was failed: crashed",
    ),
    "failed, too fast": (
        response(status="failed", error={"code": "rate_limit_exceeded", "message": "wait 3s"}),
        RateLimitError, "the response was failed: wait 3s",
    ),
    "failed, the prompt": (
        response(status="failed", error={"code": "invalid_prompt", "message": "too odd"}),
        RequestError, "too odd",
    ),
    "failed, flagged": (
        response(status="failed", error={"code": "invalid_prompt", "message": FLAGGED}),
        RefusalError, "flagged",
    ),
    "failed, a policy": (
        response(status="failed", error={"code": "bio_policy", "message": "no"}),
        RefusalError, "no",
    ),
    "failed, an error that is a text": (
        response(status="failed", error="out of memory"), ServerError, "out of memory",
    ),
    "failed, no reason": (response(status="failed"), ServerError, "gives no reason"),
    "cancelled": (response(GOOD, status="cancelled"), ServerError, "was cancelled"),
    "queued": (response(status="queued"), ServerError, "leave background out"),
    "in progress": (response(GOOD, status="in_progress"), ServerError, "leave background out"),
    "an error in a success": (
        {"error": {"code": "insufficient_balance", "message": "pay"}}, Exception, "pay",
    ),
    "no output": (response(), ServerError, "not a response"),
    "an output of null": (response(output=None), ServerError, "not a response"),
    "items that are texts": (response("x"), ServerError, "not a response"),
    "a chat completion": (
        {"choices": [{"message": {"content": OSLO}}]}, ServerError, "not a response",
    ),
    "cut": (
        response(message(part('{"name"')), status="incomplete", incomplete_details=CUT),
        OutputTruncatedError, "max_tokens",
    ),
    "cut while thinking": (
        response(reasoning(), status="incomplete", incomplete_details=CUT),
        OutputTruncatedError, "max_tokens",
    ),
    "cut before an item": (
        response(output=None, status="incomplete", incomplete_details=CUT),
        OutputTruncatedError, "max_tokens",
    ),
    "a message that is incomplete by itself": (
        response(message(part(OSLO), status="incomplete")), ServerError, "broke the response off",
    ),
    "filtered": (
        response(status="incomplete", incomplete_details={"reason": "content_filter"}),
        RefusalError, "content_filter",
    ),
    "incomplete, no reason": (
        response(GOOD, status="incomplete"), ServerError, "broke the response off",
    ),
    "incomplete, another reason": (
        response(GOOD, status="incomplete", incomplete_details={"reason": "max_tool_calls"}),
        ServerError, "max_tool_calls",
    ),
    "refused": (
        response(message({"type": "refusal", "refusal": "I will not."})), RefusalError, "I will",
    ),
    "refused after some words": (
        response(message(part("{"), {"type": "refusal", "refusal": "No."})), RefusalError, "No.",
    ),
    "two answers": (
        response(GOOD, message(part(OSLO.replace("Oslo", "Bergen")), id="msg_2")),
        StructuredOutputError, "ambiguous",
    ),
    "a stream that fails": (
        events(CREATED, {
            "type": "response.failed",
            "response": response(status="failed", error={"code": "server_error", "message": "bad"}),
        }), ServerError, "bad",
    ),
    "a stream with an error": (
        events(CREATED, {"type": "error", "code": "rate_limit_exceeded", "message": "slow"}),
        RateLimitError, "slow",
    ),
    "a stream that is cut": (
        events(CREATED, {
            "type": "response.completed",
            "response": response(GOOD, status="incomplete", incomplete_details=CUT),
        }), OutputTruncatedError, "max_tokens",
    ),
    "a stream without an end": (events(CREATED, DELTA, ITEM), ServerError, "not JSON"),
}  # fmt: skip


@SENDERS
@pytest.mark.parametrize(("body", "error", "words"), FAILED.values(), ids=FAILED)
def test_what_is_not_a_good_answer_is_an_error(
    server: Any, make_engine: Any, reply: Any, sender: str, body: Any, error: Any, words: str
) -> None:
    output = ask(server, make_engine, reply, sender, body, output_model=City)
    assert isinstance(output.error, error)
    assert words in str(output.error)


LACKING = {
    "another server": (404, '{"detail": "Not Found"}'),
    "another method": (405, "Method Not Allowed"),
    "not there yet": (501, '{"error": {"message": "not implemented"}}'),
    "an old version of Azure's": (
        400, '{"error": {"message": "Azure OpenAI Responses API is enabled only for api-version '
        '2025-03-01-preview and later"}}',
    ),
    "a model of Azure's": (
        400, '{"error": {"code": "OperationNotSupported", "message": "The responses operation does '
        'not work with the specified model, gpt-4."}}',
    ),
}  # fmt: skip


@SENDERS
@pytest.mark.parametrize(("status", "body"), LACKING.values(), ids=LACKING)
def test_a_server_without_the_responses_api_is_asked_once_and_named(
    server: Any, make_engine: Any, sender: str, status: int, body: str
) -> None:
    server.set_answers(lambda _: Reply(status=status, body=body.encode()))
    engine = make_engine(api="responses", client=sender, max_retries=2)
    assert "set api: chat" in str(engine.generate(["hi"])[0].error)
    assert len(server.requests) == 1


@SENDERS
def test_a_missing_model_is_no_matter_of_the_api(
    server: Any, make_engine: Any, sender: str
) -> None:
    body = b'{"error": {"message": "The model `m` does not exist", "code": "model_not_found"}}'
    server.set_answers(lambda _: Reply(status=404, body=body))
    engine = make_engine(api="responses", client=sender, max_retries=0)
    assert "api: chat" not in str(engine.generate(["hi"])[0].error)


@SENDERS
@pytest.mark.parametrize("count", [-1, 10**18, 1e300, "many"])
def test_a_count_of_tokens_that_is_none_is_unknown(
    server: Any, make_engine: Any, reply: Any, sender: str, count: Any
) -> None:
    body = response(GOOD, usage={"input_tokens": 3, "output_tokens": count})
    output = ask(server, make_engine, reply, sender, body)
    assert (output.error, output.usage) == (None, None)


@SENDERS
@pytest.mark.parametrize("details", [None, {"reason": "max_tool_calls"}])
def test_what_an_unfinished_response_has_used_is_counted(
    server: Any, make_engine: Any, reply: Any, sender: str, details: Any
) -> None:
    body = response(GOOD, status="incomplete", incomplete_details=details)
    output = ask(server, make_engine, reply, sender, body)
    assert output.error is not None
    assert output.usage == Usage(9, 20)


@SENDERS
def test_reasoning_is_read_from_a_summary_or_its_content(
    server: Any, make_engine: Any, reply: Any, sender: str
) -> None:
    raw = reasoning(content=[part("raw", "reasoning_text")], id="rs_2")
    body = response(reasoning(summary=[part("one", "summary_text")]), raw, GOOD)
    output = ask(server, make_engine, reply, sender, body)
    assert output.outputs[0].reasoning_content == "one\nraw"


@SENDERS
def test_a_message_that_is_sent_twice_is_one_text(
    server: Any, make_engine: Any, reply: Any, sender: str
) -> None:
    body = response(message(part("Hello")), message(part("Hello")))
    assert ask(server, make_engine, reply, sender, body).outputs[0].text == "Hello"


@SENDERS
def test_tokens_read_from_the_cache_and_written_to_it_are_reported(
    server: Any, make_engine: Any, reply: Any, sender: str
) -> None:
    usage = {
        "input_tokens": 100, "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 8},
        "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 120,
    }  # fmt: skip
    body = response(GOOD, usage=usage, service_tier="flex")
    output = ask(server, make_engine, reply, sender, body)
    assert output.usage == Usage(100, 20, 5, 60, 8)
    assert output.service_tier == "flex"
    assert output.model == "m"


CUT_SILENTLY: dict[str, tuple[str, Any, int, Any]] = {
    "half a JSON (Ollama 0.25)": ('{"name": "Os', City, 20, OutputTruncatedError),
    "a whole JSON": (OSLO, City, 20, None),
    "a whole JSON and words": (f"{OSLO}\n\nOslo is", City, 20, None),
    "words (llama.cpp)": ("Oslo is a city in the", City, 20, StructuredOutputError),
    "half a JSON below the limit": ('{"name": "Os', City, 21, StructuredOutputError),
}


@SENDERS
@pytest.mark.parametrize(
    ("text", "model", "limit", "error"), CUT_SILENTLY.values(), ids=CUT_SILENTLY
)
def test_an_answer_that_was_cut_without_a_word_is_cut(
    server: Any, make_engine: Any, reply: Any, sender: str, text: Any, model: Any, limit: int,
    error: Any,
) -> None:  # fmt: skip
    body = response(message(part(text)))
    sampling = SamplingParams(max_tokens=limit)
    output = ask(
        server, make_engine, reply, sender, body, sampling_params=sampling, output_model=model
    )
    assert type(output.error) is (error or type(None))


@SENDERS
def test_a_text_that_may_be_cut_is_warned_of_once(
    server: Any, make_engine: Any, reply: Any, sender: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.set_answers([reply(response(message(part("one"))))] * 3)
    engine = make_engine(api="responses", client=sender)
    outputs = engine.generate(["hi"] * 3, SamplingParams(max_tokens=20))
    assert [output.error for output in outputs] == [None] * 3
    assert caplog.text.count("exactly max_tokens=20 tokens") == 1


@SENDERS
def test_a_response_in_the_background_is_not_asked_for_again(
    server: Any, make_engine: Any, reply: Any, sender: str
) -> None:
    server.set_answers(lambda _: reply(response(status="queued")))
    engine = make_engine(
        api="responses", client=sender, max_retries=5, extra_body={"background": True}
    )
    (output,) = engine.generate(["hi"])
    assert "background" in str(output.error)
    assert len(server.requests) == 1

"""Answers as OpenAI-compatible servers and their models write them."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import anyio
import httpx
import pytest
from chainette.engine.http.client import BaseHTTPClient
from chainette.errors import (
    OutputTruncatedError,
    RefusalError,
    ServerError,
    StructuredOutputError,
)
from chainette.types import LLMOutput
from chainette.usage import Usage
from pydantic import BaseModel
from replies import BERGEN, OSLO, TEXT, City, ask, body, replied

# --- bodies


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_completion_is_read_whatever_the_success_is_called(
    status: int, server: Any, make_engine: Any
) -> None:
    server.set_answers([replied(body(), status)])
    assert ask(make_engine()).outputs[0].parsed == OSLO


EMPTY = [
    {"choices": []},
    {"choices": None},
    {"choices": [{}]},
    body({}) | {"choices": [{"message": None}]},
]


@pytest.mark.parametrize("empty", EMPTY, ids=str)
def test_a_completion_without_choices_is_asked_for_again(
    empty: Any, server: Any, make_engine: Any
) -> None:
    server.set_answers([replied(empty), TEXT])
    assert ask(make_engine()).outputs[0].parsed == OSLO
    assert len(server.requests) == 2


BROKEN_USAGE: list[Any] = [
    None, {}, "none", [], 7, {"prompt_tokens": "many"}, {"prompt_tokens": [1]},
    {"completion_tokens_details": 3}, {"prompt_tokens": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize("usage", BROKEN_USAGE, ids=str)
def test_an_answer_whose_usage_cannot_be_read_counts(
    usage: Any, server: Any, make_engine: Any
) -> None:
    server.set_answers([replied(body(usage=usage))])
    output = ask(make_engine())
    assert output.outputs[0].parsed == OSLO
    assert output.usage is None
    assert len(server.requests) == 1


def test_usage_with_missing_parts_is_read(server: Any, make_engine: Any) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": None, "prompt_tokens_details": None}
    server.set_answers([replied(body(usage=usage))])
    assert ask(make_engine()).usage == Usage(prompt_tokens=3)


# --- the reason for the end


CUT = ["length", "MAX_TOKENS", "max_tokens", "model_length", "model_context_window_exceeded"]


@pytest.mark.parametrize("reason", CUT)
def test_an_answer_cut_at_the_limit_is_not_asked_for_again(
    reason: str, server: Any, make_engine: Any
) -> None:
    server.set_answers([replied(body({"content": '{"name": "Os'}, reason))])
    assert isinstance(ask(make_engine()).error, OutputTruncatedError)
    assert len(server.requests) == 1


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "RECITATION", "sensitive"])
def test_an_answer_that_is_withheld_is_a_refusal(
    reason: str, server: Any, make_engine: Any
) -> None:
    server.set_answers([replied(body({"content": ""}, reason))])
    assert isinstance(ask(make_engine()).error, RefusalError)
    assert len(server.requests) == 1


@pytest.mark.parametrize("reason", ["stop", "STOP", "end_turn", "eos_token", None])
def test_a_complete_answer_is_read_whatever_its_end_is_called(
    reason: Any, server: Any, make_engine: Any
) -> None:
    server.set_answers([replied(body(finish_reason=reason))])
    assert ask(make_engine()).outputs[0].parsed == OSLO


BROKEN_OFF = ["error", "insufficient_system_resource", "network_error", "abort"]


@pytest.mark.parametrize("reason", BROKEN_OFF)
def test_an_answer_that_is_broken_off_is_asked_for_again(
    reason: str, server: Any, make_engine: Any
) -> None:
    broken = replied(body({"content": TEXT}, reason))
    server.set_answers([broken, TEXT])
    assert ask(make_engine()).outputs[0].parsed == OSLO
    assert len(server.requests) == 2
    server.set_answers(lambda _: broken)
    error = ask(make_engine(max_retries=1)).error
    assert type(error) is ServerError
    assert reason in str(error)


def test_the_error_of_a_choice_is_the_reason(server: Any, make_engine: Any) -> None:
    answer = body({"content": "Os"}, "error")
    answer["choices"][0]["error"] = {"code": 502, "message": "the provider is gone"}
    server.set_answers(lambda _: replied(answer))
    error = ask(make_engine(max_retries=1)).error
    assert type(error) is ServerError
    assert "the provider is gone" in str(error)
    assert len(server.requests) == 2


# --- the place of the answer


CALL = {"type": "function", "function": {"name": "City", "arguments": TEXT}}
MESSAGES: dict[str, dict[str, Any]] = {
    "parts": {"content": [{"type": "text", "text": TEXT[:9]}, {"type": "text", "text": TEXT[9:]}]},
    "parts of the other API": {"content": [{"type": "output_text", "text": TEXT}]},
    "thoughts and text": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": BERGEN}]},
            {"type": "text", "text": TEXT},
        ]
    },
    "a tool call": {"content": None, "tool_calls": [CALL]},
    "two equal tool calls": {"content": "", "tool_calls": [CALL, CALL]},
    "the older call": {"content": "", "function_call": CALL["function"]},
    "reasoning": {"content": "", "reasoning": f"The answer is {TEXT}."},
    "reasoning by its older name": {"content": None, "reasoning_content": TEXT},
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_an_answer_is_read_where_it_is(
    message: dict[str, Any], server: Any, make_engine: Any
) -> None:
    server.set_answers([replied(body(message))])
    output = ask(make_engine())
    assert output.error is None
    assert output.outputs[0].parsed == OSLO
    assert output.outputs[0].text


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"content": "", "reasoning": "It may be Oslo."}, "in the model's reasoning"),
        ({"content": "", "reasoning": f"{BERGEN} or {TEXT}"}, "in the model's reasoning"),
        (
            {"content": None, "tool_calls": [{"function": {"arguments": "{}"}}]},
            "in the arguments of a tool call",
        ),
    ],
)
def test_an_answer_that_is_elsewhere_and_not_valid_is_an_error_that_says_where(
    message: dict[str, Any], place: str, server: Any, make_engine: Any
) -> None:
    server.set_answers(lambda _: replied(body(message)))
    output = ask(make_engine())
    assert isinstance(output.error, StructuredOutputError)
    assert place in str(output.error)


def test_a_refusal_in_a_part_is_a_refusal(server: Any, make_engine: Any) -> None:
    parts = [{"type": "refusal", "refusal": "I will not."}]
    server.set_answers([replied(body({"content": parts}))])
    error = ask(make_engine()).error
    assert isinstance(error, RefusalError)
    assert "I will not." in str(error)


@pytest.mark.parametrize("refusal", [True, 1, {"reason": "policy"}, ["no"]], ids=str)
def test_a_refusal_that_is_no_text_is_a_refusal(
    refusal: Any, server: Any, make_engine: Any
) -> None:
    server.set_answers([replied(body({"content": "Not today.", "refusal": refusal}))])
    error = ask(make_engine()).error
    assert isinstance(error, RefusalError)
    assert "Not today." in str(error)


def test_parts_are_plain_text_where_no_type_is_asked_for(server: Any, make_engine: Any) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "image"}, "lo"]
    server.set_answers([replied(body({"content": parts}))])
    assert ask(make_engine(), None).outputs[0].text == "hello"


# --- characters


HALVES = {
    "high": (rb"\ud83d", "\ufffd"),
    "low": (rb"\ude00", "\ufffd"),
    "two high": (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    "a pair": (rb"\ud83d\ude00", "\U0001f600"),
    "an escaped backslash": (rb"\\ud83d", "\\ud83d"),
    "bad UTF-8": (b"\xff", "\ufffd"),
}


@pytest.mark.parametrize(("sent", "read"), HALVES.values(), ids=HALVES)
def test_half_a_character_is_read_as_the_replacement_character(
    sent: bytes, read: str, server: Any, make_engine: Any
) -> None:
    whole = b'{"choices": [{"message": {"content": "a%bz"}, "finish_reason": "stop"}]}' % sent
    server.set_answers([replied(whole)])
    assert ask(make_engine(), None).outputs[0].text == f"a{read}z"
    assert len(server.requests) == 1


def test_half_a_character_in_the_models_json_is_read(server: Any, make_engine: Any) -> None:
    server.set_answers([r'{"name": "Os\ud83dlo", "inhabitants": 1}'])
    assert ask(make_engine()).outputs[0].parsed == City(name="Os\ufffdlo", inhabitants=1)


# --- several values


FENCE = "```json\n{}\n```"
ONE = {
    "after the thoughts": f"<think>{BERGEN}</think>{TEXT}",
    "thoughts that never close": f"<think>Well. The answer is {TEXT}",
    "closed and open again": f"<think>{BERGEN}</think><think>so {TEXT}",
    "thoughts that never open": f"It may be {BERGEN}</think>{TEXT}",
    "thoughts of Mistral": f"[THINK]{BERGEN}[/THINK]{TEXT}",
    "a final channel": f"<|channel|>analysis<|message|>{BERGEN}<|channel|>final<|message|>{TEXT}",
    "two equal fences": FENCE.format(TEXT) + FENCE.format(TEXT),
    "equal values, written otherwise": f'{TEXT} that is {{"inhabitants": 7e5, "name": "Oslo"}}',
    "one that does not fit": '{"name": "Bergen"} ' + TEXT,
}


@pytest.mark.parametrize("text", ONE.values(), ids=ONE)
def test_one_value_among_other_text_is_read(text: str, server: Any, make_engine: Any) -> None:
    server.set_answers([text])
    assert ask(make_engine()).outputs[0].parsed == OSLO
    assert len(server.requests) == 1


SEVERAL = {
    "prose": f"First I thought {BERGEN}, but it is {TEXT}.",
    "two fences": FENCE.format(BERGEN) + "\nor\n" + FENCE.format(TEXT),
    "a fence and prose": f"{BERGEN}\n" + FENCE.format(TEXT),
    "lines": f"{BERGEN}\n{TEXT}",
    "thoughts that never close": f"<think>{BERGEN}? No, {TEXT}",
}


@pytest.mark.parametrize("text", SEVERAL.values(), ids=SEVERAL)
def test_several_different_values_are_asked_for_once_more(
    text: str, server: Any, make_engine: Any
) -> None:
    server.set_answers([text, TEXT])
    assert ask(make_engine()).outputs[0].parsed == OSLO
    server.set_answers([text, text])
    error = ask(make_engine()).error
    assert isinstance(error, StructuredOutputError)
    assert "2 different values of City" in str(error)
    assert error.raw_text == text
    assert len(server.requests) == 2


def test_a_value_in_the_thoughts_alone_is_not_the_answer(server: Any, make_engine: Any) -> None:
    text = f"<think>{BERGEN}</think>I do not know."
    server.set_answers([text, text])
    assert isinstance(ask(make_engine()).error, StructuredOutputError)


# --- size and encoding


def ask_over(transport: str, engine: BaseHTTPClient, model: Any = City) -> LLMOutput:
    """Ask with the client's own transport, or with an `httpx.AsyncClient` of one's own."""
    if transport == "aiohttp":
        return ask(engine, model)

    async def call() -> LLMOutput:
        async with httpx.AsyncClient(mounts={"all://127.0.0.1": None}) as engine.http:
            return (await engine.agenerate(["hi"], output_model=model))[0]

    return anyio.run(call)


TRANSPORTS = ("aiohttp", "httpx")


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("compressed", [False, True])
def test_an_answer_that_is_too_long_is_a_clear_error(
    transport: str, compressed: bool, server: Any, make_engine: Any
) -> None:
    whole = json.dumps(body({"content": "x" * 30_000_000})).encode()
    headers = {"Content_Encoding": "gzip"} if compressed else {}
    data = gzip.compress(whole, 1) if compressed else whole
    server.set_answers(lambda _: replied(data, **headers))
    engine = make_engine(max_response_bytes=1_000_000)
    tracemalloc.start()
    error = ask_over(transport, engine, None).error
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert type(error) is ServerError
    assert "max_response_bytes=1000000" in str(error)
    assert len(server.requests) == 1
    assert peak < 2 * len(whole), "the server has it once, and the client would have it thrice"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_answer_as_long_as_allowed_is_read(
    transport: str, server: Any, make_engine: Any
) -> None:
    whole = json.dumps(body()).encode()
    server.set_answers([replied(gzip.compress(whole), Content_Encoding="gzip")])
    engine = make_engine(max_response_bytes=len(whole) + 300)  # the headers count, too
    assert ask_over(transport, engine).outputs[0].parsed == OSLO


ODD_ENCODINGS = {
    "unknown": ("compress", b"\x1f\x9d\x90"),
    "not what it says": ("gzip", json.dumps(body()).encode()),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(("encoding", "data"), ODD_ENCODINGS.values(), ids=ODD_ENCODINGS)
def test_an_encoding_that_cannot_be_decoded_is_a_clear_error(
    encoding: str, data: bytes, transport: str, server: Any, make_engine: Any
) -> None:
    server.set_answers(lambda _: replied(data, Content_Encoding=encoding))
    error = ask_over(transport, make_engine(max_retries=0)).error
    assert type(error) is ServerError
    assert "Content-Encoding" in str(error)


# --- mistakes


MISTAKES = {
    "a comma at the end": '{"name": "Oslo", "inhabitants": 700000,}',
    "comments": '{"name": "Oslo", // the capital\n/* people */ "inhabitants": 700000}',
    "single quotes": "{'name': 'Oslo', 'inhabitants': 700000}",
    "names without quotes": '{name: "Oslo", inhabitants: 700000}',
    "in prose": "Here you are: {'name': 'Oslo', 'inhabitants': 700000,} Anything else?",
    "in a fence": FENCE.format('{"name": "Oslo", "inhabitants": 700000,}'),
    "one more object": f'{{"City": {TEXT}}}',
    "one more object in prose": f'It is {{"answer": {TEXT}}}.',
    "one more object of another name": f'{{"capital_of_norway": {TEXT}}}',
    "a list of one": f"[{TEXT}]",
    "encoded twice": json.dumps(TEXT),
    "all at once": json.dumps({"city": json.dumps([json.loads(TEXT)])}),
}


@pytest.mark.parametrize("text", MISTAKES.values(), ids=MISTAKES)
def test_a_usual_mistake_is_read_in_the_one_way_that_it_can_be_meant(
    text: str, server: Any, make_engine: Any
) -> None:
    server.set_answers([text])
    assert ask(make_engine()).outputs[0].parsed == OSLO
    assert len(server.requests) == 1


NOT_MISTAKES = {
    "two in a list": f"[{TEXT}, {BERGEN}]",
    "the name of something else": f'{{"example": {TEXT}}}',
    "beside something else": f'{{"capital": {TEXT}, "sure": true}}',
    "cut": '{"name": "Oslo", "inhabitants": 7',
    "a quote in quotes": "{'name': 'L'Oslo', 'inhabitants': 7}",
    "no comma": '{"name": "Oslo" "inhabitants": 7}',
    "two commas": '{"name": "Oslo",, "inhabitants": 7}',
}


@pytest.mark.parametrize("text", NOT_MISTAKES.values(), ids=NOT_MISTAKES)
def test_a_text_that_would_have_to_be_guessed_is_an_error(
    text: str, server: Any, make_engine: Any
) -> None:
    server.set_answers([text, text])
    assert isinstance(ask(make_engine()).error, StructuredOutputError)


class Note(BaseModel):
    text: str
    is_open: bool = False
    more: Note | None = None


def test_texts_keep_their_characters_where_mistakes_are_corrected(
    server: Any, make_engine: Any
) -> None:
    server.set_answers(["{'text': 'say \"hi\", // it\\'s\n[1,]', 'is_open': True, 'more': None,}"])
    assert ask(make_engine(), Note).outputs[0].parsed == Note(
        text='say "hi", // it\'s\n[1,]', is_open=True
    )


def test_a_part_of_an_answer_is_not_the_answer(server: Any, make_engine: Any) -> None:
    text = '{"more": {"text": "inner"}}'
    server.set_answers([text, text])
    assert isinstance(ask(make_engine(), Note).error, StructuredOutputError)


def test_the_outer_value_counts_where_an_inner_one_would_fit(server: Any, make_engine: Any) -> None:
    server.set_answers(['{"text": "outer", "more": {"text": "inner"},}'])
    parsed = ask(make_engine(), Note).outputs[0].parsed
    assert parsed == Note(text="outer", more=Note(text="inner"))

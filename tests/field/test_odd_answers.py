"""Answers of servers and models that depart further from the protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chainette.errors import RateLimitError, RefusalError, ServerError, StructuredOutputError
from chainette.testing.script import Reply
from pydantic import BaseModel
from replies import BERGEN, OSLO, TEXT, City, ask, body, replied

# --- bodies


def chunk(delta: Any, finish_reason: Any = None, **fields: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return b"data: %b\n\n" % json.dumps({"choices": choices, **fields}).encode()


FIRST, SECOND = chunk({"role": "assistant", "content": TEXT[:9]}), chunk({"content": TEXT[9:]})
END = chunk({}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 4})
DONE = b"data: [DONE]\n\n"
CALL = [{"index": 0, "function": {"name": "City", "arguments": TEXT[:5]}}]
MORE = [{"index": 0, "function": {"arguments": TEXT[5:]}}]
WHOLE = body({"content": TEXT})
NAMED = City(name="Tromsø", inhabitants=1)
LATIN = json.dumps(body({"content": NAMED.model_dump_json()}), ensure_ascii=False).encode("latin-1")
BODIES: dict[str, Reply] = {
    "a stream": replied(FIRST + SECOND + END + DONE, Content_Type="text/event-stream"),
    "a stream with comments": replied(b": PROCESSING\n\n" + FIRST + SECOND + END + DONE),
    "a stream with other line ends": replied((FIRST + SECOND + END).replace(b"\n", b"\r\n")),
    "a stream with names of events": replied(b"event: chunk\n" + FIRST + SECOND + END),
    "a stream that starts without choices": replied(
        b'data: {"choices": [], "prompt_filter_results": []}\n\n' + FIRST + SECOND + END
    ),
    "a stream of one message": replied(b"data: %b\n\n" % json.dumps(WHOLE).encode()),
    "a stream of a call": replied(
        chunk({"tool_calls": CALL}) + chunk({"tool_calls": MORE}) + chunk({}, "tool_calls") + DONE
    ),
    "encoded twice": replied(json.dumps(json.dumps(WHOLE)).encode()),
    "inside an object": replied({"result": WHOLE, "success": True, "errors": []}),
    "the older completions": replied({"choices": [{"text": TEXT, "finish_reason": "stop"}]}),
    "a delta": replied({"choices": [{"delta": {"content": TEXT}}]}),
    "a mark of the byte order": replied(b"\xef\xbb\xbf" + json.dumps(WHOLE).encode()),
    "an object in place of the content": replied(body({"content": json.loads(TEXT)})),
    "one part": replied(body({"content": {"type": "text", "text": TEXT}})),
    "a part without a type": replied(body({"content": [{"text": TEXT}]})),
    "a part with a value": replied(body({"content": [{"type": "text", "text": {"value": TEXT}}]})),
    "arguments that are an object": replied(
        body({"content": None, "tool_calls": [{"function": {"arguments": json.loads(TEXT)}}]})
    ),
    "an error that is empty": replied({**WHOLE, "error": {}}),
}  # fmt: skip


@pytest.mark.parametrize("reply", BODIES.values(), ids=BODIES)
def test_an_answer_is_read_in_whatever_it_is_packed(
    reply: Reply, server: Any, make_engine: Any
) -> None:
    server.set_answers([reply])
    assert ask(make_engine()).outputs[0].parsed == OSLO
    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [body({"content": {"type": "cat", "lives": 9}})])
def test_an_object_with_a_type_of_its_own_is_the_answer(
    reply: Any, server: Any, make_engine: Any
) -> None:
    class Cat(BaseModel):
        type: str
        lives: int

    server.set_answers([replied(reply)])
    assert ask(make_engine(), Cat).outputs[0].parsed == Cat(type="cat", lives=9)


def test_an_encoding_that_is_declared_is_read(server: Any, make_engine: Any) -> None:
    server.set_answers([replied(LATIN, Content_Type="application/json; charset=ISO-8859-1")])
    assert ask(make_engine()).outputs[0].parsed == NAMED
    server.set_answers([replied(LATIN, Content_Type="application/json; charset=unknown")])
    assert ask(make_engine()).outputs[0].parsed == City(name="Troms\ufffd", inhabitants=1)


STREAMED_ERROR = b'data: {"error": {"code": 429, "message": "slow down"}}\n\n'
PASSING: dict[str, Any] = {
    "nothing": replied(b""),
    "white space": replied(b" \n\n"),
    "a stream that is cut": replied(FIRST + b'data: {"choi'),
    "a stream without an end": replied(FIRST + SECOND),
    "a stream of an error": replied(STREAMED_ERROR),
    "an error beside an empty message": replied(
        body({"content": ""}, None, error={"code": 429, "message": "slow down"})
    ),
    "a code and a message": replied({"code": 429, "msg": "too many requests"}),
    "MiniMax's code": replied(
        {"choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}
    ),
    "Gemini's malformed call": replied(body({"role": "assistant"}, "MALFORMED_FUNCTION_CALL")),
    "the same, without a message": replied(
        {"choices": [{"finish_reason": "function_call_filter: MALFORMED_FUNCTION_CALL"}]}
    ),
    "Gemini's other": replied(body({"content": None}, "OTHER")),
}


@pytest.mark.parametrize("reply", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("model", [City, None])
def test_a_body_without_an_answer_is_asked_for_again(
    model: Any, reply: Reply, server: Any, make_engine: Any
) -> None:
    server.set_answers([reply, TEXT])
    output = ask(make_engine(), model)
    assert output.outputs[0].text == TEXT
    assert len(server.requests) == 2


def test_the_error_of_a_stream_is_the_reason(server: Any, make_engine: Any) -> None:
    server.set_answers([replied(STREAMED_ERROR)])
    error = ask(make_engine(max_retries=0)).error
    assert type(error) is RateLimitError
    assert "slow down" in str(error)


@pytest.mark.parametrize(
    "choice",
    [
        {"finish_reason": "RECITATION", "index": 0},
        {"finish_reason": "content_filter: PROHIBITED_CONTENT", "message": {"role": "assistant"}},
        {"finish_reason": "IMAGE_SAFETY", "message": {"content": None}},
    ],
)
def test_an_answer_that_is_withheld_is_a_refusal(
    choice: Any, server: Any, make_engine: Any
) -> None:
    server.set_answers([replied({"choices": [choice]})])
    assert isinstance(ask(make_engine()).error, RefusalError)
    assert len(server.requests) == 1


PAGES = {
    "a login": b"<!doctype html><html><head><title>Log in to Hotel</title></head></html>",
    "a root": b"Ollama is running",
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_in_place_of_the_api_says_what_to_look_at(
    page: bytes, server: Any, make_engine: Any
) -> None:
    server.set_answers(lambda _: replied(page, Content_Type="text/html"))
    error = ask(make_engine()).error
    assert type(error) is ServerError
    assert "most end in /v1" in str(error)
    assert ("a web page" in str(error)) == page.startswith(b"<")
    assert len(server.requests) == 1


# --- the model's text

THOUGHTS = {
    "Seed": f"<seed:think>{BERGEN}</seed:think>{TEXT}",
    "MiniMax": f"<mm:think>{BERGEN}</mm:think>{TEXT}",
    "Cohere": f"<|START_THINKING|>{BERGEN}<|END_THINKING|><|START_TEXT|>{TEXT}<|END_TEXT|>",
    "OpenThinker": f"<|begin_of_thought|>{BERGEN}<|end_of_thought|> {TEXT}",
    "Gemma": f"<|channel>thought\n{BERGEN}<channel|>{TEXT}",
}
WRAPPED = {
    "a call": f'<tool_call>\n{{"name": "City", "arguments": {TEXT}}}\n</tool_call>',
    "a call by its older name": f'{{"type": "function", "name": "City", "parameters": {TEXT}}}',
    "LiteLLM's call": f'{{"json_tool_call": {TEXT}}}',
    "the schema, filled in": json.dumps(
        {"type": "object", "properties": json.loads(TEXT), "required": ["name"]}
    ),
    "typographic quotes": "{“name”: “Oslo”, “inhabitants”: 700000}",
    "hard spaces": '{\u00a0"name": "Oslo",\u00a0"inhabitants": 700000}',
    "characters without width": f"\ufeff\u200b{TEXT}",
    "a mark of the end": f"{TEXT}<|im_end|>",
    "one value twice under one name": '{"name": "Oslo", "name": "Oslo", "inhabitants": 7e5}',
}


@pytest.mark.parametrize("text", [*THOUGHTS.values(), *WRAPPED.values()], ids=[*THOUGHTS, *WRAPPED])
def test_the_one_value_in_a_text_is_read(text: str, server: Any, make_engine: Any) -> None:
    server.set_answers([text])
    assert ask(make_engine()).outputs[0].parsed == OSLO
    assert len(server.requests) == 1


NOT_CERTAIN = {
    "two values under one name": '{"name": "Bergen", "name": "Oslo", "inhabitants": 1}',
    "the same in a fence": '```json\n{"name": "Bergen", "name": "Oslo", "inhabitants": 1}\n```',
    "the same, with spaces": '{"name" : "Bergen", "name"\n: "Oslo", "inhabitants": 1}',
    "the same, written otherwise": '{"name": "Bergen", "n\\u0061me": "Oslo", "inhabitants": 1}',
    "a call of something else": f'{{"name": "Town", "arguments": {TEXT}}}',
    "the schema": json.dumps(City.model_json_schema()),
}


@pytest.mark.parametrize("text", NOT_CERTAIN.values(), ids=NOT_CERTAIN)
def test_what_is_not_certain_is_asked_for_once_more(
    text: str, server: Any, make_engine: Any
) -> None:
    server.set_answers([text, text])
    assert isinstance(ask(make_engine()).error, StructuredOutputError)
    assert len(server.requests) == 2


def test_two_values_under_one_name_are_named(server: Any, make_engine: Any) -> None:
    server.set_answers(lambda _: NOT_CERTAIN["two values under one name"])
    assert "two different values of 'name'" in str(ask(make_engine()).error)


class Street(BaseModel):
    name: str
    houses: list[City]


def test_one_name_in_several_objects_is_usual(server: Any, make_engine: Any) -> None:
    street = Street(name="x", houses=[OSLO, OSLO.model_copy(update={"name": "y"})])
    server.set_answers([street.model_dump_json()])
    assert ask(make_engine(), Street).outputs[0].parsed == street

"""What the user sees of each recorded answer that the client can meet: case by server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from chainette import SamplingParams, register_engine
from chainette.engine.client import retry
from chainette.testing.fake_server import ReceivedRequest
from chainette.testing.ollama.server import FakeOllama
from chainette.testing.script import Reply
from ollama_recordings import VERSIONS, Exchange, exchanges, modelfiles, recorded
from pydantic import BaseModel

T, N, OLD = VERSIONS


class Label(BaseModel):
    label: Literal["good", "bad"]


class Value(BaseModel):
    v: Any


class Verdict(BaseModel):
    reasoning: str
    answer: Literal["yes", "no"]


TYPES = {"label": Label, "reasoning": Verdict}
GOOD, BAD = "label='good'", "label='bad'"
CONTEXT = "ContextLengthError: the prompt has {} tokens, and 256 fit (num_ctx 256 in the"
FULL = (
    "OutputTruncatedError: output cut by the end of the context ({} tokens of the prompt and {} of "
    "the answer; num_ctx 256 in the model's own parameters): raise num_ctx"
)
ANY = "v="
OUTCOMES: dict[str, str | dict[str, str]] = {
    "text": {T: "The lamp broke: good.", N: "The lamp broke: good.", OLD: "cut at max_tokens=40"},
    "schema": {T: GOOD, N: BAD, OLD: BAD},
    "json_mode": "OutputTruncatedError: output cut at max_tokens=40: raise max_tokens",
    "length": "OutputTruncatedError: output cut at max_tokens=12: raise max_tokens",
    "shift_false": {
        T: FULL.format(13, 243), N: FULL.format(34, 222), OLD: FULL.format(13, 244),
    },
    "order": "answer='no'",  # 0.25 writes blanks up to its limit
    "length_of_modelfile": "OutputTruncatedError: output cut by num_predict 5 in the model's own "
    "parameters: set max_tokens",
    "stop_of_modelfile": 'OutputTruncatedError: output cut by a stop word in the model\'s own '
    'parameters ("}")',
    "too_long_truncate_false": {
        T: CONTEXT.format(2013), N: CONTEXT.format(2034), OLD: CONTEXT.format("too many"),
    },
    "too_long_modelfile_truncate_false": {
        T: CONTEXT.format(2013), N: CONTEXT.format(2034), OLD: CONTEXT.format("too many"),
    },
    "too_long_history_truncate_false": {
        T: CONTEXT.format(334), N: CONTEXT.format(334), OLD: CONTEXT.format("too many"),
    },
    "fits_truncate_false": {T: GOOD, N: BAD, OLD: BAD},
    "stuck_thinking": {
        T: "StructuredOutputError: all tokens went into the model's thinking",
        N: BAD,
        OLD: "OutputTruncatedError: all tokens went into the model's thinking",
    },
    "stuck_think_false": {T: GOOD, N: BAD, OLD: GOOD},
    "thinking_format": {T: "StructuredOutputError: ", N: BAD, OLD: "OutputTruncatedError: "},
    "thinking_format_think_false": {T: GOOD, N: BAD, OLD: BAD},
    "thinking_format_think_true": {
        T: "StructuredOutputError: ",
        N: "RequestError: does not support thinking",
        OLD: "OutputTruncatedError: ",
    },
    "think_unsupported": 'RequestError: "smollm2:135m" does not support thinking',
    "think_invalid": "RequestError: invalid think value",
    "missing_model": "NotFoundError: to get the model: ollama pull smollm2:135m",
    "bad_model_name": "RequestError: invalid model name",
    "no_model": "RequestError: model is required",
    "path_v1": "NotFoundError: the path is wrong: is endpoint the address of Ollama?",
    "path_double": "RequestError: redirects (307)",
    "path_slash": "RequestError: redirects (307)",
    "get_chat": "RequestError: 405 method not allowed",
    "keep_alive_text": "RequestError: missing unit",
    "keep_alive_unit": "RequestError: unknown unit",
    "keep_alive_bool": "RequestError: Unsupported type",
    "option_type": 'RequestError: option "num_ctx" must be of type integer',
    "option_stop_type": 'RequestError: option "stop" must be of type array',
    "bad_format": "RequestError: invalid format",
    "loop": {
        T: "OutputTruncatedError: gave up on a repeating answer",
        N: "OutputTruncatedError: output cut at max_tokens=300",
        OLD: "OutputTruncatedError: gave up on a repeating answer",
    },
    "load": "RequestError: done_reason: load",
    "unload": "RequestError: done_reason: unload",
    "content_parts": "RequestError: cannot unmarshal array",
    "cloud": "ServerError: no such host",
    "bad_json": "RequestError: unexpected EOF",
    "empty_body": "RequestError: missing request body",
    "host_header": "AuthenticationError: Ollama refuses the Host or Origin of the request",
    "few_shot": BAD,
    "tool_call": "RequestError: does not support tools",
    "image_to_text_model": {
        T: "RequestError: does not support multimodal", N: "ServerError: image input is not",
        OLD: "OutputTruncatedError: ",
    },
    "image_data_url": "RequestError: illegal base64",
    "pattern_unanchored": {
        T: "RequestError: Pattern must start with '^'",
        N: "RequestError: Pattern must start with '^'",
        OLD: "Error: invalid JSON schema in format",
    },
    "pattern_class": {
        T: "RequestError: failed to parse grammar", N: "RequestError: failed to parse grammar",
        OLD: "Error: model runner has unexpectedly stopped",
    },
    "pattern_flag": "Error: model runner has unexpectedly stopped",
    "pattern_ok": ANY,
    "any_of": ANY,
    "const": ANY,
    "logprobs": "OutputTruncatedError: output cut at max_tokens=2",
}  # fmt: skip


class Replaying(FakeOllama):
    """A server that gives one recorded answer to every chat, whatever is asked."""

    def refuse(self, request: ReceivedRequest) -> Reply | None:
        return None


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.0)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Replaying]]:
    made = {
        version: Replaying(version=version, modelfiles=modelfiles(version)) for version in VERSIONS
    }
    for server in made.values():
        server.__enter__()
    yield made
    for server in made.values():
        server.close()


def seen(exchange: Exchange, server: Replaying) -> str:
    """What the user sees of an answer: the value, or the class and the message of the error."""
    try:
        sent = json.loads(exchange.content)
    except ValueError:
        sent = {}
    headers = {"Content-Type": exchange.content_type} if exchange.content_type else {}
    if exchange.status == 307:
        headers["Location"] = "/api/chat/"
    server.set_answers(
        lambda _: Reply(status=exchange.status, body=exchange.body.encode(), headers=headers)
    )
    model = sent.get("model") if exchange.status == 200 else "smollm2:135m"
    if "too_long" in exchange.case or "shift" in exchange.case:
        model = "smol-ctx"
    engine = register_engine(
        "e", backend="ollama_api", endpoint=server.endpoint, model=model, max_retries=1
    ).engine
    most = (sent.get("options") or {}).get("num_predict")
    form = sent.get("format")
    output_model: Any = str
    if isinstance(form, dict):
        first = next(iter(form.get("properties", {})), "")
        output_model = TYPES.get(first, Value)
    output = engine.generate(["hi"], SamplingParams(max_tokens=most), output_model=output_model)[0]
    if output.error is not None:
        return f"{type(output.error).__name__}: {output.error}"
    return str(output.outputs[0].parsed)


def matches(expected: str, shown: str) -> bool:
    kind, found, words = expected.partition("Error: ")
    if not found:
        return expected in shown
    return kind + "Error" in shown.partition(":")[0] and words in shown


@pytest.mark.parametrize("case", OUTCOMES)
def test_each_recorded_answer_has_its_outcome(case: str, servers: dict[str, Replaying]) -> None:
    expected = OUTCOMES[case]
    for version in VERSIONS:
        if (exchange := recorded(case, version)) is None:
            continue
        shown = seen(exchange, servers[version])
        wanted = expected if isinstance(expected, str) else expected[version]
        assert matches(wanted, shown), (version, shown)


def test_no_recorded_answer_to_a_chat_is_beyond_the_client(servers: dict[str, Replaying]) -> None:
    """Each is a value or an error of ours; nothing is unexpected."""
    for exchange in exchanges():
        if exchange.path == "/api/chat" and exchange.case not in OUTCOMES:
            shown = seen(exchange, servers[exchange.server])
            assert not re.search(r"unexpected \w+Error", shown), (exchange.case, shown)


PERMANENT = (
    *("option_type", "option_stop_type", "bad_format", "too_long_truncate_false", "host_header"),
    *("missing_model", "path_v1", "path_double", "keep_alive_text", "think_invalid", "load"),
)


@pytest.mark.parametrize("case", PERMANENT)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_cannot_change_is_sent_once(
    case: str, version: str, servers: dict[str, Replaying]
) -> None:
    exchange, server = recorded(case, version), servers[version]
    assert exchange is not None
    seen(exchange, server)
    assert len(server.requests) == 1

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import httpx2
import jsonschema
import pytest
import respx
from chainette import EngineConfig, LLMOutput, SamplingParams, Usage, register_engine
from chainette.engine.http import aiohttp as aiohttp_transport
from chainette.engine.http.aiohttp import AiohttpTransport
from chainette.engine.http.transport import NO_PROXY, HttpxTransport
from chainette.errors import (
    AuthenticationError,
    ConfigError,
    EngineConnectionError,
    EngineTimeoutError,
    EngineUnreachableError,
    MissingAPIKeyError,
    NotFoundError,
    OutputTruncatedError,
    RateLimitError,
    RefusalError,
    RequestError,
    ServerError,
    StructuredOutputError,
)
from chainette_openai.client import OpenAIClient
from chainette_openai.config import OpenAIConfig
from pydantic import BaseModel
from respx.mocks import HTTPCoreMocker

SENTINEL = "sk-SENTINEL-0123456789"
SENDS = {"client": "http"}
"""What sends the requests of the Responses API in a test."""


@pytest.fixture(autouse=True)
def _httpx_for_respx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send requests that respx mocks through httpx, and others through the default transport."""

    def transport(**limits: float) -> Any:
        if HTTPCoreMocker.routers:
            return HttpxTransport(httpx.AsyncClient(mounts=NO_PROXY), **limits)
        return AiohttpTransport(**limits)

    monkeypatch.setattr(aiohttp_transport, "AiohttpTransport", transport)


class Inner(BaseModel):
    scores: dict[str, int]


class City(BaseModel):
    name: str
    inner: Inner
    note: str = "none"


STRICT_CITY = (
    '{"name": "Oslo", "inner": {"scores": {"entries": [{"key": "a", "value": 1}]}}, "note": "n"}'
)
CITY = City(name="Oslo", inner=Inner(scores={"a": 1}), note="n")


class ResponsesServer(ThreadingHTTPServer):
    """A server of the Responses API on loopback, with the answers that a test sets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.location = ""
        self.body: Any = None
        self.stall = threading.Event()
        self.stalls = False
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: ResponsesServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, json.loads(body)))
        if self.server.stalls:
            self.server.stall.wait(5)
        answer = self.server.body
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        try:
            self.send_response(self.server.status)
            self.send_header("Content-Type", "application/json")
            if self.server.location:
                self.send_header("Location", self.server.location)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(params=["http", "sdk"])
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ResponsesServer]:
    """A server that the engines of a test reach through our transport, then through the SDK."""
    monkeypatch.setitem(SENDS, "client", request.param)
    server = ResponsesServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.stall.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def response(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    message = {
        "type": "message", "id": "m", "role": "assistant", "status": "completed",
        "content": list(content),
    }  # fmt: skip
    reasoning = {
        "type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "thought"}]
    }  # fmt: skip
    usage = {
        "input_tokens": 11, "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 22, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 33,
    }  # fmt: skip
    base = {
        "id": "resp", "object": "response", "created_at": 1, "model": "m", "status": "completed",
        "output": [reasoning, message], "parallel_tool_calls": True, "tool_choice": "auto",
        "tools": [], "usage": usage, "incomplete_details": None,
    }  # fmt: skip
    return base | fields


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def make_client(url: str, **fields: Any) -> OpenAIClient:
    fields = {"api": "responses", "api_key": SENTINEL, "max_retries": 0, **fields}
    if fields["api"] == "responses":
        fields = {**SENDS, **fields}
    config = register_engine("e", backend="openai", model="m", endpoint=url, **fields)
    client = config.engine
    assert isinstance(client, OpenAIClient)
    return client


def one(client: OpenAIClient, *arguments: Any, **keywords: Any) -> LLMOutput:
    return client.generate(["hi"], *arguments, **keywords)[0]


def test_a_typed_response_is_requested_strictly_and_parsed(server: ResponsesServer) -> None:
    server.body = response(text_part(STRICT_CITY))
    params = SamplingParams(temperature=0.5, max_tokens=99)
    output = one(make_client(server.url), params, output_model=City)
    assert output.error is None
    assert output.outputs[0].parsed == CITY
    assert output.outputs[0].reasoning_content == "thought"
    assert output.usage == Usage(11, 22, 5, 4)
    ((path, headers, sent),) = server.requests
    assert path == "/v1/responses"
    assert headers["authorization"] == f"Bearer {SENTINEL}"
    assert sent["input"] == [{"role": "user", "content": "hi"}]
    assert (sent["temperature"], sent["max_output_tokens"], sent["store"]) == (0.5, 99, False)
    output_format = sent["text"]["format"]
    described = (output_format["type"], output_format["strict"], output_format["name"])
    assert described == ("json_schema", True, "City")
    assert output_format["schema"]["required"] == ["name", "inner", "note"]
    assert output_format["schema"]["additionalProperties"] is False


def test_plain_text_is_read(server: ResponsesServer) -> None:
    server.body = response(text_part("hello "), text_part("world"))
    output = one(make_client(server.url))
    assert output.outputs[0].text == "hello world"
    assert "format" not in server.requests[0][2].get("text", {})


@pytest.mark.parametrize("mode", ["json_object", "prompt"])
def test_other_modes_describe_the_schema_in_words(server: ResponsesServer, mode: str) -> None:
    server.body = response(text_part(CITY.model_dump_json()))
    output = one(make_client(server.url, structured_output=mode), output_model=City)
    assert output.outputs[0].parsed == CITY
    sent = server.requests[0][2]
    assert "JSON schema" in sent["input"][0]["content"]
    assert ("text" in sent) == (mode == "json_object")


def test_an_answer_that_ignores_the_schema_keeps_its_text(server: ResponsesServer) -> None:
    server.body = response(text_part("Oslo is nice."))
    output = one(make_client(server.url), output_model=City)
    assert isinstance(output.error, StructuredOutputError)
    assert output.error.raw_text == "Oslo is nice."
    assert output.usage == Usage(22, 44, 10, 8)  # it was output_format for twice


def test_a_cut_answer_keeps_its_text_and_usage(server: ResponsesServer) -> None:
    details = {"reason": "max_output_tokens"}
    server.body = response(
        text_part('{"name": "Os'), status="incomplete", incomplete_details=details
    )
    output = one(make_client(server.url), SamplingParams(max_tokens=5), output_model=City)
    assert isinstance(output.error, OutputTruncatedError)
    assert output.error.raw_text == '{"name": "Os'
    assert output.usage == Usage(11, 22, 5, 4)


def test_a_refusal_and_a_content_filter_are_refusal_errors(server: ResponsesServer) -> None:
    client = make_client(server.url)
    server.body = response({"type": "refusal", "refusal": "I will not."})
    assert isinstance(one(client, output_model=City).error, RefusalError)
    details = {"reason": "content_filter"}
    server.body = response(text_part(""), status="incomplete", incomplete_details=details)
    assert isinstance(one(client, output_model=City).error, RefusalError)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, AuthenticationError),
        (404, NotFoundError),
        (429, RateLimitError),
        (500, ServerError),
    ],
)
def test_a_failure_is_typed_and_not_sent_again(
    server: ResponsesServer, status: int, error: type[Exception]
) -> None:
    server.status, server.body = status, {"error": {"message": f"words about {SENTINEL}"}}
    failure = one(make_client(server.url)).error
    assert type(failure) is error
    assert "words about ***" in str(failure)
    assert SENTINEL not in repr(failure)
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b"{}", b'{"output": 3}'])
def test_a_success_without_a_response_fails_its_row(server: ResponsesServer, body: bytes) -> None:
    server.body = body
    assert isinstance(one(make_client(server.url)).error, ServerError)


def test_a_slow_server_times_out(server: ResponsesServer) -> None:
    server.stalls = True
    assert isinstance(one(make_client(server.url, timeout=0.2)).error, EngineTimeoutError)


def test_a_server_that_is_down_is_unreachable(server: ResponsesServer) -> None:
    url = server.url.replace(str(server.server_address[1]), "9")
    assert isinstance(one(make_client(url)).error, EngineUnreachableError)


def test_no_secret_reaches_any_log(
    server: ResponsesServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.body = response(text_part("x"))
    one(make_client(server.url, headers={"X-Extra": SENTINEL}))
    assert server.requests[0][1]["x-extra"] == SENTINEL
    assert caplog.records
    assert SENTINEL not in caplog.text


@respx.mock
def test_chat_can_be_strict() -> None:
    answer = {"choices": [{"message": {"content": STRICT_CITY}, "finish_reason": "stop"}]}
    route = respx.post("http://other.test/v1/chat/completions").respond(json=answer)
    output = one(make_client("http://other.test/v1", api=None, strict=True), output_model=City)
    assert output.outputs[0].parsed == CITY
    output_format = json.loads(route.calls.last.request.content)["response_format"]["json_schema"]
    assert output_format["strict"] is True
    assert output_format["schema"]["additionalProperties"] is False


@respx.mock
def test_a_server_that_enforces_more_gets_the_whole_schema() -> None:
    text = '{"name": "Oslo", "inner": {"scores": {"a": 1}}, "note": "n"}'
    answer = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    route = respx.post("http://other.test/v1/chat/completions").respond(json=answer)
    output = one(make_client("http://other.test/v1", api=None), output_model=City)
    assert output.outputs[0].parsed == CITY
    output_format = json.loads(route.calls.last.request.content)["response_format"]["json_schema"]
    required = ["name", "inner", "note"]
    assert output_format["schema"] == {**City.model_json_schema(), "required": required}
    assert "strict" not in output_format


def test_a_compatible_server_may_leave_out_the_details_of_its_usage(
    server: ResponsesServer,
) -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    server.body = response(text_part("x"), usage=usage)
    assert one(make_client(server.url)).usage == Usage(1, 2)


def test_a_placeholder_for_a_key_is_not_cut_out_of_messages(server: ResponsesServer) -> None:
    server.status, server.body = 401, {"error": "no key"}
    assert "no key" in str(one(make_client(server.url, api_key="k")).error)


@respx.mock
def test_the_servers_of_openai_receive_the_new_name_of_max_tokens() -> None:
    answer = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    route = respx.post("https://api.openai.com/v1/chat/completions").respond(json=answer)
    client = make_client("https://api.openai.com/v1", api="chat")
    one(client, SamplingParams(max_tokens=3))
    sent = json.loads(route.calls.last.request.content)
    assert sent["max_completion_tokens"] == 3
    assert client.dialect == "openai_strict"
    assert "max_tokens" not in sent


@pytest.mark.parametrize(
    ("endpoint", "environment", "api", "protocol"),
    [
        (None, None, None, "responses"),
        ("https://api.openai.com/v1", None, None, "responses"),
        (None, "http://other/v1", None, "chat"),
        ("http://other/v1", None, None, "chat"),
        ("http://other/v1", None, "responses", "responses"),
        (None, None, "chat", "chat"),
        ("http://api.openai.com.evil.test/v1", None, None, "chat"),
    ],
)
def test_the_protocol_follows_the_endpoint(
    monkeypatch: pytest.MonkeyPatch,
    endpoint: str | None,
    environment: str | None,
    api: Any,
    protocol: str,
) -> None:
    if environment:
        monkeypatch.setenv("OPENAI_BASE_URL", environment)
    config = OpenAIConfig(name="e", backend="openai", model="m", endpoint=endpoint, api=api)
    assert config.protocol == protocol


def test_a_missing_key_names_the_variable() -> None:
    with pytest.raises(MissingAPIKeyError, match="OPENAI_API_KEY"):
        _ = register_engine("e", backend="openai", model="m").engine


@respx.mock
@pytest.mark.parametrize(
    ("fields", "base_url", "sent"),
    [
        ({}, "http://other.test/v1", True),  # OPENAI_BASE_URL and OPENAI_API_KEY belong together
        ({"endpoint": "http://third.test/v1"}, "http://other.test/v1", False),
        ({"endpoint": "http://third.test/v1", "api_key_env": "OPENAI_API_KEY"}, "", True),
    ],
)
def test_the_key_of_the_environment_is_sent_to_its_own_server_only(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], base_url: str, sent: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SENTINEL)
    monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    answer = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}
    route = respx.post(url__regex="http://(other|third).test/v1/.*").respond(json=answer)
    client = register_engine("e", backend="openai", model="m", **fields).engine
    assert client.generate(["x"])[0].error is None
    assert (SENTINEL in str(route.calls.last.request.headers.raw)) == sent


def test_a_plain_engine_config_has_the_client_of_its_backend(server: ResponsesServer) -> None:
    config = EngineConfig(
        name="gpt4o", backend="openai", model="m", endpoint=server.url, api_key="k"
    )
    assert isinstance(config.engine, OpenAIClient)
    assert config.engine.config.protocol == "chat"


def test_reasoning_causes_a_warning_and_is_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    config = register_engine("e", backend="openai", model="m", enable_reasoning=True)
    assert config.enable_reasoning is False
    assert "reasoning" in caplog.text


class Loose(BaseModel):
    anything: Any
    counts: dict[int, list[str]]


def test_types_that_strict_mode_lacks_are_restored(server: ResponsesServer) -> None:
    """`Any` and mappings have other forms in the strict schema."""
    value = Loose(anything={"a": [1, None]}, counts={3: ["x"]})
    client = make_client(server.url)
    server.body = response(text_part(strict_text(value)))
    output = one(client, output_model=Loose)
    assert output.error is None
    assert output.outputs[0].parsed == value
    output_format = server.requests[0][2]["text"]["format"]
    jsonschema.validate(json.loads(strict_text(value)), output_format["schema"])


def strict_text(value: Loose) -> str:
    """An answer that follows the strict schema of `Loose`."""

    def entries(*pairs: tuple[str, Any]) -> dict[str, Any]:
        return {"entries": [{"key": key, "value": item} for key, item in pairs]}

    ((key, texts),) = value.counts.items()
    anything = entries(("a", [1, None]))
    return json.dumps({"anything": anything, "counts": entries((str(key), texts))})


def test_a_failed_response_is_an_error_with_its_reason(
    server: ResponsesServer,
) -> None:
    error = {"code": "server_error", "message": "the model crashed"}
    for output in ([], response(text_part("half an ans"))["output"]):
        server.body = response(status="failed", error=error, output=output)
        failure = one(make_client(server.url)).error
        assert isinstance(failure, ServerError)
        assert "the response was failed: the model crashed" in str(failure)


def test_commentary_is_not_part_of_the_answer(server: ResponsesServer) -> None:
    body = response(text_part(STRICT_CITY))
    final = body["output"][-1]
    commentary = final | {"phase": "commentary", "content": [text_part("Let me see.")]}
    body["output"] = [commentary, final | {"phase": "final_answer"}]
    server.body = body
    assert one(make_client(server.url), output_model=City).outputs[0].parsed == CITY


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(server: ResponsesServer, status: int) -> None:
    """It would take the prompt, and headers with secrets, to another server."""
    server.status, server.body = status, {}
    server.location = f"{server.url}/elsewhere"
    failure = one(make_client(server.url, headers={"X-Key": SENTINEL})).error
    assert isinstance(failure, RequestError)
    assert f"redirects ({status})" in str(failure)
    assert [path for path, _, _ in server.requests] == ["/v1/responses"]


def test_requests_to_this_machine_use_no_proxy(
    server: ResponsesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    server.body = response(text_part("x"))
    assert one(make_client(server.url)).error is None


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_login_in_the_endpoint_is_sent_as_a_header_and_shown_nowhere(
    server: ResponsesServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    api: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.status, server.body = 500, {"error": "no"}
    url = server.url.replace("//", f"//me:{SENTINEL}@")
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    for fields in ({"endpoint": url}, {}):
        client = register_engine(
            "e", backend="openai", model="m", api=api, max_retries=0, **fields
        ).engine
        (output,) = client.generate(["x"])
        assert isinstance(output.error, ServerError)
        assert SENTINEL not in f"{output!r}{output.error}{client!r}{caplog.text}"
    sent = [headers["authorization"] for _, headers, _ in server.requests]
    assert sent == ["Basic " + base64.b64encode(f"me:{SENTINEL}".encode()).decode()] * 2


def test_a_key_is_sent_without_its_line_break(
    server: ResponsesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", f"{SENTINEL}\n")
    server.body = response(text_part("x"))
    assert one(make_client(server.url, api_key=None, api_key_env="MY_KEY")).error is None
    assert server.requests[0][1]["authorization"] == f"Bearer {SENTINEL}"


def test_a_configured_header_replaces_the_key(server: ResponsesServer) -> None:
    server.body = response(text_part("x"))
    one(make_client(server.url, headers={"authorization": "Own scheme"}))
    assert server.requests[0][1]["authorization"] == "Own scheme"


@pytest.mark.parametrize("cause", [httpx2.ConnectTimeout("slow"), httpx2.ConnectError("refused")])
def test_a_connection_that_cannot_be_made_makes_the_engine_unusable(
    monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise cause

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", fail)
    error = one(make_client("http://server.test/v1", client="sdk")).error
    assert isinstance(error, EngineUnreachableError)
    assert error.unusable


def test_a_broken_connection_does_not_make_the_engine_unusable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise httpx2.RemoteProtocolError("closed in the middle")

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", fail)
    error = one(make_client("http://server.test/v1", client="sdk")).error
    assert type(error) is EngineConnectionError
    assert "closed in the middle" in str(error)


def test_one_client_serves_several_event_loops(server: ResponsesServer) -> None:
    server.body = response(text_part("x"))
    client = make_client(server.url)
    assert [one(client).error for _ in range(3)] == [None] * 3


def test_extra_body_reaches_the_responses_api(server: ResponsesServer) -> None:
    server.body = response(text_part("x"))
    one(make_client(server.url, extra_body={"service_tier": "flex"}))
    assert server.requests[0][2]["service_tier"] == "flex"


def test_a_plain_config_without_a_model_says_so() -> None:
    with pytest.raises(ConfigError, match="engine 'a': 'model' is missing"):
        _ = EngineConfig(name="a", backend="openai").engine


def test_a_plain_config_keeps_its_one_client() -> None:
    config = EngineConfig(name="a", backend="openai", model="m", endpoint="http://server.test/v1")
    assert config.engine is config.engine

from __future__ import annotations

import base64
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import anyio
import httpx
import pytest
import respx
from chainette import LLMOutput, SamplingParams
from chainette.capabilities import CHAT_SAMPLING, Capabilities
from chainette.engine.client import identity_cache
from chainette.engine.config import EngineConfig
from chainette.engine.http import aiohttp as aiohttp_transport
from chainette.engine.http.aiohttp import AiohttpTransport
from chainette.engine.http.openai_chat import OpenAIChatClient
from chainette.engine.http.transport import NO_PROXY, HttpxTransport
from chainette.errors import (
    AuthenticationError,
    EngineConnectionError,
    EngineTimeoutError,
    EngineUnreachableError,
    MissingAPIKeyError,
    NotFoundError,
    RateLimitError,
    RefusalError,
    RequestError,
    ServerError,
    StructuredOutputError,
)
from chainette.usage import Usage
from pydantic import BaseModel, SecretStr
from respx.mocks import HTTPCoreMocker

URL = "http://server.test/v1"
SENTINEL = "sk-SENTINEL-0123456789"


@pytest.fixture(autouse=True)
def _httpx_for_respx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that respx answers are sent through httpx; the rest over the default transport."""

    def transport(**limits: float) -> Any:
        if HTTPCoreMocker.routers:
            return HttpxTransport(httpx.AsyncClient(mounts=NO_PROXY), **limits)
        return AiohttpTransport(**limits)

    monkeypatch.setattr(aiohttp_transport, "AiohttpTransport", transport)


class City(BaseModel):
    name: str
    tags: dict[str, int] = {}


def make_client(endpoint: str = URL, **fields: Any) -> OpenAIChatClient:
    fields = {"max_retries": 0, **fields}
    config = EngineConfig(name="e", backend="any", model="m", endpoint=endpoint, **fields)
    return OpenAIChatClient(config, Capabilities(sampling=CHAT_SAMPLING | {"top_k"}))


def completion(text: str | None = "hello", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": text, **message}, "finish_reason": "stop"}
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    return {"id": "1", "choices": [choice], "usage": usage}


def one(client: OpenAIChatClient, *arguments: Any, **keywords: Any) -> LLMOutput:
    return client.generate(["hi"], *arguments, **keywords)[0]


@respx.mock
def test_a_completion_is_read_whole() -> None:
    route = respx.post(f"{URL}/chat/completions").respond(json=completion(reasoning="because"))
    output = one(make_client())
    assert output.outputs[0].text == "hello"
    assert output.outputs[0].reasoning_content == "because"
    assert output.outputs[0].finish_reason == "stop"
    assert output.usage == Usage(5, 7, 2, 3)
    sent = json.loads(route.calls.last.request.content)
    assert sent == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@respx.mock
def test_sampling_headers_and_extra_body_reach_the_server() -> None:
    route = respx.post(f"{URL}/chat/completions").respond(json=completion())
    client = make_client(
        api_key=SecretStr("k"), headers={"X-Team": SecretStr("t")}, extra_body={"user": "u"}
    )
    one(client, SamplingParams(temperature=0.5, max_tokens=9, stop=["x"], seed=1, top_k=4))
    request = route.calls.last.request
    assert request.headers["authorization"] == "Bearer k"
    assert request.headers["x-team"] == "t"
    sent = json.loads(request.content)
    del sent["messages"], sent["model"]
    assert sent == {
        "temperature": 0.5, "max_tokens": 9, "stop": ["x"], "seed": 1, "top_k": 4, "user": "u",
    }  # fmt: skip


@respx.mock
def test_no_authorization_header_without_a_key() -> None:
    route = respx.post(f"{URL}/chat/completions").respond(json=completion())
    one(make_client())
    assert "authorization" not in route.calls.last.request.headers


@respx.mock
@pytest.mark.parametrize("mode", ["auto", "json_schema", "json_object", "prompt"])
def test_each_mode_of_structured_output_asks_in_its_way(mode: Any) -> None:
    answer = completion('{"name": "Oslo", "tags": {"a": 1}}')
    route = respx.post(f"{URL}/chat/completions").respond(json=answer)
    output = one(make_client(structured_output=mode), output_model=City)
    assert output.outputs[0].parsed == City(name="Oslo", tags={"a": 1})
    sent = json.loads(route.calls.last.request.content)
    described = '"additionalProperties"' in sent["messages"][0]["content"]
    if mode in ("auto", "json_schema"):
        asked = sent["response_format"]["json_schema"]
        assert asked["name"] == "City"
        assert asked["schema"] == {**City.model_json_schema(), "required": ["name", "tags"]}
        assert not described
    elif mode == "json_object":
        assert sent["response_format"] == {"type": "json_object"}
        assert described
    else:
        assert "response_format" not in sent
        assert described


@respx.mock
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotFoundError),
        (408, ServerError),
        (422, RequestError),
        (429, RateLimitError),
        (500, ServerError),
        (503, ServerError),
        (302, RequestError),
    ],
)
def test_each_status_is_a_typed_error_with_the_servers_words(
    status: int, error: type[Exception]
) -> None:
    body = {"error": {"message": "these words", "type": "t"}}
    respx.post(f"{URL}/chat/completions").respond(status, json=body, headers={"location": "/x"})
    found = one(make_client()).error
    assert type(found) is error
    assert found.engine == "e"
    assert found.status == status
    assert f"{URL}/chat/completions" in str(found)
    assert status == 302 or "these words" in str(found)


@respx.mock
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": "plain"}', "plain"),
        ('{"message": "m"}', "m"),
        ('{"detail": [{"loc": ["x"]}]}', '"loc"'),
        ("<html><script>evil()</script><h1>502 Bad Gateway</h1></html>", "502 Bad Gateway"),
        ("", "(an empty body)"),
        ("[" * 5000, "[[["),
    ],
)
def test_error_bodies_of_all_shapes_are_put_into_words(body: str, words: str) -> None:
    respx.post(f"{URL}/chat/completions").respond(502, text=body)
    error = one(make_client()).error
    assert isinstance(error, ServerError)
    assert words in str(error)
    assert "evil" not in str(error)
    assert len(str(error)) < 600


@respx.mock
@pytest.mark.parametrize(
    "body",
    [
        "", "<html>login</html>", "null", "[]", "{}", '{"choices": []}', '{"choices": [{}]}',
        '{"choices": [{"message": null}]}', '{"choices": "x"}', '{"choices": [{"message": 3}]}',
    ],
)  # fmt: skip
def test_a_success_that_is_no_completion_is_an_error(body: str) -> None:
    respx.post(f"{URL}/chat/completions").respond(200, text=body)
    assert isinstance(one(make_client()).error, ServerError)


@respx.mock
def test_a_refusal_is_an_error_of_its_own() -> None:
    respx.post(f"{URL}/chat/completions").respond(json=completion(None, refusal="I will not."))
    error = one(make_client(), output_model=City).error
    assert isinstance(error, RefusalError)
    assert "I will not." in str(error)


@respx.mock
def test_one_prompt_that_is_refused_fails_no_other() -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        bad = b'"3"' in request.content
        return httpx.Response(400, json={}) if bad else httpx.Response(200, json=completion())

    respx.post(f"{URL}/chat/completions").mock(side_effect=reply)
    outputs = make_client().generate([str(index) for index in range(6)])
    assert [output.error is None for output in outputs] == [True] * 3 + [False] + [True] * 2


@respx.mock
def test_models_are_listed() -> None:
    respx.get(f"{URL}/models").respond(json={"data": [{"id": "a"}, {"id": "b"}]})
    assert anyio.run(make_client().list_models) == ["a", "b"]


def test_a_client_that_needs_a_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    class Acme(OpenAIChatClient):
        api_key_envs = ("ACME_API_KEY",)
        needs_api_key = True
        default_endpoint = URL

    monkeypatch.delenv("ACME_API_KEY", raising=False)
    config = EngineConfig(name="e", backend="acme", model="m")
    with pytest.raises(MissingAPIKeyError, match="ACME_API_KEY"):
        Acme(config)
    monkeypatch.setenv("ACME_API_KEY", "k")
    assert Acme(config).base_url == URL


@respx.mock
def test_no_secret_reaches_an_error_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint = f"http://me:{SENTINEL}x@server.test/v1"
    respx.post(url__regex=".*").respond(401, json={"error": f"no such key {SENTINEL}"})
    client = make_client(endpoint, api_key=SecretStr(SENTINEL))
    output = one(client)
    assert "no such key ***" in str(output.error)
    assert SENTINEL not in f"{output!r}{output.error!r}{client!r}"
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("chainette")]
    assert ours
    assert not any(SENTINEL in line for line in ours)


def test_a_client_of_ones_own_is_used_and_left_open() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=completion())

    async def call() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
            config = EngineConfig(name="e", backend="any", model="m", endpoint=URL)
            client = OpenAIChatClient(config, http=http)
            await client.agenerate(["a", "b"])
            await client.aclose()
            assert not http.is_closed

    anyio.run(call)
    assert len(seen) == 2


Serve = Callable[[socket.socket], None]


@contextmanager
def server(serve: Serve) -> Iterator[str]:
    """A real server on loopback that does with each connection what `serve` says."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=handle, args=(connection,), daemon=True))
            threads[-1].start()

    def handle(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(5)
            with suppress(OSError):
                serve(connection)

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            raise OSError("closed")
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(65536)
    return body


def drop(connection: socket.socket) -> None:
    read_request(connection)


def say_nothing(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


def stall(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    connection.recv(1)


def cut(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")


def drip(connection: socket.socket) -> None:
    """Sends a byte now and then, so that no silence is ever long."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(100_000):
        connection.sendall(b" ")
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    ("serve", "error"),
    [
        (drop, EngineConnectionError),
        (cut, EngineConnectionError),
        (say_nothing, EngineTimeoutError),
        (stall, EngineTimeoutError),
        (drip, EngineTimeoutError),
    ],
)
def test_a_server_that_fails_in_the_middle_is_a_typed_error(
    serve: Serve, error: type[Exception]
) -> None:
    with server(serve) as url:
        outputs = make_client(url, timeout=0.3).generate(["a", "b"])
    assert [type(output.error) for output in outputs] == [error, error]
    assert not any(output.error.unusable for output in outputs if output.error)


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = one(make_client(f"http://127.0.0.1:{port}/v1")).error
    assert isinstance(error, EngineUnreachableError)
    assert error.unusable
    assert "is the server running" in str(error)


def test_connections_are_kept_and_closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted, closed = [], []
    body = json.dumps(completion()).encode()

    def serve(connection: socket.socket) -> None:
        accepted.append(connection)
        try:
            while True:
                read_request(connection)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                connection.sendall(head + body)
        except OSError:
            closed.append(connection)

    # A proxy of the environment is not for this machine.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with server(serve) as url:
        outputs = make_client(url, max_concurrency=2).generate(["x"] * 20)
    assert all(output.error is None for output in outputs), outputs[0].error
    assert len(accepted) <= 2
    assert len(closed) == len(accepted)


def test_cancelling_closes_the_connection() -> None:
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        if connection.recv(1) == b"":
            ended.set()

    async def call(url: str) -> None:
        client = make_client(url)
        with anyio.move_on_after(0.2):
            await client.agenerate(["x"])
        assert await anyio.to_thread.run_sync(ended.wait, 5)
        await client.aclose()

    with server(serve) as url:
        anyio.run(call, url)


@respx.mock
def test_a_header_of_ones_own_replaces_ours_whatever_its_case() -> None:
    route = respx.post(f"{URL}/chat/completions").respond(json=completion())
    own = {"authorization": SecretStr("Own scheme"), "X-team": SecretStr(" t\n")}
    one(make_client(api_key=SecretStr("k"), headers=own))
    headers = route.calls.last.request.headers
    assert headers.get_list("authorization") == ["Own scheme"]
    assert headers["x-team"] == "t"


@respx.mock
@pytest.mark.parametrize("api_key", [None, SecretStr("another-key")])
def test_a_login_in_the_endpoint_is_sent_as_a_header_and_logged_nowhere(
    caplog: pytest.LogCaptureFixture, api_key: SecretStr | None
) -> None:
    """HTTP libraries log the whole URL of every request."""
    caplog.set_level(logging.DEBUG)
    route = respx.post(f"{URL}/chat/completions").respond(500, json={"error": "no"})
    client = make_client(f"http://me:{SENTINEL}%40@server.test/v1", api_key=api_key)
    output = one(client)
    sent = route.calls.last.request.headers["authorization"]
    assert base64.b64decode(sent.removeprefix("Basic ")).decode() == f"me:{SENTINEL}@"
    assert caplog.records
    for secret in (SENTINEL, sent.removeprefix("Basic ")):
        assert secret not in f"{output!r}{output.error}{client!r}{caplog.text}"


def test_no_library_logs_a_key_or_a_password(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        body = json.dumps({"error": f"no key {SENTINEL}"}).encode()
        head = f"HTTP/1.1 401 No\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body)

    key, headers = SecretStr(f"{SENTINEL}\n"), {"X-Key": SecretStr(f"{SENTINEL}\n")}
    with server(serve) as url:
        endpoint = url.replace("//", f"//me:{SENTINEL}@")
        output = one(make_client(endpoint, api_key=key, headers=headers))
    assert isinstance(output.error, AuthenticationError)
    assert "chainette.engine.http.client" in {record.name for record in caplog.records}
    assert SENTINEL not in f"{output!r}{output.error}{caplog.text}"


@respx.mock
@pytest.mark.parametrize(
    "body", [SENTINEL.rjust(310, "y"), json.dumps({"error": [SENTINEL.rjust(1005, "y")]})]
)
@pytest.mark.parametrize("status", [200, 500])
def test_a_shortened_message_ends_in_no_piece_of_a_key(body: str, status: int) -> None:
    respx.post(f"{URL}/chat/completions").respond(status, text=body)
    error = one(make_client(api_key=SecretStr(SENTINEL))).error
    assert isinstance(error, ServerError)
    assert "SENT" not in str(error)


@respx.mock
@pytest.mark.parametrize("body", [{"error": "y" * 100_000}, {"error": {"message": "a\x1b[2Jb\nc"}}])
def test_a_server_s_message_is_one_short_line(body: Any) -> None:
    respx.post(f"{URL}/chat/completions").respond(500, json=body)
    error = str(one(make_client()).error)
    assert error.isprintable()
    assert len(error) < 1200


@respx.mock
def test_tokens_in_angle_brackets_stay_in_a_server_s_message() -> None:
    respx.post(f"{URL}/chat/completions").respond(400, json={"error": "bad token <|im_end|>"})
    assert "bad token <|im_end|>" in str(one(make_client()).error)


@respx.mock
@pytest.mark.parametrize(
    "body",
    [
        '{"choices": [{"message": {"content": [3]}}]}',
        '{"choices": [{"message": {"content": {"a": 1}}}]}',
        '{"choices": [{"message": {"content": "", "tool_calls": [3]}}]}',
        '{"error": {"message": "overloaded"}}',
    ],
)
def test_a_completion_of_the_wrong_types_fails_its_row(body: str) -> None:
    respx.post(f"{URL}/chat/completions").respond(200, text=body)
    error = one(make_client(), output_model=City).error
    assert isinstance(error, ServerError | StructuredOutputError)


@respx.mock
def test_token_counts_can_be_added_up_however_they_are_written() -> None:
    answer = completion() | {"usage": {"prompt_tokens": "5", "completion_tokens": 7.0}}
    respx.post(f"{URL}/chat/completions").respond(json=answer)
    usage = one(make_client()).usage
    assert usage is not None
    assert usage + Usage(1) == Usage(6, 7)


@respx.mock
def test_several_completions_are_asked_for_and_parsed() -> None:
    choice = completion('{"name": "Oslo"}')["choices"][0]
    route = respx.post(f"{URL}/chat/completions").respond(json={"choices": [choice, choice]})
    output = one(make_client(), SamplingParams(n=2), output_model=City)
    assert [one.parsed for one in output.outputs] == [City(name="Oslo")] * 2
    assert json.loads(route.calls.last.request.content)["n"] == 2


@respx.mock
def test_a_redirect_is_not_followed() -> None:
    respx.post(f"{URL}/chat/completions").respond(307, headers={"location": "http://other.test/"})
    other = respx.post("http://other.test/").respond(json=completion())
    assert "redirects (307)" in str(one(make_client()).error)
    assert not other.called


@respx.mock
def test_a_prompt_that_no_body_can_hold_fails_its_row_alone() -> None:
    respx.post(f"{URL}/chat/completions").respond(json=completion())
    outputs = make_client().generate(["a", "\ud800", "c"])
    assert [output.error is None for output in outputs] == [True, False, True]


@respx.mock
@pytest.mark.parametrize("answer", [{}, [], {"data": None}, {"data": [{}]}, {"data": ["a"]}])
def test_a_list_of_models_of_another_shape_is_none_at_all(answer: Any) -> None:
    respx.get(f"{URL}/models").respond(json=answer)
    assert anyio.run(make_client().list_models) is None


def test_a_server_too_busy_to_accept_is_unreachable() -> None:
    with full_backlog() as port:
        error = one(make_client(f"http://127.0.0.1:{port}/v1", connect_timeout=0.1)).error
    assert isinstance(error, EngineUnreachableError)
    assert "no connection within 0.1 s" in str(error)


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port that answers no further attempt to connect."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@respx.mock
def test_every_request_has_its_own_parameters_and_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_cache, "CAPACITY", 8)

    class Town(BaseModel):
        mayor: str

    route = respx.post(f"{URL}/chat/completions").respond(json=completion("{}"))
    client = make_client(extra_body={"user": "u"})
    wanted = []
    for n in range(30):  # more than are remembered, and no two objects the same
        output = (None, City, Town)[n % 3]
        one(client, SamplingParams(max_tokens=n + 1, seed=n % 7), output_model=output)
        wanted.append((n + 1, n % 7, output and output.__name__))
    bodies = [json.loads(call.request.content) for call in route.calls]
    sent = [
        (
            body["max_tokens"],
            body["seed"],
            body.get("response_format", {}).get("json_schema", {}).get("name"),
        )
        for body in bodies
        if len(body["messages"]) == 1  # not those that ask again
    ]
    assert sent == wanted
    assert {body["user"] for body in bodies} == {"u"}


@respx.mock
def test_a_field_of_extra_body_replaces_one_of_ours() -> None:
    route = respx.post(f"{URL}/chat/completions").respond(json=completion())
    one(make_client(extra_body={"max_tokens": 5}), SamplingParams(max_tokens=9))
    assert json.loads(route.calls.last.request.content)["max_tokens"] == 5

from __future__ import annotations

import json
import logging
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import anyio
import httpx
import ollama
import pytest
import respx
from chainette import LLMOutput, SamplingParams, Usage, register_engine
from chainette.backend import BaseClient
from chainette.engine.server.progress import Startup, listening
from chainette.errors import (
    AuthenticationError,
    EngineConnectionError,
    EngineStartError,
    EngineTimeoutError,
    EngineUnreachableError,
    NotFoundError,
    OutputTruncatedError,
    RequestError,
    ServerError,
    StructuredOutputError,
)
from chainette.testing.servers import FakeOllama
from pydantic import BaseModel

URL = "http://ollama.test:11434"
SENTINEL = "sk-SENTINEL-0123456789"


class City(BaseModel):
    name: str


def answer(text: str, **fields: Any) -> dict[str, Any]:
    body = {
        "model": "llama", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
        "message": {"role": "assistant", "content": text, "thinking": "hm"},
        "prompt_eval_count": 7, "eval_count": 9,
    }  # fmt: skip
    body |= fields
    assert ollama.ChatResponse.model_validate(body)
    return body


def make_client(backend: str = "ollama_api", **fields: Any) -> BaseClient:
    fields = ({"endpoint": URL} if backend == "ollama_api" else {}) | fields
    fields = {"max_retries": 0, **fields}
    return register_engine("e", backend=backend, model="llama", **fields).engine


def one(client: BaseClient, *arguments: Any, **keywords: Any) -> LLMOutput:
    return client.generate(["hi"], *arguments, **keywords)[0]


@respx.mock
def test_every_field_of_an_answer_is_read() -> None:
    route = respx.post(f"{URL}/api/chat").respond(json=answer('{"name": "Oslo"}'))
    client = make_client(num_ctx=8192, keep_alive="10m", enable_reasoning=True)
    params = SamplingParams(
        temperature=0.1, top_k=4, min_p=0.2, max_tokens=9, stop=["x"], seed=3,
        repetition_penalty=1.1,
    )  # fmt: skip
    output = one(client, params, output_model=City)
    assert output.outputs[0].parsed == City(name="Oslo")
    assert output.outputs[0].reasoning_content == "hm"
    assert output.usage == Usage(7, 9)
    sent = json.loads(route.calls.last.request.content)
    assert sent["format"] == City.model_json_schema()
    assert (sent["stream"], sent["think"], sent["keep_alive"]) == (False, True, "10m")
    assert sent["options"] == {
        "temperature": 0.1, "top_k": 4, "min_p": 0.2, "num_predict": 9, "stop": ["x"], "seed": 3,
        "repeat_penalty": 1.1, "num_ctx": 8192,
    }  # fmt: skip


@respx.mock
@pytest.mark.parametrize(("mode", "sent_format"), [("json_object", "json"), ("prompt", None)])
def test_other_modes_describe_the_schema_in_words(mode: str, sent_format: Any) -> None:
    route = respx.post(f"{URL}/api/chat").respond(json=answer('{"name": "Oslo"}'))
    output = one(make_client(structured_output=mode), output_model=City)
    assert output.outputs[0].parsed == City(name="Oslo")
    sent = json.loads(route.calls.last.request.content)
    assert sent.get("format") == sent_format
    assert "JSON schema" in sent["messages"][0]["content"]


@respx.mock
def test_a_cut_answer_and_an_invalid_one_are_errors_of_their_own() -> None:
    respx.post(f"{URL}/api/chat").respond(json=answer('{"na', done_reason="length"))
    assert isinstance(one(make_client(), output_model=City).error, OutputTruncatedError)
    respx.post(f"{URL}/api/chat").respond(json=answer("Oslo!"))
    assert isinstance(one(make_client(), output_model=City).error, StructuredOutputError)


@respx.mock
def test_the_error_of_a_missing_model_suggests_the_pull() -> None:
    respx.post(f"{URL}/api/chat").respond(404, json={"error": "model 'llama' not found"})
    error = one(make_client()).error
    assert isinstance(error, NotFoundError)
    assert "model 'llama' not found; to get the model: ollama pull llama" in str(error)


@respx.mock
def test_a_server_error_keeps_the_servers_words() -> None:
    respx.post(f"{URL}/api/chat").respond(500, json={"error": "out of memory"})
    error = one(make_client()).error
    assert isinstance(error, ServerError)
    assert "out of memory" in str(error)


def test_a_server_that_is_down_is_unreachable() -> None:
    error = one(make_client(endpoint="http://127.0.0.1:9")).error
    assert isinstance(error, EngineUnreachableError)
    assert "ollama serve" in str(error)


@respx.mock
def test_models_are_listed() -> None:
    respx.get(f"{URL}/api/tags").respond(json={"models": [{"model": "a:latest"}]})
    assert anyio.run(make_client().list_models) == ["a:latest"]


@respx.mock
def test_the_local_backend_pulls_a_model_that_is_missing() -> None:
    local = "http://127.0.0.1:11434"
    respx.get(f"{local}/api/tags").respond(json={"models": [{"model": "other:latest"}]})
    pull = respx.post(f"{local}/api/pull").respond(json={"status": "success"})
    respx.post(f"{local}/api/chat").respond(json=answer("hello"))
    outputs = make_client("ollama", timeout=5).generate(["a", "b"])
    assert [output.error for output in outputs] == [None, None]
    assert json.loads(pull.calls.last.request.content)["model"] == "llama"


def test_a_missing_program_is_an_error_of_the_local_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    error = one(make_client("ollama", port=9)).error
    assert isinstance(error, EngineStartError)
    assert "install it" in str(error)


def sent_headers(route: respx.Route) -> httpx.Headers:
    headers: httpx.Headers = route.calls.last.request.headers
    return headers


@respx.mock
@pytest.mark.parametrize(
    ("endpoint", "sent"), [(URL, None), ("https://ollama.com", f"Bearer {SENTINEL}")]
)
def test_the_key_of_the_environment_goes_only_to_ollama_itself(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, sent: str | None
) -> None:
    """The `ollama` package alone would send it to every server."""
    monkeypatch.setenv("OLLAMA_API_KEY", SENTINEL)
    route = respx.post(f"{endpoint}/api/chat").respond(401, json={"error": f"bad {SENTINEL}"})
    error = one(make_client(endpoint=endpoint)).error
    assert sent_headers(route).get("authorization") == sent
    assert isinstance(error, AuthenticationError)
    assert (SENTINEL in str(error)) == (sent is None)


@respx.mock
def test_a_configured_key_and_a_login_in_the_endpoint_are_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    route = respx.post(f"{URL}/api/chat").respond(json=answer("x"))
    one(make_client(api_key=SENTINEL))
    assert sent_headers(route)["authorization"] == f"Bearer {SENTINEL}"
    one(make_client(endpoint=URL.replace("//", f"//me:{SENTINEL}@")))
    assert sent_headers(route)["authorization"].startswith("Basic ")
    assert caplog.records
    assert SENTINEL not in caplog.text


@respx.mock
def test_a_redirect_is_not_followed() -> None:
    route = respx.post(f"{URL}/api/chat")
    route.respond(307, headers={"location": "http://other.test/api/chat"})
    other = respx.post("http://other.test/api/chat").respond(json=answer("x"))
    error = one(make_client()).error
    assert isinstance(error, RequestError)
    assert "redirects (307)" in str(error)
    assert not other.called


@respx.mock
@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (httpx.ConnectTimeout("slow"), EngineUnreachableError),
        (httpx.ConnectError("refused"), EngineUnreachableError),
        (httpx.ReadTimeout("slow"), EngineTimeoutError),
        (httpx.RemoteProtocolError("closed in the middle"), EngineConnectionError),
    ],
)
def test_each_failure_of_the_network_is_an_error_of_its_own(
    problem: Exception, error: type[Exception]
) -> None:
    respx.post(f"{URL}/api/chat").mock(side_effect=problem)
    assert type(one(make_client()).error) is error


@respx.mock
@pytest.mark.parametrize("body", ["", "<html>", "[]", "null", "{}", '{"message": 3}'])
def test_a_success_without_an_answer_fails_its_row(body: str) -> None:
    respx.post(f"{URL}/api/chat").respond(200, text=body)
    assert isinstance(one(make_client()).error, ServerError)


def test_a_proxy_of_the_environment_is_not_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    body = json.dumps(answer("direct")).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        output = one(make_client(endpoint=f"http://127.0.0.1:{server.server_port}"))
        if output.error is not None:  # no request came: let the thread end
            server.socket.close()
        thread.join()
    assert output.outputs[0].text == "direct"


@respx.mock
def test_a_parameter_that_ollama_lacks_causes_a_warning_and_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    route = respx.post(f"{URL}/api/chat").respond(json=answer("x"))
    one(make_client(), SamplingParams(n=2, presence_penalty=1.0))
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "engine 'e': backend 'ollama_api' has no sampling parameter n; ignored"
    ]
    sent = json.loads(route.calls.last.request.content)
    assert sent["options"] == {"presence_penalty": 1.0}
    assert "think" not in sent


@respx.mock
def test_extra_body_reaches_the_options() -> None:
    route = respx.post(f"{URL}/api/chat").respond(json=answer("x"))
    one(make_client(extra_body={"num_gpu": 0}))
    assert json.loads(route.calls.last.request.content)["options"] == {"num_gpu": 0}


@pytest.mark.parametrize(
    ("num_ctx", "message"), [(50, "50 tokens (num_ctx)"), (None, "4096 tokens")]
)
def test_a_cut_prompt_causes_one_warning(
    num_ctx: int | None, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeOllama() as server:
        client = make_client(endpoint=server.endpoint, num_ctx=num_ctx)
        assert client.generate(["a few words"])[0].error is None
        assert caplog.text == ""
        client.generate(["word " * 5000] * 2)
    assert caplog.text.count("was cut to the context of") == 1
    assert message in caplog.text
    assert "raise num_ctx" in caplog.text


def test_a_prompt_that_is_cut_between_messages_causes_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # A server that drops whole messages reads fewer tokens than fit: only the length tells.
    with FakeOllama() as server:
        client = make_client(endpoint=server.endpoint, num_ctx=50)
        client.generate(["x" * 1000])
    assert "was cut" in caplog.text


def test_a_pull_announces_its_progress() -> None:
    seen: list[Startup] = []
    with FakeOllama() as server, listening(seen.append):
        server.models.clear()
        client = register_engine("e", backend="ollama", model="tiny", port=server.port).engine
        assert client.generate(["hi"])[0].error is None
        assert server.models == ["tiny"]
    assert [startup.share for startup in seen] == [None, 0.0, 0.5, 1.0, None, None]
    assert {startup.what for startup in seen} == {"pulling tiny"}
    assert seen[-1].over


def test_a_pull_that_fails_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOllama() as server:
        server.models.clear()
        lines = b'{"status": "pulling manifest"}\n{"error": "no space left"}\n'
        monkeypatch.setattr(
            server, "other", lambda path, _: lines if "pull" in path else {"models": []}
        )
        client = register_engine("e", backend="ollama", model="tiny", port=server.port).engine
        (output,) = client.generate(["hi"])
    assert "no space left" in str(output.error)


def test_the_fake_server_answers_as_the_package_expects() -> None:
    with FakeOllama() as server, ExitStack() as stack:
        client = ollama.Client(server.endpoint)
        stack.callback(client.close)
        answer = client.chat("fake-model", [{"role": "user", "content": "hi there"}], think=True)
        assert (answer.message.content, answer.done_reason) == ("text", "stop")
        assert (answer.prompt_eval_count, answer.eval_count) == (2, 1)
        assert [model.model for model in client.list().models] == ["fake-model:latest"]
        states = [state.status for state in client.pull("other", stream=True)]
        assert (states[0], states[-1]) == ("pulling manifest", "success")

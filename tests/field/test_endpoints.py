"""Endpoints as people paste them."""

from __future__ import annotations

from typing import Any

import pytest
from chainette.engine.http.client import split_endpoint
from chainette.registry import engines as registry
from chainette.testing.fake_server import FakeServer, ReceivedRequest
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOllama, FakeOpenAI, FakeVLLM

ENDS = {
    "": "/v1/chat/completions",
    "/": "/v1/chat/completions",
    "/chat/completions": "/v1/chat/completions",
    "/chat/completions/": "/v1/chat/completions",
    "/responses": "/v1/chat/completions",
    "/models": "/v1/chat/completions",
    "?api-version=1": "/v1/chat/completions?api-version=1",
    "/?api-version=1": "/v1/chat/completions?api-version=1",
    "/chat/completions?api-version=1&x=%20y": "/v1/chat/completions?api-version=1&x=%20y",
}


def targets(server: FakeServer) -> list[str]:
    """The paths and queries of the requests, as the server sees them."""
    seen: list[str] = []
    reply = server._reply

    def listening(request: Any, content: bytes) -> tuple[Reply, bytes]:
        seen.append(request.target.decode())
        return reply(request, content)

    server._reply = listening  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize(("end", "target"), ENDS.items())
def test_an_endpoint_is_understood_as_it_is_pasted(
    end: str, target: str, server: FakeOpenAI, make_engine: Any
) -> None:
    seen = targets(server)
    engine = make_engine(endpoint=server.endpoint + end)
    assert engine.generate(["hi"])[0].error is None
    assert seen == [target]


@pytest.mark.parametrize("end", ["", "/responses", "/chat/completions", "/responses?api-version=1"])
def test_an_endpoint_of_the_responses_api_is_understood(
    end: str, server: FakeOpenAI, make_engine: Any
) -> None:
    seen = targets(server)
    engine = make_engine(endpoint=server.endpoint + end, api="responses")
    assert engine.generate(["hi"])[0].error is None
    assert seen == ["/v1/responses" + ("?api-version=1" if "?" in end else "")]


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/api", "/api/chat", "/api/generate"])
def test_an_endpoint_of_ollama_is_understood(end: str, make_engine: Any) -> None:
    with FakeOllama() as server:
        seen = targets(server)
        endpoint = server.endpoint + end
        engine = make_engine(backend="ollama_api", model="fake-model", endpoint=endpoint)
        assert engine.generate(["hi"])[0].error is None
    assert seen == ["/api/chat"]


def test_an_endpoint_of_vllm_is_understood(make_engine: Any) -> None:
    with FakeVLLM() as server:
        endpoint = f"{server.endpoint}/chat/completions"
        engine = make_engine(backend="vllm_api", model=None, endpoint=endpoint)
        assert engine.generate(["hi"])[0].error is None


def test_a_key_in_the_query_is_not_in_an_error(server: FakeOpenAI, make_engine: Any) -> None:
    server.set_answers([Reply(status=400)])
    engine = make_engine(endpoint=f"{server.endpoint}?key=SENTINEL")
    error = engine.generate(["hi"])[0].error
    assert error is not None
    assert "SENTINEL" not in str(error)
    assert registry.get_engine("e") is engine


@pytest.mark.parametrize(
    ("endpoint", "base", "query"),
    [
        ("http://h/openai/deployments/d/chat/completions?api-version=1",
         "http://h/openai/deployments/d", "?api-version=1"),
        ("http://h/chat/completions/v1", "http://h/chat/completions/v1", ""),
        ("http://h", "http://h", ""),
        ("http://h/v1#here", "http://h/v1", ""),
    ],
)  # fmt: skip
def test_only_the_end_of_a_path_is_left_out(endpoint: str, base: str, query: str) -> None:
    assert split_endpoint(endpoint, ("/chat/completions",)) == (base, query)


class FakeGateway(FakeOpenAI):
    """A gateway whose paths have a prefix of their own."""

    prefix = "/gateway/completions/v1"

    def read(self, path: str, body: Any) -> ReceivedRequest | None:
        return super().read(path.removeprefix("/gateway/completions"), body)


def test_a_path_that_only_contains_the_words_is_kept(make_engine: Any) -> None:
    with FakeGateway() as server:
        engine = make_engine(endpoint=server.endpoint)
        assert engine.generate(["hi"])[0].error is None

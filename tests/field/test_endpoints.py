"""Endpoints as people paste them."""

from __future__ import annotations

import re
from typing import Any

import anyio
import pytest
from chainette.engine.http.client import split_endpoint
from chainette.errors import NotFoundError, RequestError
from chainette.registry import engines as registry
from chainette.registry.model_names import closest_models, has_model
from chainette.registry.probe import check_engine
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


@pytest.mark.parametrize("client", ["http", "sdk"])
@pytest.mark.parametrize("end", ["", "/responses", "/chat/completions", "/responses?api-version=1"])
def test_an_endpoint_of_the_responses_api_is_understood(
    end: str, client: str, server: FakeOpenAI, make_engine: Any
) -> None:
    seen = targets(server)
    engine = make_engine(endpoint=server.endpoint + end, api="responses", client=client)
    assert engine.generate(["hi"])[0].error is None
    assert seen == ["/v1/responses" + ("?api-version=1" if "?" in end else "")]


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/api", "/api/chat", "/api/generate"])
def test_an_endpoint_of_ollama_is_understood(end: str, make_engine: Any) -> None:
    with FakeOllama() as server:
        seen = targets(server)
        endpoint = server.endpoint + end
        engine = make_engine(backend="ollama_api", model="fake-model", endpoint=endpoint)
        assert engine.generate(["hi"])[0].error is None
    assert seen == ["/api/show", "/api/chat", "/api/chat"]  # the second one loads the model


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


ANSWER = {"city": "Paris", "continent": "Europe"}


class Elsewhere(FakeOpenAI):
    """An OpenAI-compatible server below a path of its own.

    Args:
        root: The path.
        lists: Whether it lists its models.
        models: Their names.
        missing: The body of its answer at another path, with the status 200; by default a 404.
    """

    def __init__(
        self,
        root: str,
        *,
        lists: bool = True,
        models: tuple[str, ...] = ("fake-model",),
        missing: bytes | None = None,
    ) -> None:
        super().__init__(lambda messages: ANSWER)
        self.root, self.lists, self.models, self.missing = root, lists, models, missing

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def read(self, path: str, body: Any) -> ReceivedRequest | None:
        if path != f"{self.root}/chat/completions":
            return None
        return super().read("/v1/chat/completions", body)

    def other(self, path: str, body: Any) -> Any:
        if path == f"{self.root}/models" and self.lists:
            return {"data": [{"id": name} for name in self.models]}
        if path.startswith(f"{self.root}/"):
            return None
        return self.missing


LM_STUDIO = b'{"error": "Unexpected endpoint or method. (POST /chat/completions)"}'


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize(
    ("root", "end", "missing"),
    [
        ("/v1", "", None),
        ("/v1", "/", None),
        ("/v1", "/api", None),
        ("/v1", "/v1/v1", None),
        ("/v1", "/v1/chat", None),
        ("/v1", "/v2", None),
        ("", "/v1", None),
        ("", "/api", None),
        ("", "/api/v1", None),
        ("/api/v1", "", None),
        ("/api/v1", "/v1", None),
        ("/openai/v1", "/v1", None),
        ("/api", "/v1", None),
        ("/gate/v1", "/gate", None),
        ("/gate", "/gate/v1", None),
        ("/v1", "", b"<html><title>Welcome</title></html>"),
        ("/v1", "", b'{"status": "ok"}'),
        ("/v1", "", LM_STUDIO),
    ],
)
def test_the_check_finds_the_path_of_the_server(
    root: str, end: str, missing: bytes | None, lists: bool, make_engine: Any
) -> None:
    with Elsewhere(root, lists=lists, missing=missing) as server:
        engine = make_engine(model="fake-model", endpoint=server.address + end)
        with pytest.raises(NotFoundError) as failure:
            anyio.run(check_engine, engine.config)
        right = f"the server answers at {server.address}{root}: set endpoint to it"
        assert right in str(failure.value)
        engine = make_engine(model="fake-model", endpoint=server.address + root)
        report = anyio.run(check_engine, engine.config)
        assert report.structured_output == "yes"


def test_the_check_keeps_the_error_where_no_path_answers(make_engine: Any) -> None:
    with Elsewhere("/nowhere/at/all") as server:
        with pytest.raises(NotFoundError, match="answered 404") as failure:
            anyio.run(check_engine, make_engine(endpoint=f"{server.address}/v1").config)
        assert "chainette engines check" in str(failure.value)


def test_a_query_and_a_login_are_not_shown_with_the_path(make_engine: Any) -> None:
    with Elsewhere("/v1") as server:
        endpoint = f"http://me:SENTINEL@127.0.0.1:{server.port}?key=SENTINEL"
        with pytest.raises(NotFoundError, match="with the query that it has") as failure:
            anyio.run(check_engine, make_engine(endpoint=endpoint).config)
        assert "SENTINEL" not in str(failure.value)


@pytest.mark.parametrize("missing", [None, b"<html>Welcome</html>", LM_STUDIO])
def test_a_run_at_a_wrong_path_names_the_check(missing: bytes | None, make_engine: Any) -> None:
    with Elsewhere("/v1", missing=missing) as server:
        error = make_engine(endpoint=server.address).generate(["hi"])[0].error
    assert error is not None
    assert re.search("most end in /v1.*`chainette engines check` tries other", str(error))


def test_a_redirect_says_where_it_leads(server: FakeOpenAI, make_engine: Any) -> None:
    headers = {"Location": "https://other/v1/chat/completions?key=SENTINEL"}
    server.set_answers([Reply(status=301, headers=headers)])
    error = make_engine().generate(["hi"])[0].error
    assert isinstance(error, RequestError)
    assert "redirects (301) to https://other/v1/chat/completions" in str(error)
    assert "SENTINEL" not in str(error)


MODELS = ("Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B-Instruct", "gpt-4o")


@pytest.mark.parametrize(
    ("model", "closest"),
    [
        ("Qwen/Qwen3-8b-it", "Qwen/Qwen3-8B"),
        ("qwen/qwen3-8b", "Qwen/Qwen3-8B"),
        ("Qwen3-8B", "Qwen/Qwen3-8B"),
        ("llama-3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"),
        ("gpt4o", "gpt-4o"),
        ("gpt-4o-mini", "gpt-4o"),
    ],
)
@pytest.mark.parametrize("answers", [True, False])
def test_the_check_names_the_closest_model(
    model: str, closest: str, answers: bool, make_engine: Any, reply: Any
) -> None:
    with Elsewhere("/v1", models=MODELS) as server:
        if not answers:
            body = {"error": {"message": f"The model `{model}` does not exist."}}
            server.set_answers(lambda messages: reply(body, 404))
        engine = make_engine(model=model, endpoint=f"{server.address}/v1")
        with pytest.raises(NotFoundError) as failure:
            anyio.run(check_engine, engine.config)
    said = (
        f"the server does not list the model {model!r}; closest: {closest!r}; it lists: {closest}"
    )
    assert said in str(failure.value)


@pytest.mark.parametrize(
    ("model", "listed", "is_there"),
    [
        ("llama3", "llama3:latest", True),
        ("llama3:latest", "llama3", True),
        ("llama3:8b", "llama3:latest", False),
        ("gemini-2.5-flash", "models/gemini-2.5-flash", True),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", True),
        ("claude-sonnet-4-5-20250101", "claude-sonnet-4-5-20250929", False),
        ("openai/gpt-4o:nitro", "openai/gpt-4o", True),
        ("openai/gpt-4o:free", "openai/gpt-4o", False),
        ("openai/gpt-4o", "openai/*", True),
        ("gpt-4o", "openai/*", False),
        ("Llama-3.1-8B", "meta-llama/Llama-3.1-8B", False),
    ],
)
def test_two_names_of_one_model_are_known(model: str, listed: str, is_there: bool) -> None:
    assert has_model(model, [listed, "other"]) is is_there
    assert closest_models(model, ["zzz", listed])[0] == listed


@pytest.mark.parametrize(
    ("model", "is_there"),
    [
        ("fake-model", True),
        ("fake-model:latest", True),
        ("library/fake-model", True),
        ("registry.ollama.ai/library/fake-model:latest", True),
        ("fake-modle", False),
        ("fake-model:8b", False),
    ],
)
def test_the_check_knows_the_models_of_ollama(model: str, is_there: bool, make_engine: Any) -> None:
    with FakeOllama(lambda messages: ANSWER) as server:
        config = make_engine(backend="ollama_api", model=model, endpoint=server.endpoint).config
        if is_there:
            report = anyio.run(check_engine, config)
            assert report.structured_output == "yes"
            return
        with pytest.raises(NotFoundError, match="closest: 'fake-model:latest'"):
            anyio.run(check_engine, config)


def test_the_check_of_ollama_at_another_path(make_engine: Any) -> None:
    class Behind(FakeOllama):
        def read(self, path: str, body: Any) -> ReceivedRequest | None:
            return super().read(path.removeprefix("/gate"), body) if "/gate" in path else None

        def other(self, path: str, body: Any) -> Any:
            return super().other(path.removeprefix("/gate"), body) if "/gate" in path else None

    with Behind(lambda messages: ANSWER) as server:
        endpoint = f"{server.endpoint}/gate/ollama"
        config = make_engine(backend="ollama_api", model="fake-model", endpoint=endpoint).config
        with pytest.raises(NotFoundError, match=f"answers at {server.endpoint}/gate: set"):
            anyio.run(check_engine, config)


def test_a_server_without_a_list_is_judged_by_its_answer(make_engine: Any) -> None:
    with Elsewhere("/v1", lists=False) as server:
        config = make_engine(endpoint=f"{server.address}/v1").config
        assert anyio.run(check_engine, config).models == "the server does not list its models"

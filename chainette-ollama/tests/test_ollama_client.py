from __future__ import annotations

import json
from typing import Any

import anyio
import ollama
import pytest
import respx
from chainette import LLMOutput, SamplingParams, register_engine
from chainette.engine.client import BaseClient
from chainette.errors import (
    EngineStartError,
    EngineUnreachableError,
    NotFoundError,
    OutputTruncatedError,
    ServerError,
    StructuredOutputError,
)
from chainette.types import Usage
from pydantic import BaseModel

URL = "http://ollama.test:11434"


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
    return register_engine("e", backend=backend, model="llama", **fields).engine


def one(client: BaseClient, *arguments: Any, **keywords: Any) -> LLMOutput:
    return client.generate(["hi"], *arguments, **keywords)[0]


@respx.mock
def test_an_answer_is_asked_for_and_read_whole() -> None:
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
def test_an_answer_cut_off_or_not_valid_is_an_error_of_its_own() -> None:
    respx.post(f"{URL}/api/chat").respond(json=answer('{"na', done_reason="length"))
    assert isinstance(one(make_client(), output_model=City).error, OutputTruncatedError)
    respx.post(f"{URL}/api/chat").respond(json=answer("Oslo!"))
    assert isinstance(one(make_client(), output_model=City).error, StructuredOutputError)


@respx.mock
def test_a_missing_model_gives_the_pull_line() -> None:
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


def test_a_server_that_is_not_there_is_unreachable() -> None:
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


def test_the_local_backend_says_when_there_is_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    error = one(make_client("ollama", port=9)).error
    assert isinstance(error, EngineStartError)
    assert "install it" in str(error)

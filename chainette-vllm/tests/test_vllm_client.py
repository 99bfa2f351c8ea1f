from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import respx
from chainette import GuidedDecodingParams, SamplingParams, register_engine
from chainette.engine.http import aiohttp as aiohttp_transport
from chainette.engine.http.aiohttp import AiohttpTransport
from chainette.engine.http.transport import NO_PROXY, HttpxTransport
from chainette.errors import (
    ConfigError,
    EngineStartError,
    NotFoundError,
    StructuredOutputError,
)
from chainette.testing.servers import FakeVLLM
from chainette_vllm.config import VLLMConfig
from chainette_vllm.server import serve_command, server_of
from pydantic import BaseModel
from respx.mocks import HTTPCoreMocker

URL = "http://vllm.test/v1"


@pytest.fixture(autouse=True)
def _httpx_for_respx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send requests that respx mocks through httpx, and others through the default transport."""

    def transport(**limits: float) -> Any:
        if HTTPCoreMocker.routers:
            return HttpxTransport(httpx.AsyncClient(mounts=NO_PROXY), **limits)
        return AiohttpTransport(**limits)

    monkeypatch.setattr(aiohttp_transport, "AiohttpTransport", transport)


class City(BaseModel):
    name: str


@respx.mock
def test_vllms_sampling_parameters_and_the_schema_reach_the_server() -> None:
    message = {"content": '{"name": "Oslo"}', "reasoning": "because"}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
    route = respx.post(f"{URL}/chat/completions").respond(json=answer)
    client = register_engine("e", backend="vllm_api", model="m", endpoint=URL).engine
    params = SamplingParams(top_k=3, min_p=0.1, repetition_penalty=1.2)
    (output,) = client.generate(["x"], params, output_model=City)
    assert output.outputs[0].parsed == City(name="Oslo")
    assert output.outputs[0].reasoning_content == "because"
    request = route.calls.last.request
    assert "authorization" not in request.headers
    sent = json.loads(request.content)
    assert (sent["top_k"], sent["min_p"], sent["repetition_penalty"]) == (3, 0.1, 1.2)
    assert sent["response_format"]["json_schema"]["schema"] == City.model_json_schema()
    assert "guided_json" not in sent


@respx.mock
def test_guided_decoding_has_its_present_name() -> None:
    answer = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
    route = respx.post(f"{URL}/chat/completions").respond(json=answer)
    client = register_engine("e", backend="vllm_api", model="m", endpoint=URL).engine
    params = SamplingParams(guided_decoding=GuidedDecodingParams(choice=["yes", "no"]))
    assert client.generate(["x"], params)[0].error is None
    sent = json.loads(route.calls.last.request.content)
    assert sent["structured_outputs"] == {"choice": ["yes", "no"]}
    assert not any(name.startswith("guided") for name in sent)


def reply(text: str) -> dict[str, object]:
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}


@respx.mock
def test_the_only_model_of_a_server_is_used() -> None:
    models = respx.get(f"{URL}/models").respond(json={"data": [{"id": "served"}]})
    route = respx.post(f"{URL}/chat/completions").respond(json=reply("x"))
    client = register_engine("e", backend="vllm_api", endpoint=URL).engine
    assert [output.error for output in client.generate(["a", "b"])] == [None, None]
    assert json.loads(route.calls.last.request.content)["model"] == "served"
    assert models.call_count <= 2


@respx.mock
def test_one_of_several_models_must_be_named() -> None:
    respx.get(f"{URL}/models").respond(json={"data": [{"id": "one"}, {"id": "two"}]})
    client = register_engine("e", backend="vllm_api", endpoint=URL).engine
    error = client.generate(["a"])[0].error
    assert isinstance(error, NotFoundError)
    assert "one, two" in str(error)


def test_an_engine_has_an_endpoint_or_a_model() -> None:
    with pytest.raises(ConfigError, match="give the endpoint of a server, or the model"):
        register_engine("e", backend="vllm_api")


def test_the_options_of_a_server_become_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/vllm")
    config = VLLMConfig(
        name="e", backend="vllm_api", model="m", dtype="bfloat16", max_model_len=2048,
        tensor_parallel_size=2, reasoning_parser="qwen3", gpu_ids=[0, 2],
        extra_serve_flags=["--enforce-eager"], extra_env={"A": "b"},
    )  # fmt: skip
    assert serve_command(config) == [
        "/bin/vllm", "serve", "m", "--host", "127.0.0.1", "--port", "{port}", "--dtype", "bfloat16",
        "--max-model-len", "2048", "--tensor-parallel-size", "2", "--reasoning-parser", "qwen3",
        "--enforce-eager",
    ]  # fmt: skip
    assert server_of(config).env == {"A": "b", "CUDA_VISIBLE_DEVICES": "0,2"}


def test_without_an_endpoint_and_vllm_the_error_suggests_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    error = register_engine("e", backend="vllm_api", model="m").engine.generate(["a"])[0].error
    assert isinstance(error, EngineStartError)
    assert "set endpoint to a running server, or pip install vllm" in str(error)


def test_the_older_names_are_sent_to_older_servers_only() -> None:
    for version, sent in ((None, "response_format"), ("0.12", "response_format"),
                          ("0.11.2", "guided_json"), ("0.9", "guided_json")):  # fmt: skip
        with FakeVLLM() as server:
            fields = {"endpoint": server.endpoint, "vllm_version": version}
            engine = register_engine("e", backend="vllm_api", **fields).engine
            engine.generate(["hi"], output_model=dict[str, int])
            body = server.requests[-1].body
            assert {"response_format", "guided_json", "structured_outputs"} & set(body) == {sent}


def test_an_answer_of_a_server_that_ignores_the_schema_is_still_validated() -> None:
    with FakeVLLM(lambda _: "free text") as server:
        fields = {"endpoint": server.endpoint, "vllm_version": "0.11.0"}
        engine = register_engine("e", backend="vllm_api", **fields).engine
        (output,) = engine.generate(["hi"], output_model=dict[str, int])
        assert isinstance(output.error, StructuredOutputError)
        assert server.requests[-1].schema is None


@pytest.mark.parametrize("version", ["latest", "0", "v0.12.0", "0.12-"])
def test_an_invalid_version_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match="vllm_version"):
        register_engine("e", backend="vllm_api", endpoint="http://x/v1", vllm_version=version)

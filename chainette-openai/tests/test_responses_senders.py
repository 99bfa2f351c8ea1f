"""What our transport and OpenAI's SDK send for the same request, and what is imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from chainette import SamplingParams, register_engine
from chainette.errors import ConfigError, NotFoundError, ServerError
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from chainette_openai.client import OpenAIClient, ResponsesClient
from chainette_openai.config import OpenAIConfig
from chainette_openai.sdk import SDKClient
from pydantic import BaseModel, Field


class Part(BaseModel):
    name: str = Field(pattern="^[a-z]+$", max_length=9)
    weights: dict[str, float]
    parts: list[Part] = []


HISTORY = [
    {"role": "system", "content": "Be brief.\u2028"},
    {"role": "user", "content": "Hi 🐦"},
    {"role": "assistant", "content": '{"a": "ü"}'},
    {"role": "user", "content": "And now?"},
]
KINDS: dict[str, dict[str, Any]] = {
    "plain text": {},
    "a schema": {"output_model": Part},
    "a schema of a list": {"output_model": list[Part]},
    "JSON mode": {"output_model": Part, "fields": {"structured_output": "json_object"}},
    "words": {"output_model": Part, "fields": {"structured_output": "prompt"}},
    "history": {"prompt": HISTORY},
    "history and a schema": {"prompt": HISTORY, "output_model": Part},
    "sampling": {"sampling": SamplingParams(temperature=0.5, top_p=0.25, seed=3, stop=["x"])},
    "integers": {"sampling": SamplingParams(temperature=0, top_p=1)},
    "max_tokens": {"sampling": SamplingParams(max_tokens=99)},
    "reasoning": {
        "fields": {"extra_body": {"reasoning": {"effort": "low", "summary": "auto"}}},
    },
    "options of the text": {
        "output_model": Part,
        "fields": {"extra_body": {"text": {"verbosity": "low"}}},
    },
    "options of a plain text": {"fields": {"extra_body": {"text": {"verbosity": "low"}}}},
    "stored": {"fields": {"extra_body": {"store": True, "metadata": {"run": "1"}}}},
    "a model of its own": {"fields": {"extra_body": {"model": "other", "temperature": 1}}},
    "fields that the SDK does not know": {
        "sampling": SamplingParams(temperature=0.1),
        "fields": {"extra_body": {"top_k": 5, "nothing": None, "deep": {"a": [1, None]}}},
    },
    "service tier and cache": {
        "fields": {"extra_body": {"service_tier": "flex", "prompt_cache_key": "k"}},
    },
}


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


def make_client(server: FakeOpenAI, sender: str, **fields: Any) -> OpenAIClient:
    fields = {"api": "responses", "endpoint": server.endpoint, "max_retries": 0, **fields}
    config = register_engine("e", backend="openai", model="m", client=sender, **fields)
    assert isinstance(config.engine, OpenAIClient)
    return config.engine


def bodies(server: FakeOpenAI, kind: dict[str, Any]) -> list[dict[str, Any]]:
    for sender in ("http", "sdk"):
        client = make_client(server, sender, **kind.get("fields", {}))
        prompt, output = kind.get("prompt", "hi"), kind.get("output_model")
        client.generate([prompt], kind.get("sampling"), output_model=output)
    half = len(server.requests) // 2
    return [server.requests[0].body, server.requests[half].body]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_both_send_the_same_bytes_but_for_the_order_of_keys(
    server: FakeOpenAI, kind: dict[str, Any]
) -> None:
    own, sdk = (json.dumps(body, sort_keys=True).encode() for body in bodies(server, kind))
    assert own == sdk


def test_a_schema_keeps_the_order_of_its_properties(server: FakeOpenAI) -> None:
    """It is the order in which the model writes them."""
    for body in bodies(server, KINDS["a schema"]):
        schema = body["text"]["format"]["schema"]
        assert list(schema["$defs"]["Part"]["properties"]) == ["name", "weights", "parts"]


def test_options_of_the_text_do_not_replace_the_schema(server: FakeOpenAI) -> None:
    for body in bodies(server, KINDS["options of the text"]):
        assert body["text"]["verbosity"] == "low"
        assert body["text"]["format"]["strict"] is True


def test_turns_of_the_assistant_name_their_type(server: FakeOpenAI) -> None:
    """llama.cpp answers 400 to others: Cannot determine type of 'item'."""
    for body in bodies(server, KINDS["history"]):
        assert [turn.get("type") for turn in body["input"]] == [None, None, "message", None]


@pytest.mark.parametrize("sender", ["http", "sdk"])
def test_half_a_surrogate_pair_fails_its_row_at_once(server: FakeOpenAI, sender: str) -> None:
    output = make_client(server, sender, max_retries=5).generate(["a \ud800 b", "hi"])
    assert [each.error is None for each in output] == [False, True]
    assert len(server.requests) == 1


@pytest.mark.parametrize("sender", ["http", "sdk"])
def test_a_refused_parameter_is_left_out_of_later_requests(server: FakeOpenAI, sender: str) -> None:
    error = {"error": {"message": "Unsupported parameter: 'top_p'", "param": "top_p"}}
    server.set_answers([Reply(status=400, body=json.dumps(error).encode()), *["fine"] * 2])
    client = make_client(server, sender, drop_unsupported_params=True, max_concurrency=1)
    outputs = client.generate(["a", "b"], SamplingParams(top_p=0.5, max_tokens=50))
    assert [output.error for output in outputs] == [None, None]
    assert ["top_p" in request.body for request in server.requests] == [True, False, False]
    assert {request.body["max_output_tokens"] for request in server.requests} == {50}


HEADERS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "no key": ({}, {}),
    "a key": ({"api_key": "k-123456789"}, {"authorization": "Bearer k-123456789"}),
    "a header": ({"headers": {"X-Own": "v"}}, {"x-own": "v"}),
    "another scheme": (
        {"api_key": "k-123456789", "headers": {"authorization": "Own x"}},
        {"authorization": "Own x"},
    ),
}


@pytest.mark.parametrize("sender", ["http", "sdk"])
@pytest.mark.parametrize(("fields", "expected"), HEADERS.values(), ids=HEADERS)
def test_both_send_the_same_secrets(
    server: FakeOpenAI, sender: str, fields: Any, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    make_client(server, sender, **fields).generate(["hi"])
    sent = {name.lower(): value for name, value in server.requests[0].headers.items()}
    names = ("authorization", "api-key", "x-own", "openai-organization", "openai-project")
    assert {name: sent[name] for name in names if name in sent} == expected


def test_openai_itself_learns_who_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1\n")
    monkeypatch.delenv("OPENAI_PROJECT_ID", raising=False)
    config = OpenAIConfig(name="e", backend="openai", model="m", api_key="k")
    headers = OpenAIClient(config).headers()
    assert headers["Openai-Organization"] == "org-1"
    assert "Openai-Project" not in headers


def test_the_configuration_chooses_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    fields: dict[str, Any] = {"name": "e", "backend": "openai", "model": "m", "api_key": "k"}
    assert type(OpenAIClient(OpenAIConfig(**fields))) is ResponsesClient
    assert type(OpenAIClient(OpenAIConfig(**fields, client="sdk"))) is SDKClient
    assert type(OpenAIClient(OpenAIConfig(**fields, api="chat"))) is OpenAIClient


def test_the_sdk_does_not_send_chat_completions() -> None:
    with pytest.raises(ConfigError, match="client: sdk is for the Responses API"):
        register_engine("e", backend="openai", model="m", endpoint="http://x/v1", client="sdk")


def test_what_sends_does_not_influence_the_answers() -> None:
    fields: dict[str, Any] = {"name": "e", "backend": "openai", "model": "m", "api": "responses"}
    own, sdk = OpenAIConfig(**fields), OpenAIConfig(**fields, client="sdk")
    assert own.answering() == sdk.answering()


@pytest.mark.parametrize("sender", ["http", "sdk"])
def test_the_sdk_is_imported_only_where_it_sends(server: FakeOpenAI, sender: str) -> None:
    script = (
        "import sys, chainette_openai\n"
        "from chainette import register_engine\n"
        "from pydantic import create_model\n"
        f"engine = register_engine('e', backend='openai', model='m', api='responses',\n"
        f"    client={sender!r}, endpoint={server.endpoint!r}, api_key='k').engine\n"
        "print('openai' in sys.modules)\n"
        "assert engine.generate(['hi'])[0].error is None\n"
        "print('openai' in sys.modules)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.split() == ["False", str(sender == "sdk")]


@pytest.mark.parametrize("sender", ["http", "sdk"])
def test_an_answer_longer_than_allowed_fails_its_row(server: FakeOpenAI, sender: str) -> None:
    server.set_answers(lambda _: "x" * 5000)
    (output,) = make_client(server, sender, max_response_bytes=2000).generate(["hi"])
    assert type(output.error) is ServerError
    assert "max_response_bytes=2000" in str(output.error)


@pytest.mark.parametrize("sender", ["http", "sdk"])
def test_a_proxy_of_the_environment_receives_what_is_for_other_machines(
    server: FakeOpenAI, sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", server.endpoint.removesuffix("/v1"))
    client = make_client(server, sender, endpoint="http://model.invalid/v1")
    # The fake server does not know full URLs: its 404 proves that it was the proxy.
    assert isinstance(client.generate(["hi"])[0].error, NotFoundError)

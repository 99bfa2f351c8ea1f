"""Prompts that are longer than the context, and texts that no request can carry."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chainette import register_engine
from chainette.engine.context.overflow import context_error
from chainette.errors import ContextLengthError, RequestError
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOllama, FakeOpenAI, FakeVLLM
from pydantic import BaseModel

WORDS: dict[str, tuple[str, tuple[int | None, int | None]]] = {
    "OpenAI": (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        "9001 tokens. Please reduce the length of the messages.",
        (9001, 8192),
    ),
    "OpenAI, both": (
        "This model's maximum context length is 4097 tokens. However, you requested 5000 tokens "
        "(4800 in the messages, 200 in the completion).",
        (4800, 4097),
    ),
    "vLLM": (
        "This model's maximum context length is 16 tokens. However, your request has 34 input "
        "tokens. Please reduce the length of the input messages.",
        (34, 16),
    ),
    "vLLM, older": (
        "The decoder prompt (length 34) is longer than the maximum model length of 16.",
        (34, 16),
    ),
    "llama.cpp": (
        "request (2013 tokens) exceeds the available context size (256 tokens), try increasing it",
        (2013, 256),
    ),
    "Ollama 0.25": ("the input length exceeds the context length", (None, None)),
    "Ollama's cloud": (
        "prompt too long; exceeded max context length by 540451 tokens (ref: 00ad71bb)",
        (None, None),
    ),
    "LM Studio": (
        "Trying to keep the first 15857 tokens when context the overflows. However, the model is "
        "loaded with context length of only 4096 tokens, which is not enough.",
        (15857, 4096),
    ),
    "LM Studio, newer": (
        "The number of tokens to keep from the initial prompt is greater than the context length. "
        "Try to load the model with a larger context length, or provide a shorter input",
        (None, None),
    ),
    "llama-cpp-python": ("Requested tokens (516) exceed context window of 512", (516, 512)),
    "oMLX": (
        "Prompt too long: 41911 tokens exceeds max context window of 32768 tokens",
        (41911, 32768),
    ),
    "Anthropic": ("prompt is too long: 210000 tokens > 200000 maximum", (210000, 200000)),
    "Gemini": (
        "The input token count (1050000) exceeds the maximum number of tokens allowed (1048576).",
        (1050000, 1048576),
    ),
    "Mistral": (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
        "context length",
        (40000, 32768),
    ),
    "Text Generation Inference": (
        "`inputs` must have less than 1024 tokens. Given: 2000",
        (None, 1024),
    ),
}
OTHERS = (
    "'max_tokens' is too large: 9. This model's maximum context length is 5 tokens",
    "max_tokens must be at least 1",
    "the schema is too long",
    "temperature exceeds the maximum",
)
BACKENDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "openai chat": (FakeOpenAI, {"backend": "openai", "api": "chat"}),
    "openai responses": (FakeOpenAI, {"backend": "openai", "api": "responses"}),
    "vllm_api": (FakeVLLM, {"backend": "vllm_api"}),
    "ollama_api": (FakeOllama, {"backend": "ollama_api"}),
}


class City(BaseModel):
    name: str


@pytest.mark.parametrize("server", WORDS)
def test_the_numbers_of_each_server_are_read(server: str) -> None:
    words, numbers = WORDS[server]
    error = context_error((), words, "said")
    assert error is not None
    assert (error.prompt_tokens, error.context_tokens) == numbers


@pytest.mark.parametrize("words", OTHERS)
def test_other_refusals_are_not_about_the_length_of_the_prompt(words: str) -> None:
    assert context_error((), words, "said") is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_nested", [False, True])
def test_such_a_refusal_is_final_for_its_row_and_not_taken_for_one_of_the_schema(
    backend: str, is_nested: bool
) -> None:
    server_class, fields = BACKENDS[backend]
    inner = {"message": WORDS["llama.cpp"][0] + "; format", "type": "exceed_context_size_error"}
    body: Any = {"error": inner}
    if is_nested:  # as Ollama passes it on, under /api and under /v1
        text = json.dumps(body, separators=(",", ":"))
        body = {"error": text if backend == "ollama_api" else {"message": text, "code": None}}
    reply = Reply(status=400, body=json.dumps(body).encode())
    with server_class({"long": reply, "": '{"name": "Oslo"}'}) as server:
        engine = register_engine("e", model="m", endpoint=server.endpoint, **fields).engine
        long, short = engine.generate(["long", "short"], output_model=City)
        assert len(server.requests) == 2
        assert all(request.schema for request in server.requests)
    assert isinstance(long.error, ContextLengthError)
    assert (long.error.prompt_tokens, long.error.context_tokens) == (2013, 256)
    assert "the prompt has 2013 tokens, and 256 fit" in str(long.error)
    assert short.error is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_of_a_character_fails_its_row_at_once(backend: str) -> None:
    server_class, fields = BACKENDS[backend]
    with server_class() as server:
        engine = register_engine("e", model="m", endpoint=server.endpoint, **fields).engine
        bad, good = engine.generate(["half \ud83d", "fine"])
        assert len(server.requests) == 1
    assert bad.error is not None
    assert good.error is None
    if backend != "openai responses":
        assert isinstance(bad.error, RequestError)
        assert "lone surrogate" in str(bad.error)

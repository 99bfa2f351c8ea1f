"""vLLM's OpenAI-compatible server as the Chainette backend `vllm_api`."""

from __future__ import annotations

from chainette.engine.config import EngineConfig
from chainette.engine.openai_chat import CHAT_SAMPLING, OpenAIChatClient
from chainette.plugins import Backend, Capabilities, hookimpl
from pydantic import Field


class VLLMConfig(EngineConfig):
    """An engine behind a vLLM server.

    Attributes:
        model: Name of the model, as the server was told with `--served-model-name` or `--model`.
        endpoint: Base URL of the server.
    """

    model: str = Field(min_length=1)
    endpoint: str = "http://127.0.0.1:8000/v1"


class VLLMClient(OpenAIChatClient):
    """Chat completions with vLLM's further sampling parameters."""


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backend `vllm_api`."""
    return [
        Backend(
            name="vllm_api",
            config=VLLMConfig,
            client=VLLMClient,
            capabilities=Capabilities(
                json_schema=True,
                json_object=True,
                reasoning=True,
                # vLLM documentation, "OpenAI-Compatible Server", extra parameters of the chat API.
                sampling=CHAT_SAMPLING | {"top_k", "min_p", "repetition_penalty"},
            ),
            summary="a vLLM server over HTTP",
        )
    ]

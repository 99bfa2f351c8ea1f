"""vLLM's OpenAI-compatible server as the Chainette backend `vllm_api`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from chainette.engine.config import EngineConfig
from chainette.engine.openai_chat import CHAT_SAMPLING, OpenAIChatClient
from chainette.plugins import Backend, Capabilities, hookimpl
from chainette.types import SamplingParams
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
    """Chat completions with what vLLM adds to them."""

    def _sampling(self, sampling: SamplingParams) -> dict[str, Any]:
        fields = super()._sampling(sampling)
        if sampling.guided_decoding is not None:
            # The field's name since vLLM 0.12 (vLLM documentation, "Structured Outputs"); a
            # server ignores older names in silence.
            given = asdict(sampling.guided_decoding)
            fields["structured_outputs"] = {k: v for k, v in given.items() if v is not None}
        return fields


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
                guided_decoding=True,
                reasoning=True,
                # vLLM documentation, "OpenAI-Compatible Server", extra parameters of the chat API.
                sampling=CHAT_SAMPLING
                | {"top_k", "min_p", "repetition_penalty", "guided_decoding"},
            ),
            summary="a vLLM server over HTTP",
        )
    ]

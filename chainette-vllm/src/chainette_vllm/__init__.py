"""vLLM's OpenAI-compatible server as the Chainette backend `vllm_api`."""

from __future__ import annotations

from chainette.backend import CHAT_SAMPLING, Backend, Capabilities, hookimpl


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backend `vllm_api`."""
    return [
        Backend(
            name="vllm_api",
            config="chainette_vllm.config:VLLMConfig",
            client="chainette_vllm.client:VLLMClient",
            capabilities=Capabilities(
                json_schema=True,
                json_object=True,
                guided_decoding=True,
                reasoning=True,
                prefill=True,
                # vLLM documentation, "OpenAI-Compatible Server", extra parameters of the chat API.
                sampling=CHAT_SAMPLING
                | {"top_k", "min_p", "repetition_penalty", "guided_decoding"},
                dialect="xgrammar",
            ),
            summary="a vLLM server over HTTP, started where no endpoint is configured",
        )
    ]

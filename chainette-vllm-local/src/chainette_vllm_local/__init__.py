"""vLLM in this process, as the Chainette backend `vllm_local`."""

from __future__ import annotations

from chainette.backend import CHAT_SAMPLING, Backend, Capabilities, hookimpl


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backend `vllm_local`."""
    return [
        Backend(
            name="vllm_local",
            config="chainette_vllm_local.config:VLLMLocalConfig",
            client="chainette_vllm_local.client:VLLMLocalClient",
            capabilities=Capabilities(
                json_schema=True,
                guided_decoding=True,
                reasoning=True,
                prefill=True,
                local=True,
                # vLLM documentation, class SamplingParams.
                sampling=CHAT_SAMPLING
                | {"top_k", "min_p", "repetition_penalty", "guided_decoding"},
                dialect="xgrammar",
            ),
            summary="vLLM in this process; needs its GPU dependencies",
        )
    ]

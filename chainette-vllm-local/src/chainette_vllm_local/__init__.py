"""vLLM in this process, as the Chainette backend `vllm_local`."""

from __future__ import annotations

from chainette.plugins import Backend, Capabilities, hookimpl

from chainette_vllm_local.client import SAMPLING, VLLMLocalClient
from chainette_vllm_local.config import VLLMLocalConfig


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backend `vllm_local`."""
    return [
        Backend(
            name="vllm_local",
            config=VLLMLocalConfig,
            client=VLLMLocalClient,
            capabilities=Capabilities(
                json_schema=True,
                guided_decoding=True,
                reasoning=True,
                local=True,
                sampling=SAMPLING,
            ),
            summary="vLLM in this process; needs its GPU dependencies",
        )
    ]

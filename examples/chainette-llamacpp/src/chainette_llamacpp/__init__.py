"""llama.cpp on this machine, as the Chainette backend `llamacpp`."""

from __future__ import annotations

from chainette.backend import CHAT_SAMPLING, Backend, Capabilities, hookimpl


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backend `llamacpp`."""
    return [
        Backend(
            name="llamacpp",
            config="chainette_llamacpp.client:LlamaCppConfig",
            client="chainette_llamacpp.client:LlamaCppClient",
            capabilities=Capabilities(
                json_schema=True,
                json_object=True,
                prefill=True,  # https://github.com/ggml-org/llama.cpp/pull/13174
                local=True,
                sampling=CHAT_SAMPLING | {"top_k", "min_p", "repetition_penalty"},
                dialect="llama_cpp",
            ),
            summary="llama.cpp on this machine, started on loopback",
        )
    ]

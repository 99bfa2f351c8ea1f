"""OpenAI and every OpenAI-compatible server, as the Chainette backend `openai`."""

from __future__ import annotations

from chainette.backend import CHAT_SAMPLING, Backend, Capabilities, hookimpl


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backend `openai`."""
    return [
        Backend(
            name="openai",
            config="chainette_openai.config:OpenAIConfig",
            client="chainette_openai.client:OpenAIClient",
            capabilities=Capabilities(json_schema=True, json_object=True, sampling=CHAT_SAMPLING),
            summary="OpenAI's API and every server that speaks it",
        )
    ]

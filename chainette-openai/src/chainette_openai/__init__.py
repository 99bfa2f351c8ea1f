"""OpenAI and every OpenAI-compatible server, as the Chainette backend `openai`."""

from __future__ import annotations

from chainette.plugins import Backend, Capabilities, hookimpl

from chainette_openai.client import OpenAIClient
from chainette_openai.config import OpenAIConfig


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backend `openai`."""
    return [
        Backend(
            name="openai",
            config=OpenAIConfig,
            client=OpenAIClient,
            capabilities=Capabilities(
                json_schema=True, json_object=True, sampling=OpenAIClient.sampling
            ),
            summary="OpenAI's API and every server that speaks it",
        )
    ]

"""Ollama as the Chainette backends `ollama_api` (a server) and `ollama` (on this machine)."""

from __future__ import annotations

from chainette.plugins import Backend, Capabilities, hookimpl

from chainette_ollama.client import OPTIONS, OllamaClient
from chainette_ollama.config import LocalOllamaConfig, OllamaConfig
from chainette_ollama.local import LocalOllamaClient


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backends `ollama_api` and `ollama`."""
    sampling = frozenset(OPTIONS)
    return [
        Backend(
            name="ollama_api",
            config=OllamaConfig,
            client=OllamaClient,
            capabilities=Capabilities(
                json_schema=True, json_object=True, reasoning=True, sampling=sampling
            ),
            summary="an Ollama server over HTTP",
        ),
        Backend(
            name="ollama",
            config=LocalOllamaConfig,
            client=LocalOllamaClient,
            capabilities=Capabilities(
                json_schema=True, json_object=True, reasoning=True, local=True, sampling=sampling
            ),
            summary="Ollama on this machine, started and fed with models as needed",
        ),
    ]

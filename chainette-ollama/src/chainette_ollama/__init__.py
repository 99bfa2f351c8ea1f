"""Ollama as the Chainette backends `ollama_api` (a server) and `ollama` (on this machine)."""

from __future__ import annotations

from chainette.backend import Backend, Capabilities, hookimpl

from chainette_ollama.options import OPTIONS


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backends `ollama_api` and `ollama`."""
    sampling = frozenset(OPTIONS)
    return [
        Backend(
            name="ollama_api",
            config="chainette_ollama.config:OllamaConfig",
            client="chainette_ollama.client:OllamaClient",
            capabilities=Capabilities(
                json_schema=True,
                json_object=True,
                reasoning=True,
                prefill=True,  # https://github.com/ollama/ollama/issues/6778
                sampling=sampling,
                dialect="llama_cpp",
            ),
            summary="an Ollama server over HTTP",
        ),
        Backend(
            name="ollama",
            config="chainette_ollama.config:LocalOllamaConfig",
            client="chainette_ollama.local:LocalOllamaClient",
            capabilities=Capabilities(
                json_schema=True,
                json_object=True,
                reasoning=True,
                prefill=True,  # https://github.com/ollama/ollama/issues/6778
                local=True,
                sampling=sampling,
                dialect="llama_cpp",
            ),
            summary="Ollama on this machine; starts it and pulls models as needed",
        ),
    ]

"""Ollama as the Chainette backends `ollama_api` (a server) and `ollama` (on this machine)."""

from __future__ import annotations

from dataclasses import replace

from chainette.backend import Backend, Capabilities, hookimpl

from chainette_ollama.names import OPTIONS


@hookimpl
def chainette_backends() -> list[Backend]:
    """The backends `ollama_api` and `ollama`."""
    can = Capabilities(
        json_schema=True,
        json_object=True,
        reasoning=True,
        sampling=frozenset(OPTIONS),
        dialect="llama_cpp",
    )
    return [
        Backend(
            name="ollama_api",
            config="chainette_ollama.config:OllamaConfig",
            client="chainette_ollama.client:OllamaClient",
            capabilities=can,
            summary="an Ollama server over HTTP",
        ),
        Backend(
            name="ollama",
            config="chainette_ollama.config:LocalOllamaConfig",
            client="chainette_ollama.local:LocalOllamaClient",
            capabilities=replace(can, local=True),
            summary="Ollama on this machine; starts it and pulls models as needed",
        ),
    ]

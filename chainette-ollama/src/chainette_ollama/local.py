"""Client of the backend `ollama`."""

from __future__ import annotations

import anyio.to_thread
from chainette.backend import EngineUnreachableError, ServerProcess

from chainette_ollama.client import OllamaClient
from chainette_ollama.config import LocalOllamaConfig
from chainette_ollama.server import pull, server_of


class LocalOllamaClient(OllamaClient):
    """A client that starts `ollama serve` if none answers, and pulls a missing model."""

    config: LocalOllamaConfig

    async def load_model(self) -> None:
        """Start a server if none answers, pull the model if it is missing, and load it."""
        try:
            models = await self.list_models()
        except EngineUnreachableError:
            await anyio.to_thread.run_sync(self.server_address)
            models = await self.list_models()
        name = self.config.model
        if not {name, f"{name}:latest"} & set(models or ()):
            await pull(self, name)
        await super().load_model()

    def server(self) -> ServerProcess | None:
        """`ollama serve`."""
        return server_of(self.config)

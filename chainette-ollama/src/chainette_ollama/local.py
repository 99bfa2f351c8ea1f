"""Client of the backend `ollama`."""

from __future__ import annotations

from chainette.backend import NotFoundError, ServerProcess

from chainette_ollama.client import OllamaClient
from chainette_ollama.config import LocalOllamaConfig
from chainette_ollama.server import ensure_up, lacks, pull, server_of, store


class LocalOllamaClient(OllamaClient):
    """A client that starts `ollama serve` if none answers, and pulls a missing model."""

    config: LocalOllamaConfig

    async def load_model(self) -> None:
        """Start a server if none answers, pull the model if it is missing, and load it."""
        config = self.config
        await ensure_up(self, config)
        if self.is_free and lacks(models := await self.list_models(), config.model):
            if models == []:
                self.warn_once("store", "no models in %s; pulling %s", store(config), config.model)
            await pull(self, config)
        try:
            await super().load_model()
        except NotFoundError:
            if self.is_free:
                raise
            await pull(self, config)  # older servers need the name of a model of the cloud
            await super().load_model()

    def is_starting(self) -> bool:
        """Whether requests wait for a pull, or for the model to be loaded."""
        return self._loaded.is_running

    def server(self) -> ServerProcess | None:
        """`ollama serve`, unless the engine has an endpoint."""
        return server_of(self.config) if self.config.endpoint is None else None

"""Client of the backend `ollama`."""

from __future__ import annotations

import shutil

import anyio.to_thread
from chainette.backend import (
    EngineStartError,
    EngineUnreachableError,
    ServerProcess,
    announce,
    server_process,
)

from chainette_ollama.client import OllamaClient
from chainette_ollama.config import LocalOllamaConfig


class LocalOllamaClient(OllamaClient):
    """A client that starts `ollama serve` if none answers, and pulls a missing model."""

    config: LocalOllamaConfig
    _ready = False

    async def start(self) -> None:
        """Start a server if none answers, and pull the model if it is missing."""
        if self._ready:
            return
        self.base_url: str = f"http://127.0.0.1:{self.config.port}"
        try:
            models = await self._call("list")
        except EngineUnreachableError:
            await anyio.to_thread.run_sync(self.server_address)
            models = await self._call("list")
        name = self.config.model
        if not {name, f"{name}:latest"} & {model.model for model in models.models}:
            await self._pull(name)
        self._ready = True

    def server(self) -> ServerProcess | None:
        """`ollama serve`."""
        program = shutil.which("ollama")
        if program is None:
            raise EngineStartError("there is no program `ollama`: install it from ollama.com")
        return server_process(
            [program, "serve"],
            name="ollama",
            env={"OLLAMA_HOST": f"127.0.0.1:{self.config.port}"},
            health_path="/api/version",
            port=self.config.port,
            startup_timeout=self.config.startup_timeout,
        )

    async def _pull(self, model: str) -> None:
        task = f"pulling {model}"
        try:
            with self._translated():
                async for state in await self._sdk.get().pull(model, stream=True):
                    share = (state.completed or 0) / state.total if state.total else None
                    announce(task, state.status or "", share)
        finally:
            announce(task, over=True)

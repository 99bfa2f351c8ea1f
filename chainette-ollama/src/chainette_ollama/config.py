"""Configuration of the backends `ollama_api` and `ollama`."""

from __future__ import annotations

import re
from typing import Any, Literal

from chainette.backend import EngineConfig, endpoint_from_env, with_scheme
from pydantic import Field, field_validator

from chainette_ollama.names import NAMES, wrong_option

PORT = 11434
_DURATION = re.compile(r"[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+)")
"""Go documentation, `time.ParseDuration`."""
_OWN = {
    **dict.fromkeys(NAMES, "options: Ollama reads it nowhere else"),
    "options": "options", "keep_alive": "keep_alive", "truncate": "context_overflow",
    "model": "model", "messages": "the step's prompt", "format": "structured_output",
    "think": "reasoning_effort or enable_reasoning", "stream": "nothing: answers come whole",
}  # fmt: skip
"""Fields of a request that the engine sets itself or that have no effect, and what to use."""


class OllamaConfig(EngineConfig):
    """An engine behind an Ollama server.

    Attributes:
        model: Name of the model, as `ollama list` shows it.
        endpoint: Address of the server, in any form that `OLLAMA_HOST` takes; by default that of
            `OLLAMA_HOST`, or else `http://127.0.0.1:11434`.
        num_ctx: Tokens of context; Ollama's own default is small.
        context_overflow: What becomes of a prompt that is longer than the context: `error` fails
            its row, `cut` lets Ollama read a part of it, and marks the row's line.
        options: Further options of the model, under Ollama's names.
        reasoning_effort: How much the model thinks; thinking is on then.
        keep_alive: Time that the model stays in memory, such as `10m`, or seconds.
        load_timeout: Maximum seconds to load the model.
    """

    model: str = Field(min_length=1)
    num_ctx: int | None = Field(default=None, ge=1)
    context_overflow: Literal["error", "cut"] = "error"
    options: dict[str, Any] = Field(default_factory=dict)
    reasoning_effort: Literal["low", "medium", "high", "max"] | None = None
    keep_alive: str | float | None = None
    load_timeout: float = Field(default=600.0, gt=0)

    @field_validator("endpoint", mode="before")
    @classmethod
    def _as_ollama_writes_it(cls, value: Any) -> Any:
        return with_scheme(value, PORT) if isinstance(value, str) else value

    @field_validator("keep_alive", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        if isinstance(value, str) and re.fullmatch(r"\s*[-+]?\d+(\.\d+)?\s*", value):
            return float(value)
        if isinstance(value, str) and _DURATION.fullmatch(value):
            return value if re.search("[1-9]", value) else 0
        if value is None or (type(value) in (int, float) and abs(value) < 2**53):
            return value
        raise ValueError("it is a number of seconds or a time such as 10m; -1 is for ever")

    @field_validator("options")
    @classmethod
    def _known(cls, value: dict[str, Any], info: Any) -> dict[str, Any]:
        if "num_ctx" in value and info.data.get("num_ctx") is not None:
            raise ValueError("give num_ctx once: as a field of the engine, or in its options")
        if wrong := next(filter(None, map(wrong_option, value, value.values())), None):
            raise ValueError(wrong)
        return value

    @field_validator("extra_body")
    @classmethod
    def _none_of_our_own(cls, value: dict[str, Any]) -> dict[str, Any]:
        if found := [f"{name} (use {_OWN[name]})" for name in value if name in _OWN]:
            raise ValueError(f"these fields have another place: {', '.join(found)}")
        return value

    @property
    def address(self) -> str:
        """The address of the server."""
        return self.endpoint or endpoint_from_env("OLLAMA_HOST", PORT) or f"http://127.0.0.1:{PORT}"

    def sent_options(self) -> dict[str, Any]:
        """The options of every request, beside the sampling parameters."""
        return self.options if self.num_ctx is None else self.options | {"num_ctx": self.num_ctx}


class LocalOllamaConfig(OllamaConfig):
    """An engine on this machine's Ollama.

    Attributes:
        port: Port of the server on loopback.
        startup_timeout: Maximum seconds until a server that is started here is ready.
    """

    port: int = Field(default=PORT, ge=1, le=65535)
    startup_timeout: float = Field(default=60.0, gt=0)

    @property
    def address(self) -> str:
        """The address of the server."""
        return f"http://127.0.0.1:{self.port}"

"""Clients of the backends `ollama_api` and `ollama`."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from anyio.lowlevel import RunVar
from chainette.engine.client import Request
from chainette.engine.http import BaseHTTPClient, status_error
from chainette.engine.openai_chat import with_instruction
from chainette.engine.server import server_process
from chainette.engine.transport import HTTPResponse
from chainette.errors import (
    EngineConnectionError,
    EngineError,
    EngineStartError,
    EngineTimeoutError,
    EngineUnreachableError,
    NotFoundError,
)
from chainette.plugins import Capabilities
from chainette.types import Completion, LLMOutput, SamplingParams, Usage

from chainette_ollama.config import LocalOllamaConfig, OllamaConfig

if TYPE_CHECKING:
    from ollama import AsyncClient, ChatResponse

logger = logging.getLogger(__name__)

OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "max_tokens": "num_predict",
    "stop": "stop",
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repeat_penalty",
}
"""Ollama's names of the sampling parameters (Ollama documentation, "Modelfile", parameters)."""


class OllamaClient(BaseHTTPClient):
    """Client of Ollama's `POST /api/chat`, through the `ollama` package."""

    config: OllamaConfig

    def __init__(self, config: OllamaConfig, capabilities: Capabilities | None = None) -> None:
        super().__init__(config, capabilities)
        self._sdk: RunVar[AsyncClient | None] = RunVar(f"ollama client of {config.name}", None)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await super().aclose()
        sdk = self._sdk.get()
        if sdk is not None:
            self._sdk.set(None)
            await sdk.close()  # type: ignore[no-untyped-call]

    async def list_models(self) -> list[str] | None:
        """Names of the models that the server has."""
        await self.start()
        answer = await self._call("list")
        return [model.model for model in answer.models]

    async def _chat(self, request: Request) -> LLMOutput:
        return read_answer(await self._call("chat", **self._arguments(request)))

    def _arguments(self, request: Request) -> dict[str, Any]:
        messages, output_format = request.messages, None
        if request.output is not None:
            formats = {"json_schema": request.output.schema, "json_object": "json"}
            output_format = formats.get(self._mode)
            if self._mode != "json_schema":
                messages = with_instruction(messages, request.output.instruction)
        return {
            "model": self.config.model,
            "messages": messages,
            "format": output_format,
            "options": self._options(request.sampling),
            "think": True if self.config.enable_reasoning else None,
            "keep_alive": self.config.keep_alive,
        }

    def _options(self, sampling: SamplingParams) -> dict[str, Any]:
        given = sampling.model_dump(exclude_none=True, include=set(OPTIONS))
        options = {OPTIONS[name]: value for name, value in given.items()}
        if self.config.num_ctx is not None:
            options["num_ctx"] = self.config.num_ctx
        return options | self.config.extra_body

    async def _call(self, method: str, **arguments: Any) -> Any:
        """Call the `ollama` package and translate what it raises."""
        import httpx
        import ollama

        try:
            return await getattr(self._client(), method)(**arguments)
        except ollama.ResponseError as error:
            raise self._refused(error.status_code, error.error) from None
        except httpx.TimeoutException:
            limit = f"{self.config.timeout:g} s"
            raise EngineTimeoutError(f"{self.base_url}: no answer for {limit}") from None
        except ConnectionError:
            hint = "is `ollama serve` running?"
            raise EngineUnreachableError(f"{self.base_url}: cannot connect; {hint}") from None
        except httpx.HTTPError as error:
            what = str(error) or type(error).__name__
            raise EngineConnectionError(f"{self.base_url}: {what}") from None

    def _refused(self, status: int, said: str) -> EngineError:
        if status == 404:
            model = self.config.model
            return NotFoundError(f"{said}; to get the model: ollama pull {model}", status=status)
        return status_error(HTTPResponse(status, {}, said.encode()), self.base_url)

    def _client(self) -> AsyncClient:
        """The `ollama` package's client of the running event loop."""
        import httpx
        import ollama

        sdk = self._sdk.get()
        if sdk is None:
            config = self.config
            timeout = httpx.Timeout(config.timeout, connect=config.connect_timeout, pool=None)
            limits = httpx.Limits(max_connections=None)
            sdk = ollama.AsyncClient(
                self.base_url, headers=self._headers(), timeout=timeout, limits=limits
            )
            self._sdk.set(sdk)
        return sdk


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


def read_answer(answer: ChatResponse) -> LLMOutput:
    """Read an answer of `/api/chat`."""
    completion = Completion(
        text=answer.message.content or "",
        reasoning_content=answer.message.thinking,
        finish_reason=answer.done_reason,
    )
    usage = Usage(answer.prompt_eval_count or 0, answer.eval_count or 0)
    return LLMOutput(outputs=[completion], usage=usage)

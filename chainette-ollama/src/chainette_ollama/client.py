"""Client of the backend `ollama_api`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chainette.backend import (
    NO_PROXY,
    BaseHTTPClient,
    Capabilities,
    Completion,
    EngineError,
    EngineUnreachableError,
    LLMOutput,
    NotFoundError,
    PerLoop,
    Request,
    SamplingParams,
    ServerError,
    Usage,
    with_instruction,
)

from chainette_ollama.config import OllamaConfig
from chainette_ollama.options import OPTIONS

if TYPE_CHECKING:
    import httpx
    from ollama import AsyncClient, ChatResponse

DEFAULT_CONTEXT = 4096
"""Tokens of context where none are configured (Ollama documentation, "Context length")."""
MAX_CHARACTERS = 8
"""Characters of text in one token, on average, that no tokenizer exceeds."""


class OllamaClient(BaseHTTPClient):
    """A client of Ollama's `POST /api/chat`, through the `ollama` package."""

    config: OllamaConfig
    pasted_paths: tuple[str, ...] = (
        "/v1/chat/completions",
        "/api/chat",
        "/api/generate",
        "/v1",
        "/api",
    )

    def __init__(self, config: OllamaConfig, capabilities: Capabilities | None = None) -> None:
        if urlsplit(config.endpoint).hostname == "ollama.com":
            self.api_key_envs: tuple[str, ...] = ("OLLAMA_API_KEY",)
        super().__init__(config, capabilities)
        self._sdk = PerLoop(self._make_sdk, _close)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await super().aclose()
        await self._sdk.aclose()

    async def list_models(self) -> list[str] | None:
        """Names of the models that the server has."""
        await self.start()
        answer = await self._call("list")
        return [model.model for model in answer.models]

    async def _chat(self, request: Request) -> LLMOutput:
        output = read_chat(await self._call("chat", **self._arguments(request)))
        self._warn_of_a_cut(request, output)
        return output

    def _warn_of_a_cut(self, request: Request, output: LLMOutput) -> None:
        """Warn once of a prompt that did not fit, which Ollama cuts without an error."""
        context = self.config.num_ctx or DEFAULT_CONTEXT
        characters = sum(len(message["content"]) for message in request.messages)
        tokens = output.usage.prompt_tokens if output.usage else 0
        if tokens >= context or characters > MAX_CHARACTERS * context:
            self.warn_once(
                "num_ctx",
                "a prompt of %d characters was cut to the context of %d tokens (%s); raise num_ctx",
                characters,
                context,
                "num_ctx" if self.config.num_ctx else "Ollama's default",
            )

    def _arguments(self, request: Request) -> dict[str, Any]:
        messages, output_format = request.messages, None
        if request.output is not None:
            formats = {"json_schema": self.schema_of(request), "json_object": "json"}
            output_format = formats.get(request.mode)
            if request.mode != "json_schema":
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
        params = sampling.model_dump(exclude_none=True, include=set(OPTIONS))
        options = {OPTIONS[name]: value for name, value in params.items()}
        if self.config.num_ctx is not None:
            options["num_ctx"] = self.config.num_ctx
        return options | self.config.extra_body

    async def _call(self, method: str, **arguments: Any) -> Any:
        """Call a method of the `ollama` package."""
        with self._translated():
            return await getattr(self._sdk.get(), method)(**arguments)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translate the exceptions of the `ollama` package."""
        import httpx
        import ollama

        try:
            yield
        except ollama.ResponseError as error:
            raise self._refused(error.status_code, error.error) from None
        except (ConnectionError, httpx.ConnectError, httpx.ConnectTimeout):
            hint = "is `ollama serve` running?"
            raise EngineUnreachableError(f"{self.base_url}: cannot connect; {hint}") from None
        except httpx.HTTPError as error:
            raise self.connection_error(error, self.base_url) from None
        except ValueError as error:  # not JSON, or of another form
            raise ServerError(f"{self.base_url}: the answer cannot be read: {error}") from None

    def _refused(self, status: int, reason: str) -> EngineError:
        model = self.config.model
        if status == 404 and "model" not in reason.lower():  # of another server than Ollama
            hint = "is endpoint the address of Ollama?"
            return NotFoundError(f"{self.base_url} answered 404: {reason}; {hint}", status=status)
        if status == 404:
            return NotFoundError(f"{reason}; to get the model: ollama pull {model}", status=status)
        return self.status_error(status, reason.encode(), self.base_url, {})

    def _make_sdk(self) -> AsyncClient:
        """A client of the `ollama` package."""
        import httpx
        import ollama

        config, headers = self.config, self.headers()
        return ollama.AsyncClient(
            self.base_url,
            headers=headers,
            timeout=httpx.Timeout(config.timeout, connect=config.connect_timeout, pool=None),
            limits=httpx.Limits(max_connections=None),
            mounts=NO_PROXY,
            follow_redirects=False,
            auth=None if "Authorization" in headers else _without_key,
            event_hooks={"response": [self.limit_response, self._raise_for_status]},
        )

    async def _raise_for_status(self, response: httpx.Response) -> None:
        """Raise the errors that the package would report without their headers."""
        if response.status_code > 400 and response.status_code != 404:
            body = await response.aread()
            raise self.status_error(response.status_code, body, self.base_url, response.headers)


def _without_key(request: httpx.Request) -> httpx.Request:
    """Remove the key of `OLLAMA_API_KEY`, which the package sends to every server."""
    request.headers.pop("Authorization", None)
    return request


async def _close(sdk: AsyncClient) -> None:
    await sdk.close()  # type: ignore[no-untyped-call]


def read_chat(answer: ChatResponse) -> LLMOutput:
    """Read an answer of `/api/chat` (Ollama documentation, "API")."""
    completion = Completion(
        text=answer.message.content or "",
        reasoning_content=answer.message.thinking,
        finish_reason=answer.done_reason,
    )
    usage = Usage(answer.prompt_eval_count or 0, answer.eval_count or 0)
    return LLMOutput(outputs=[completion], usage=usage)

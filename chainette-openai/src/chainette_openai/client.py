"""Client of the backend `openai`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from chainette.backend import (
    NO_PROXY,
    Capabilities,
    Completion,
    LLMOutput,
    OpenAIChatClient,
    OutputSchema,
    PerLoop,
    Request,
    RequestError,
    ServerError,
    unreadable,
)
from pydantic import BaseModel

from chainette_openai.config import OpenAIConfig

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI
    from openai.types.responses import ParsedResponse

RESPONSES_SAMPLING = frozenset({"temperature", "top_p", "max_tokens"})
"""Sampling parameters of the Responses API (OpenAI API reference, "Create a model response")."""


class OpenAIClient(OpenAIChatClient[OpenAIConfig]):
    """A client of the Responses API, through OpenAI's SDK, or of chat completions."""

    def __init__(self, config: OpenAIConfig, capabilities: Capabilities | None = None) -> None:
        if config.protocol == "responses":
            capabilities = Capabilities(json_schema=True, sampling=RESPONSES_SAMPLING)
        # The key of the environment is not sent to another server that a file names.
        from_environment = config.endpoint is None or config.is_openai
        self.api_key_envs: tuple[str, ...] = ("OPENAI_API_KEY",) if from_environment else ()
        self.needs_api_key: bool = config.is_openai
        self.strict_schema: bool = config.sends_strict
        if config.is_openai:
            self.max_tokens_field: str = "max_completion_tokens"
        self.default_endpoint: str = config.base_url
        super().__init__(config, capabilities)
        self._sdk = PerLoop(self._make_sdk, lambda sdk: sdk.close())

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await super().aclose()
        await self._sdk.aclose()

    async def _chat(self, request: Request) -> LLMOutput:
        if self.config.protocol == "chat":
            return await super()._chat(request)
        try:
            response = await self._respond(request)
        except RequestError as refusal:
            response = await self.learning(request, refusal, lambda: self._respond(request))
        answer = _billing(response)
        try:
            return self.billed(answer, [read_response(response)])
        except ServerError as error:
            self.charge(error, answer)
            raise

    async def _respond(self, request: Request) -> ParsedResponse[Any]:
        import openai

        url = f"{self.base_url}/responses"
        try:
            return await self._sdk.get().responses.parse(**self._arguments(request))
        except openai.APIStatusError as error:
            answer = error.response
            raise self.status_error(
                answer.status_code, answer.content, url, answer.headers
            ) from None
        except openai.APIConnectionError as error:
            raise self.connection_error(error.__cause__ or error, url) from None
        except ValueError as error:  # not JSON
            raise ServerError(f"{url}: the answer cannot be read: {error}") from None

    def _make_sdk(self) -> AsyncOpenAI:
        """A client of the SDK, without retries, which the core does."""
        import openai

        config = self.config
        return openai.AsyncOpenAI(
            api_key=self.api_key or "none",
            base_url=self.base_url,
            timeout=openai.Timeout(config.timeout, connect=config.connect_timeout),
            max_retries=0,
            default_headers=self.headers(),
            default_query=dict(parse_qsl(self.query[1:])),
            http_client=openai.DefaultAsyncHttpxClient(
                follow_redirects=False,
                mounts=NO_PROXY,
                event_hooks={"response": [self._heed]},
            ),
        )

    async def _heed(self, response: httpx.Response) -> None:
        if response.is_success:
            self.heed(response.headers)

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = self.sampling_fields(request.sampling)
        if (limit := request.sampling.max_tokens) is not None:
            del arguments[self.max_tokens_field]
            arguments["max_output_tokens"] = limit
        if request.output is not None and request.mode == "json_schema":
            # text_format sets the schema; the core parses, so that no answer is ever lost.
            arguments |= {"text_format": schema_carrier(request.output), "parse_as": None}
        elif request.output is not None and request.mode == "json_object":
            arguments["text"] = {"format": {"type": "json_object"}}
        return {
            "model": self.config.model,
            "input": self.messages(request),
            "store": False,
            "extra_body": self.config.extra_body or None,
            **self.parameters.apply(arguments),
        }


@lru_cache(maxsize=256)
def schema_carrier(output: OutputSchema) -> type[BaseModel]:
    """A model whose JSON schema is the strict schema of an output type."""

    class Carrier(BaseModel):
        @classmethod
        def model_json_schema(cls, *_: Any, **__: Any) -> dict[str, Any]:
            return output.strict.schema

    Carrier.__name__ = output.name
    return Carrier


def read_response(response: ParsedResponse[Any]) -> Completion[Any]:
    """Read a response of the Responses API.

    Raises:
        ServerError: It failed, or has neither an output nor a reason.
    """
    if response.status in ("failed", "cancelled"):
        reason = response.error.message if response.error else "the server gives no reason"
        raise ServerError(f"the response was {response.status}: {reason}")
    if not response.output and response.incomplete_details is None:
        raise unreadable("response", response.to_dict())
    texts: list[str] = []
    reasoning: list[str] = []
    finish_reason = "stop"
    for item in response.output:
        if item.type == "reasoning":
            reasoning += [part.text for part in item.summary]
        elif item.type == "message" and item.phase != "commentary":
            for part in item.content:
                if part.type == "refusal":
                    texts, finish_reason = [part.refusal], "refusal"
                elif finish_reason != "refusal":
                    texts.append(part.text)
    if response.incomplete_details is not None:
        reasons = {"max_output_tokens": "length"}
        reason = response.incomplete_details.reason or "error"
        finish_reason = reasons.get(reason, reason)
    return Completion(
        text="".join(texts),
        reasoning_content="\n".join(reasoning) or None,
        finish_reason=finish_reason,
    )


def _billing(response: ParsedResponse[Any]) -> dict[str, Any]:
    """The fields of a response that its cost depends on."""
    usage: Any = getattr(response.usage, "to_dict", dict)()  # a server may send another value
    return {"usage": usage, "model": response.model, "service_tier": response.service_tier}

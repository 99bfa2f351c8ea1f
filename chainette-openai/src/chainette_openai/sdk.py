"""The Responses API through OpenAI's SDK, for an engine with `client: sdk`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from chainette.backend import NO_PROXY, Capabilities, HTTPResponse, PerLoop, Request

from chainette_openai.client import ResponsesClient
from chainette_openai.config import OpenAIConfig

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_ARGUMENTS = frozenset(
    ("model", "input", "store", "text", "temperature", "top_p", "max_output_tokens")
)
"""Fields of the body that the SDK has arguments for; others are its `extra_body`."""
_OWN_HEADERS = ("Authorization", "Openai-Organization", "Openai-Project")


class SDKClient(ResponsesClient):
    """A client of the Responses API that sends with OpenAI's SDK."""

    def __init__(self, config: OpenAIConfig, capabilities: Capabilities | None = None) -> None:
        super().__init__(config, capabilities)
        self._sdk = PerLoop(self._make_sdk, lambda sdk: sdk.close())

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await super().aclose()
        await self._sdk.aclose()

    async def exchange(self, request: Request) -> Any:
        """Send a request once, through the SDK."""
        import openai

        url = self.base_url + self.path
        fields = json.loads(self.body(request))
        # What the SDK would send by itself is left out; the engine's headers have it where it fits.
        headers: dict[str, Any] = dict.fromkeys(_OWN_HEADERS, openai.Omit())
        headers |= self.headers()  # a key of a file may be another one by now
        arguments = {name: fields.pop(name) for name in _ARGUMENTS & fields.keys()}
        create = self._sdk.get().responses.with_raw_response.create
        try:
            raw = await create(**arguments, extra_headers=headers, extra_body=fields or None)
            answer: Any = raw.http_response
        except openai.APIStatusError as error:
            answer = error.response
        except openai.APIConnectionError as error:
            raise self.connection_error(error.__cause__ or error, url) from None
        return self.receive(HTTPResponse(answer.status_code, answer.headers, answer.content), url)

    def _make_sdk(self) -> AsyncOpenAI:
        """A client of the SDK, without retries, which the core does."""
        import openai

        config = self.config
        return openai.AsyncOpenAI(
            api_key=self.api_key or "none",
            base_url=self.base_url,
            timeout=openai.Timeout(config.timeout, connect=config.connect_timeout),
            max_retries=0,
            default_query=dict(parse_qsl(self.query[1:])),
            http_client=openai.DefaultAsyncHttpxClient(
                follow_redirects=False,
                mounts=NO_PROXY,
                event_hooks={"response": [self.limit_response]},
            ),
        )

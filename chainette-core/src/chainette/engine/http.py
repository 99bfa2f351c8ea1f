"""What every engine behind HTTP shares."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from chainette.engine.client import BaseClient
from chainette.engine.config import EngineConfig, public_url
from chainette.engine.per_loop import PerLoop
from chainette.engine.transport import HTTPResponse, HttpxTransport, Transport
from chainette.errors import (
    AuthenticationError,
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    MissingAPIKeyError,
    NotFoundError,
    RateLimitError,
    RequestError,
    ServerError,
)
from chainette.plugins.backend import Capabilities

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)


class BaseHTTPClient(BaseClient):
    """A client of an engine behind HTTP: connections, keys, timeouts and errors.

    Args:
        config: The engine's configuration.
        capabilities: What the backend can do.
        http: An `httpx.AsyncClient` to send with, for proxies or authentication of one's own.

    Attributes:
        base_url: Where the paths of requests start.
        model: Name of the model to ask for.
    """

    default_endpoint: str = ""
    """Base URL for configurations that name none."""
    api_key_envs: tuple[str, ...] = ()
    """Environment variables that hold the API key when none is configured."""
    needs_api_key: bool = False
    """Whether a request without a key is sure to fail."""

    def __init__(
        self,
        config: EngineConfig,
        capabilities: Capabilities | None = None,
        *,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(config, capabilities)
        self.base_url = config.endpoint or self.default_endpoint
        self.model = config.model
        self._key = self._find_key()
        if self._key:
            self._secrets.append(self._key)
        if password := urlsplit(self.base_url).password:
            self._secrets += [password, unquote(password)]
        self._http = http
        self._transport = PerLoop(
            f"transport of {config.name}", self._make_transport, lambda it: it.aclose()
        )

    def _find_key(self) -> str | None:
        secret = self.config.secret_key(*self.api_key_envs)
        if secret is None and self.needs_api_key:
            variables = " or ".join(self.api_key_envs)
            raise MissingAPIKeyError(
                f"engine {self.config.name!r}: no API key: set the environment variable "
                f"{variables}, or api_key_env in the engine's configuration"
            )
        return secret.get_secret_value() if secret else None

    def _headers(self) -> dict[str, str]:
        """Headers of every request."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        own = {name: value.get_secret_value() for name, value in self.config.headers.items()}
        return headers | own

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._transport.aclose()

    def _make_transport(self) -> Transport:
        return HttpxTransport(
            timeout=self.config.timeout,
            connect_timeout=self.config.connect_timeout,
            connections=self.config.max_concurrency,
            client=self._http,
        )

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON and return the JSON of the answer.

        Args:
            method: `GET` or `POST`.
            path: Path below the base URL.
            body: JSON value to send.

        Raises:
            EngineError: There was no answer, or it was not a success.
        """
        url = self.base_url + path
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        try:
            response = await self._transport.get().send(method, url, self._headers(), content)
        except (EngineConnectionError, EngineTimeoutError) as error:
            hint = "; is the server running, and is the endpoint right?" if error.unusable else ""
            error.args = (f"{public_url(url)}: {error}{hint}",)
            raise
        logger.debug("%s %s: %d", method, public_url(url), response.status)
        if response.status != 200:
            raise status_error(response, public_url(url))
        try:
            return json.loads(response.body)
        except (ValueError, RecursionError):
            raise ServerError(
                f"{public_url(url)} answered 200 with something that is no JSON: "
                f"{_excerpt(response.body)}"
            ) from None


def status_error(response: HTTPResponse, url: str) -> EngineError:
    """The exception for an answer that is no success."""
    status, said = response.status, _server_message(response.body)
    if 300 <= status < 400:
        return RequestError(f"{url} redirects ({status}), which is refused", status=status)
    message = f"{url} answered {status}: {said}"
    if status in (401, 403):
        hint = "check the engine's API key (api_key_env)"
        return AuthenticationError(f"{message}; {hint}", status=status)
    if status == 404:
        hint = "check the engine's model and endpoint (most endpoints end in /v1)"
        return NotFoundError(f"{message}; {hint}", status=status)
    if status == 429:
        return RateLimitError(message, status=status)
    if status >= 500 or status == 408:
        return ServerError(message, status=status)
    return RequestError(message, status=status)


def _server_message(body: bytes) -> str:
    """The server's own words, from the shapes of error bodies that servers use."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return _excerpt(body)
    for key in ("error", "message", "detail"):
        if isinstance(answer, dict) and key in answer:
            answer = answer[key]
    return answer if isinstance(answer, str) else _excerpt(json.dumps(answer).encode())


def _excerpt(body: bytes, most: int = 300) -> str:
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", body[:20_000].decode(errors="replace"))
    text = " ".join(text.split())
    return text[:most] + "…" if len(text) > most else text or "(an empty body)"

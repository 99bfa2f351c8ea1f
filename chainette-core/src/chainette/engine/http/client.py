"""What every engine behind HTTP shares."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from chainette.capabilities import Capabilities
from chainette.engine.client.base import BaseClient
from chainette.engine.client.per_loop import PerLoop
from chainette.engine.client.retry import retry_after
from chainette.engine.config import EngineConfig, public_url
from chainette.engine.http.transport import LOOPBACK, HttpxTransport, Transport
from chainette.errors import (
    AuthenticationError,
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    MissingAPIKeyError,
    NotFoundError,
    QuotaError,
    RateLimitError,
    RequestError,
    ServerError,
)
from chainette.json_bytes import decode, encode
from chainette.text import printable

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
        self.base_url, self._login = _without_login(config.endpoint or self.default_endpoint)
        self._key = self._find_key()
        login = self._login or ""
        self._secrets.keep(self._key or "", login, login.partition(":")[2], _basic(login))
        self._http = http
        self._transport = PerLoop(self._make_transport, lambda it: it.aclose())

    def _find_key(self) -> str | None:
        secret = self.config.secret_key(*self.api_key_envs)
        if secret is None and self.needs_api_key:
            variables = " or ".join(self.api_key_envs)
            raise MissingAPIKeyError(
                f"engine {self.config.name!r}: no API key: set the environment variable "
                f"{variables}, or api_key_env in the engine's configuration"
            )
        if (secret or self._login) and self._is_open():
            logger.warning(
                "engine %r: its key is sent unencrypted to %s; use https",
                self.config.name,
                urlsplit(self.base_url).hostname,
            )
        return secret.get_secret_value() if secret else None

    def _is_open(self) -> bool:
        """Whether anybody on the way to the server can read what is sent."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "http" and parts.hostname not in LOOPBACK

    @cached_property
    def _sent_headers(self) -> dict[str, str]:
        return self._headers()

    def _headers(self) -> dict[str, str]:
        """Headers of every request; asked for once."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._login:
            headers["Authorization"] = f"Basic {_basic(self._login)}"
        elif self._key:
            headers |= self._key_headers(self._key)
        # Names of headers ignore case; two of one name would both be sent.
        own = self.config.headers.items()
        return headers | {name.title(): value.get_secret_value().strip() for name, value in own}

    def _key_headers(self, key: str) -> dict[str, str]:
        """Headers that carry the API key; servers that want another one than this override it."""
        return {"Authorization": f"Bearer {key}"}

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._transport.aclose()

    def _make_transport(self) -> Transport:
        config = self.config
        if self._http is None:
            from chainette.engine.http.aiohttp import AiohttpTransport

            return AiohttpTransport(timeout=config.timeout, connect_timeout=config.connect_timeout)
        return HttpxTransport(
            self._http, timeout=config.timeout, connect_timeout=config.connect_timeout
        )

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        """Send JSON and return the JSON of the answer.

        Args:
            method: `GET` or `POST`.
            path: Path below the base URL.
            body: JSON value to send, or its bytes.

        Raises:
            EngineError: There was no answer, or it was not a success.
        """
        url = self.base_url + path
        content = body if body is None or isinstance(body, bytes) else encode(body)
        try:
            response = await self._transport.get().send(method, url, self._sent_headers, content)
        except (EngineConnectionError, EngineTimeoutError) as error:
            hint = "; is the server running, and is the endpoint right?" if error.unusable else ""
            error.args = (f"{public_url(url)}: {error}{hint}",)
            raise
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s: %d", method, public_url(url), response.status)
        if response.status != 200:
            raise self._status_error(
                response.status, response.body, public_url(url), response.headers
            )
        self._obey(response.headers)
        try:
            return decode(response.body)
        except ValueError:
            raise self._no_json(response.body, public_url(url)) from None

    def _no_json(self, body: bytes, url: str) -> ServerError:
        """The exception for an answer that cannot be read."""
        said = _excerpt(self.scrub(body.decode(errors="replace")))
        error = ServerError(f"{url} answered 200 with something that is no JSON: {said}")
        cut = body.lstrip()[:1] in (b"{", b"[")
        # A server that never said anything else is no such API.
        error.transient = cut or self.limits.answered_at is not None
        return error

    def _obey(self, headers: Mapping[str, str]) -> None:
        """Pause when the server says that its limit is reached."""
        if "0" in (headers.get(f"x-ratelimit-remaining-{kind}") for kind in ("requests", "tokens")):
            self.limits.pause(retry_after(headers) or 0.0)

    def _status_error(
        self, status: int, body: bytes, url: str, headers: Mapping[str, str]
    ) -> EngineError:
        """The exception for an answer that is no success."""
        error = self._status_class(status, body, url)
        if error.transient:
            error.retry_after = retry_after(headers)
        return error

    def _status_class(self, status: int, body: bytes, url: str) -> EngineError:
        if 300 <= status < 400:
            return RequestError(f"{url} redirects ({status}), which is refused", status=status)
        # Scrubbed before it is shortened: half a secret would not be found.
        said = _server_message(self.scrub(body.decode(errors="replace")))
        message = f"{url} answered {status}: {said}"
        if status in (401, 403):
            hint = "check the engine's API key (api_key_env)"
            return AuthenticationError(f"{message}; {hint}", status=status)
        if status == 404:
            hint = "check the engine's model and endpoint (most endpoints end in /v1)"
            return NotFoundError(f"{message}; {hint}", status=status)
        if status == 402 or (status == 429 and "insufficient_quota" in _codes(body)):
            return QuotaError(f"{message}; look at the plan and billing", status=status)
        if status == 429:
            return RateLimitError(message, status=status)
        if status >= 500 or status == 408:
            return ServerError(message, status=status)
        error = RequestError(message, status=status)
        error.transient = status in (409, 425)
        return error


def _without_login(url: str) -> tuple[str, str | None]:
    """A URL without `user:password@`, which HTTP libraries log, and what stood there."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), unquote(login) or None


def _basic(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


def _server_message(body: str) -> str:
    """The server's own words, from the shapes of error bodies that servers use."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return _excerpt(body)
    for key in ("error", "message", "detail"):
        if isinstance(answer, dict) and key in answer:
            answer = answer[key]
    return _shortened(answer if isinstance(answer, str) else json.dumps(answer), most=1000)


def _codes(body: bytes) -> tuple[Any, ...]:
    """The `code` and the `type` of an error, as OpenAI's API gives them."""
    try:
        error = json.loads(body)["error"]
        return error.get("code"), error.get("type")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return ()


def _excerpt(body: str) -> str:
    return _shortened(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", body[:20_000]))


def _shortened(text: str, most: int = 300) -> str:
    text = printable(text)
    return text[:most] + "…" if len(text) > most else text or "(an empty body)"

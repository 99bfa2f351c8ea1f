"""Base class of clients that speak HTTP."""

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
from chainette.engine.client.base import BaseClient, ConfigT
from chainette.engine.client.per_loop import PerLoop
from chainette.engine.client.retry import retry_after
from chainette.engine.config import public_url
from chainette.engine.http.transport import LOOPBACK, HttpxTransport, Transport, connection_error
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

_logger = logging.getLogger(__name__)


class BaseHTTPClient(BaseClient[ConfigT]):
    """A client of an engine behind HTTP: connections, keys, timeouts and errors.

    Args:
        config: The engine's configuration.
        capabilities: What the backend can do.
        http: An `httpx.AsyncClient` to send with, for a proxy or authentication that it knows.

    Attributes:
        api_key: The API key without white space around it, or `None`.
        http: The `httpx.AsyncClient` that was passed, or `None`.

    Raises:
        MissingAPIKeyError: `needs_api_key` is set and there is no key.
    """

    default_endpoint: str = ""
    """Base URL of the server, where the configuration has no `endpoint`."""
    api_key_envs: tuple[str, ...] = ()
    """Environment variables of the API key, where the configuration has none."""
    needs_api_key: bool = False
    """Whether the server refuses every request without a key."""

    def __init__(
        self,
        config: ConfigT,
        capabilities: Capabilities | None = None,
        *,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(config, capabilities)
        address, self._login = _without_login(config.endpoint or self.default_endpoint)
        self.base_url: str = address
        self.api_key: str | None = self._find_key()
        login = self._login or ""
        self.secrets.keep(self.api_key or "", login, login.partition(":")[2], _basic(login))
        self.http = http
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
            _logger.warning(
                "engine %r: its key is sent unencrypted to %s; use https",
                self.config.name,
                urlsplit(self.base_url).hostname,
            )
        return secret.get_secret_value() if secret else None

    def _is_open(self) -> bool:
        """Whether requests leave this machine unencrypted."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "http" and parts.hostname not in LOOPBACK

    @cached_property
    def _sent_headers(self) -> dict[str, str]:
        return self.headers()

    def headers(self) -> dict[str, str]:
        """Headers of every request; a backend may extend them.

        Called once for each client. The headers are the content types, the API key or else the
        endpoint's login, and those of the configuration, which replace others of their names.

        Returns:
            The headers by their names in title case; they hold secrets and must not be logged.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._login:
            headers["Authorization"] = f"Basic {_basic(self._login)}"
        elif self.api_key:
            headers |= self.key_headers(self.api_key)
        # Names of headers ignore case; two of one name would both be sent.
        own = self.config.headers.items()
        return headers | {name.title(): value.get_secret_value().strip() for name, value in own}

    def key_headers(self, key: str) -> dict[str, str]:
        """Headers that carry the API key; a backend may override it.

        A bearer token by default (RFC 6750, section 2.1), as OpenAI's API takes it.

        Args:
            key: The API key.
        """
        return {"Authorization": f"Bearer {key}"}

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._transport.aclose()

    def _make_transport(self) -> Transport:
        config = self.config
        if self.http is None:
            from chainette.engine.http.aiohttp import AiohttpTransport

            return AiohttpTransport(timeout=config.timeout, connect_timeout=config.connect_timeout)
        return HttpxTransport(
            self.http, timeout=config.timeout, connect_timeout=config.connect_timeout
        )

    async def send(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request with JSON and return the JSON of the answer.

        The headers, connections and timeouts are the engine's; redirects are refused, since they
        would take prompts and keys to another server.

        Args:
            method: `GET` or `POST`.
            path: Path below `base_url`, with a slash in front.
            body: JSON value to send, or its bytes; `None` sends no body.

        Raises:
            EngineConnectionError: The connection failed.
            EngineTimeoutError: The server did not answer in time.
            ServerError: The answer is not JSON.
            EngineError: The status is not 200; see `status_error`.
        """
        url = self.base_url + path
        content = body if body is None or isinstance(body, bytes) else encode(body)
        try:
            response = await self._transport.get().send(method, url, self._sent_headers, content)
        except (EngineConnectionError, EngineTimeoutError) as error:
            raise _with_url(error, url) from None
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s %s: %d", method, public_url(url), response.status)
        if response.status != 200:
            raise self.status_error(
                response.status, response.body, public_url(url), response.headers
            )
        self._obey(response.headers)
        try:
            return decode(response.body)
        except ValueError:
            raise self._not_json(response.body, public_url(url)) from None

    def connection_error(self, error: BaseException, url: str) -> EngineError:
        """The exception for a request that an SDK could not send.

        Args:
            error: The exception of the HTTP library below the SDK: httpx, httpx2 or aiohttp.
            url: The request's URL, for the message.

        Returns:
            `EngineUnreachableError`, `EngineTimeoutError` or `EngineConnectionError`.
        """
        limits = {"timeout": self.config.timeout, "connect_timeout": self.config.connect_timeout}
        return _with_url(connection_error(error, **limits), url)

    def _not_json(self, body: bytes, url: str) -> ServerError:
        """The exception for a body that is not JSON."""
        excerpt = _excerpt(self.scrub(body.decode(errors="replace")))
        error = ServerError(f"{url} answered 200 with a body that is not JSON: {excerpt}")
        is_cut = body.lstrip()[:1] in (b"{", b"[")
        # A server that has never sent anything else does not have this API.
        error.transient = is_cut or self.limits.answered_at is not None
        return error

    def _obey(self, headers: Mapping[str, str]) -> None:
        """Pause when the server's limit is reached (OpenAI docs, "Rate limits", headers)."""
        if "0" in (headers.get(f"x-ratelimit-remaining-{kind}") for kind in ("requests", "tokens")):
            self.limits.pause(retry_after(headers) or 0.0)

    def status_error(
        self, status: int, body: bytes, url: str, headers: Mapping[str, str]
    ) -> EngineError:
        """The exception for a status other than 200; a backend may override it.

        Args:
            status: The HTTP status.
            body: The answer's body.
            url: The request's URL, without user, password and query.
            headers: The answer's headers, for `Retry-After` and the like; names in lower case.

        Returns:
            `AuthenticationError` for 401 and 403, `NotFoundError` for 404, `QuotaError` for 402
            and for 429 with the code `insufficient_quota` (OpenAI docs, "Error codes"),
            `RateLimitError` for 429, `ServerError` for 408 and 5xx, else `RequestError`; its
            `transient` decides whether the request is sent again, after `retry_after` seconds.
        """
        error = self._status_class(status, body, url)
        if error.transient:
            error.retry_after = retry_after(headers)
        return error

    def _status_class(self, status: int, body: bytes, url: str) -> EngineError:
        if 300 <= status < 400:
            return RequestError(f"{url} redirects ({status}), which is refused", status=status)
        # Scrubbed before it is shortened: half a secret would not be found.
        reason = _server_message(self.scrub(body.decode(errors="replace")))
        message = f"{url} answered {status}: {reason}"
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


def _with_url(error: EngineError, url: str) -> EngineError:
    hint = "; is the server running, and is the endpoint right?" if error.unusable else ""
    error.args = (f"{public_url(url)}: {error}{hint}",)
    return error


def _without_login(url: str) -> tuple[str, str | None]:
    """A URL without `user:password@`, which HTTP libraries log, and the login itself."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=host)), unquote(login) or None


def _basic(login: str) -> str:
    return base64.b64encode(login.encode()).decode()


def _server_message(body: str) -> str:
    """The server's message, from the forms of error bodies that servers use."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return _excerpt(body)
    for key in ("error", "message", "detail"):
        if isinstance(answer, dict) and key in answer:
            answer = answer[key]
    return _shortened(answer if isinstance(answer, str) else json.dumps(answer), limit=1000)


def _codes(body: bytes) -> tuple[Any, ...]:
    """The `code` and the `type` of an error, as OpenAI's API gives them."""
    try:
        error = json.loads(body)["error"]
        return error.get("code"), error.get("type")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return ()


def _excerpt(body: str) -> str:
    return _shortened(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", body[:20_000]))


def _shortened(text: str, limit: int = 300) -> str:
    text = printable(text)
    return text[:limit] + "…" if len(text) > limit else text or "(an empty body)"

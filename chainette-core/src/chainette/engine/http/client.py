"""Base class of clients that speak HTTP."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from typing_extensions import TypedDict

from chainette.capabilities import Capabilities
from chainette.engine.client.base import BaseClient, ConfigT
from chainette.engine.client.per_loop import PerLoop
from chainette.engine.client.retry import retry_after
from chainette.engine.config import public_url
from chainette.engine.endpoint import basic_login, without_login
from chainette.engine.http.bodies import DECODED, limit_body
from chainette.engine.http.event_stream import is_event_stream, read_stream
from chainette.engine.http.refusals import read_refusal, refusal_error, reported_error
from chainette.engine.http.transport import (
    LOOPBACK,
    HTTPResponse,
    HttpxTransport,
    Transport,
    connection_error,
)
from chainette.engine.limits.concurrency import FIRST
from chainette.engine.pricing.reported import gateway_cost, header_cost
from chainette.errors import (
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    MissingAPIKeyError,
    RequestError,
    ServerError,
)
from chainette.json_bytes import decode, encode, without_lone_surrogates
from chainette.text import excerpt, names_keywords

if TYPE_CHECKING:
    import httpx

_logger = logging.getLogger(__name__)
_CHARSET = re.compile(r"charset=[\"']?([\w.-]+)", re.IGNORECASE)


class _TransportLimits(TypedDict):
    timeout: float
    connect_timeout: float
    max_bytes: int


@names_keywords
class BaseHTTPClient(BaseClient[ConfigT]):
    """A client of an engine behind HTTP: connections, keys, timeouts and errors.

    Args:
        config: The engine's configuration.
        capabilities: What the backend can do.
        http: An `httpx.AsyncClient` to send with, for a proxy or authentication that it knows.

    Attributes:
        api_key: The API key without white space around it, or `None`.
        http: The `httpx.AsyncClient` that was passed, or `None`.
        query: The query of the endpoint, such as `?api-version=1`, which every request has.

    Raises:
        MissingAPIKeyError: `needs_api_key` is set and there is no key.
    """

    default_endpoint: str = ""
    """Base URL of the server, where the configuration has no `endpoint`."""
    api_key_envs: tuple[str, ...] = ()
    """Environment variables of the API key, where the configuration has none."""
    needs_api_key: bool = False
    """Whether the server refuses every request without a key."""
    start_hint: str = "is the server running, and is the endpoint right?"
    """The advice where no connection can be made."""
    pasted_paths: tuple[str, ...] = ()
    """Ends of an endpoint that people paste with it and that requests bring themselves."""

    def __init__(
        self,
        config: ConfigT,
        capabilities: Capabilities | None = None,
        *,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(config, capabilities)
        if "max_concurrency" not in config.model_fields_set:
            self.limits.slots.begin_with(FIRST)
        address, self._login = without_login(config.endpoint or self.default_endpoint)
        endpoint = split_endpoint(address, self.pasted_paths)
        self.base_url: str = endpoint[0]
        self.query: str = endpoint[1]
        self.api_key: str | None = self._find_key()
        login = self._login or ""
        self.secrets.keep(self.api_key or "", login, login.partition(":")[2], basic_login(login))
        self.http = http
        self._transport = PerLoop(self._make_transport, lambda it: it.aclose())

    def _find_key(self) -> str | None:
        secret = self.config.secret_key(*self.api_key_envs)
        if secret is None and self.needs_api_key:
            variables = " or ".join(self.api_key_envs)
            raise MissingAPIKeyError(
                f"engine {self.config.name!r}: no API key: set the environment variable "
                f"{variables}, or api_key_env or api_key_file in the engine's configuration"
            )
        if (secret or self._login) and self._is_open():
            _logger.warning(
                "engine %r: its key is sent unencrypted to %s; use https",
                self.config.name,
                urlsplit(self.base_url).hostname,
            )
        return secret.get_secret_value() if secret else None

    def _renew_key(self) -> None:
        """Read the key's file again: what is mounted there may have been replaced meanwhile."""
        with contextlib.suppress(MissingAPIKeyError):
            key = self.config.secret_key()
            if key is not None and key.get_secret_value() != self.api_key:
                self.api_key = key.get_secret_value()
                self.secrets.keep(self.api_key)
                self.__dict__.pop("_sent_headers", None)

    def _is_open(self) -> bool:
        """Whether requests leave this machine unencrypted."""
        parts = urlsplit(self.base_url)
        return parts.scheme == "http" and parts.hostname not in LOOPBACK

    @cached_property
    def _sent_headers(self) -> dict[str, str]:
        return self.headers()

    def headers(self) -> dict[str, str]:
        """Headers of every request; a backend may extend them.

        Called for each client, and again with a new key. They are the content types, the API key or
        else the endpoint's login, and those of the configuration, which replace others of a name.

        Returns:
            The headers by their names in title case; they hold secrets and must not be logged.
        """
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._login:
            headers["Authorization"] = f"Basic {basic_login(self._login)}"
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
        limits: _TransportLimits = {
            "timeout": config.timeout,
            "connect_timeout": config.connect_timeout,
            "max_bytes": config.max_response_bytes,
        }
        if self.http is None:
            from chainette.engine.http.aiohttp import AiohttpTransport

            return AiohttpTransport(**limits)
        return HttpxTransport(self.http, **limits)

    async def send(
        self, method: str, path: str, body: Any = None, *, timeout: float | None = None
    ) -> Any:
        """Send a request with JSON and return the JSON of the answer.

        The headers, connections and timeouts are the engine's; redirects are refused, since they
        would take prompts and keys to another server.

        Args:
            method: `GET` or `POST`.
            path: Path below `base_url`, with a slash in front.
            body: JSON value to send, or its bytes; `None` sends no body.
            timeout: Maximum seconds of silence from the server; the engine's by default.

        Raises:
            EngineConnectionError: The connection failed.
            EngineTimeoutError: The server did not answer in time.
            ServerError: The answer is not JSON, or too long.
            EngineError: The status is not one of a success; see `status_error`.
        """
        url = self.base_url + path + self.query
        content = body if body is None or isinstance(body, bytes) else encode(body)
        own: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        try:
            response = await self._transport.get().send(
                method, url, self._sent_headers, content, **own
            )
        except (EngineConnectionError, EngineTimeoutError, ServerError) as error:
            raise _with_url(error, url, self.start_hint) from None
        if _logger.isEnabledFor(logging.DEBUG):
            _logger.debug("%s %s: %d", method, public_url(url), response.status)
        return self.receive(response, url)

    def receive(self, response: HTTPResponse, url: str) -> Any:
        """The JSON of a response; `send` calls it, and a backend that sends by other means.

        Args:
            response: The response. It is read in the task of the request; see `heed`.
            url: The request's URL.

        Raises:
            ServerError: The answer is not JSON.
            EngineError: The status is not one of a success; see `status_error`.
        """
        if not 200 <= response.status < 300:
            if response.status in (401, 403) and self.config.api_key_file:
                self._renew_key()
            raise self.status_error(
                response.status, response.body, public_url(url), response.headers
            )
        self.heed(response.headers)
        try:
            return decode(response.body)
        except ValueError:
            return self._mended(response, public_url(url))

    def connection_error(self, error: BaseException, url: str) -> EngineError:
        """The exception for a request that an SDK could not send.

        Args:
            error: The exception of the HTTP library below the SDK: httpx, httpx2 or aiohttp.
            url: The request's URL, for the message.

        Returns:
            `EngineUnreachableError`, `EngineTimeoutError` or `EngineConnectionError`; `ServerError`
            for a body that cannot be decoded.
        """
        if isinstance(error, EngineError):  # of `limit_response`
            return _with_url(error, url, self.start_hint)
        limits = {"timeout": self.config.timeout, "connect_timeout": self.config.connect_timeout}
        return _with_url(connection_error(error, **limits), url, self.start_hint)

    async def limit_response(self, response: Any) -> None:
        """Apply `max_response_bytes` to what an SDK receives.

        For an SDK on httpx or httpx2, whose client it is given to as an event hook:
        `event_hooks={"response": [self.limit_response]}`. An answer that is too long raises
        `ServerError`, which `connection_error` understands if the SDK wraps it.

        Args:
            response: The response, whose body is not read yet.

        Raises:
            ServerError: Its headers alone are too long.
        """
        limit_body(response, self.config.max_response_bytes)

    def _mended(self, response: HTTPResponse, url: str) -> Any:
        """The JSON of a body that is not quite JSON.

        It has half a surrogate pair, bad UTF-8 or another encoding, or is a stream.
        """
        text = _decoded(response)
        try:
            return read_stream(text) or decode(without_lone_surrogates(text))
        except ValueError:
            raise self._not_json(response, url) from None

    def _not_json(self, response: HTTPResponse, url: str) -> ServerError:
        """The exception for a body that is not JSON."""
        body = response.body
        encoding = response.headers.get("content-encoding", "identity").lower()
        shown = excerpt(self.scrub(body.decode(errors="replace")))
        if encoding not in DECODED:
            shown = f"it has the Content-Encoding {encoding}, for which nothing asked"
        message = f"{url} answered {response.status} with a body that is not JSON: {shown}"
        start = body.lstrip()[:1]
        is_cut = start in (b"", b"{", b"[") or is_event_stream(body[:100].decode(errors="replace"))
        # A server that has never sent anything else does not have this API.
        has_api = self.limits.answered_at is not None
        if encoding in DECODED and not (is_cut or has_api):
            what = "it is a web page; " if start == b"<" else ""
            message += f"; {what}is the endpoint right (most end in /v1), or does a proxy ask "
            message += "for a login? `chainette engines check` tries other paths"
        error = ServerError(message)
        error.transient = is_cut or (has_api and encoding in DECODED)
        return error

    def error_in(self, answer: Any) -> EngineError | None:
        """The exception for a success whose body is an error, as gateways send it.

        Args:
            answer: The body, decoded.

        Returns:
            The exception that the error's own code has as a status, or `None` if it is not one.
        """
        status = reported_error(answer)
        if status is None:
            return None
        url = public_url(self.base_url)
        error = self.status_error(status, encode(answer), url, {})
        text = str(error)
        error.args = (text.replace(f"answered {status}", f"answered 200 with error {status}", 1),)
        return error

    def heed(self, headers: Mapping[str, str]) -> None:
        """Take what the headers of a good answer say: its cost, and that a limit is reached.

        The limits are those of OpenAI's docs, "Rate limits"; the cost is LiteLLM's. `receive`
        calls it, in the task of the request.

        Args:
            headers: The headers by their names in lower case.
        """
        if (cost := header_cost(headers)) is not None:
            gateway_cost.set(cost)
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
            `QuotaError` for 402 and where the body says that nothing is left to spend,
            `RefusalError` where a content filter refuses the prompt, `StructuredOutputError` where
            the server found the model's JSON wrong; else `AuthenticationError` for 401 and 403,
            `NotFoundError` for 404, `RateLimitError` for 429, `ServerError` for 408 and 5xx, else
            `RequestError`. Its `transient` decides whether the request is sent again, after
            `retry_after` seconds; `x-should-retry` is obeyed.
        """
        if 300 <= status < 400:
            target = public_url(urljoin(url, headers.get("location", "")))
            to = "" if target == url else f" to {target}"
            hint = "; if that is the right address, write it into the endpoint" if to else ""
            message = f"{url} redirects ({status}){to}, which is refused{hint}"
            return RequestError(self.scrub(message), status=status)
        # Scrubbed before it is shortened: half a secret would not be found.
        refusal = read_refusal(self.scrub(body.decode(errors="replace")))
        said = f"{url} answered {status}: {refusal.message}"
        error = refusal_error(status, refusal, said, headers)
        if isinstance(error, RequestError):
            error.param = refusal.param
        return error


def _with_url(error: EngineError, url: str, start_hint: str) -> EngineError:
    hint = f"; {start_hint}" if error.unusable else ""
    error.args = (f"{public_url(url)}: {error}{hint}",)
    return error


def split_endpoint(endpoint: str, pasted_paths: tuple[str, ...] = ()) -> tuple[str, str]:
    """Split an endpoint into the base of all paths and the query that follows them.

    Args:
        endpoint: The endpoint, as people write it.
        pasted_paths: Ends of its path to leave out, the longest first.
    """
    parts = urlsplit(endpoint)
    path = parts.path.rstrip("/")
    pasted = next(filter(path.lower().endswith, pasted_paths), "")
    path = path[: len(path) - len(pasted)].rstrip("/")
    query = f"?{parts.query}" if parts.query else ""
    return urlunsplit(parts._replace(path=path, query="", fragment="")), query


def _decoded(response: HTTPResponse) -> str:
    """The text of a body, in UTF-8 as JSON has to be (RFC 8259, 8.1), or in its own encoding."""
    declared = _CHARSET.search(response.headers.get("content-type", ""))
    with contextlib.suppress(UnicodeDecodeError):
        return response.body.decode("utf-8-sig")
    if declared:
        with contextlib.suppress(UnicodeDecodeError, LookupError):
            return response.body.decode(declared[1])
    return response.body.decode("utf-8-sig", errors="replace")

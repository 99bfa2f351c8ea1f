"""The transport: how HTTP requests are sent."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chainette.engine.http.bodies import ASKED_FOR, headers_too_long, not_decoded, read_body
from chainette.errors import (
    EngineConnectionError,
    EngineTimeoutError,
    EngineUnreachableError,
    ServerError,
)

if TYPE_CHECKING:
    import httpx

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine in URLs."""
NO_PROXY = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
"""A value for httpx's `mounts`: the environment's proxies are not meant for this machine."""

_CONNECT_TIMEOUTS = frozenset({"ConnectTimeout", "ConnectionTimeoutError"})
_TIMEOUTS = frozenset({"TimeoutException", "ServerTimeoutError", "TimeoutError"})
_REFUSALS = frozenset({"ConnectError", "ClientConnectorError", "ConnectionRefusedError"})
_ENCODINGS = frozenset({"ContentEncodingError", "DecodingError"})
_LONG_HEADERS = re.compile("Receive buffer too long|Too many headers|Got more than [0-9]+ bytes")
"""Words of h11 and aiohttp about headers, or lines between parts of a body, without end."""
_SSL_OBJECT = re.compile(r" ssl:(<[^>]*>|\w+)")
"""A part of aiohttp's messages, the name of an object."""


def connection_error(
    error: BaseException, *, timeout: float, connect_timeout: float
) -> EngineConnectionError | EngineTimeoutError | ServerError:
    """The exception for a request that was not answered, whatever library sent it.

    aiohttp, httpx and httpx2 have classes of different names for the same failures; the names are
    compared, so that no library has to be imported.

    Args:
        error: The library's exception.
        timeout: Seconds that the server had to answer.
        connect_timeout: Seconds that the connection had to be made in.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    message = _SSL_OBJECT.sub("", str(error)) or type(error).__name__
    if names & _CONNECT_TIMEOUTS:
        return EngineUnreachableError(f"no connection within {connect_timeout:g} s")
    if names & _TIMEOUTS:
        return EngineTimeoutError(f"no answer for {timeout:g} s")
    if names & _REFUSALS:
        return EngineUnreachableError(f"cannot connect: {_without_https(error) or message}")
    causes = {cls.__name__ for cls in type(error.__cause__).__mro__}
    if (names | causes) & _ENCODINGS or "decode content-encoding" in message:
        return not_decoded(message)
    if _LONG_HEADERS.search(message):
        return headers_too_long(message)
    return EngineConnectionError(f"the connection failed: {message}")


def _without_https(error: BaseException) -> str:
    """The message about a server that does not answer the handshake of https, or nothing."""
    cause = getattr(error, "os_error", None)
    if "WRONG_VERSION_NUMBER" in f"{error}{cause}":
        return "the server does not speak https there; write http:// in the endpoint"
    if isinstance(cause, ConnectionResetError):
        return "the server broke off the handshake of https; perhaps it speaks http:// only"
    return ""


@dataclass(frozen=True, slots=True)
class HTTPResponse:
    """A whole HTTP response.

    Attributes:
        status: The status code.
        headers: The headers; their names are found in lower case.
        body: The body, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request and returns the whole response."""

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        timeout: float | None = None,
        on_part: Callable[[bytes], None] | None = None,
    ) -> HTTPResponse:
        """Send a request.

        Args:
            method: The HTTP method.
            url: The URL.
            headers: The headers.
            body: The body, or `None`.
            timeout: Maximum seconds of silence, where they are not those of the engine.
            on_part: Takes the parts of a success as they come, in place of a whole body, of which
                there may be any number of bytes. What it raises ends the request.

        Raises:
            EngineUnreachableError: No connection could be made.
            EngineConnectionError: The connection broke.
            EngineTimeoutError: The server was silent for too long.
            ServerError: The answer is too long, or cannot be decoded.
        """

    async def aclose(self) -> None:
        """Close every connection."""


class HttpxTransport:
    """A transport that sends with the user's `httpx.AsyncClient`.

    Args:
        client: The client, used as it is; its owner closes it.
        timeout: Maximum seconds of silence from the server, for messages.
        connect_timeout: Maximum seconds to connect, for messages.
        max_bytes: Maximum bytes of an answer, decompressed.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        timeout: float,
        connect_timeout: float,
        max_bytes: int = sys.maxsize,
    ) -> None:
        import httpx

        self._httpx = httpx
        self._client = client
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._max_bytes = max_bytes

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        timeout: float | None = None,
        on_part: Callable[[bytes], None] | None = None,
    ) -> HTTPResponse:
        """Send a request; see `Transport.send`."""
        httpx = self._httpx
        headers = {"Accept-Encoding": ASKED_FOR, **headers}
        own = {} if timeout is None else {"timeout": httpx.Timeout(timeout)}
        try:
            async with self._client.stream(
                method, url, headers=headers, content=body, **own
            ) as response:
                whole = await read_body(response, self._max_bytes, on_part)
                return HTTPResponse(response.status_code, response.headers, whole)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise connection_error(
                error,
                timeout=timeout or self._timeout,
                connect_timeout=self._connect_timeout,
            ) from None

    async def aclose(self) -> None:
        """Close nothing: the client belongs to the caller."""

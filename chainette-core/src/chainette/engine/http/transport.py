"""The one seam through which HTTP requests leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chainette.errors import (
    EngineConnectionError,
    EngineTimeoutError,
    EngineUnreachableError,
)

if TYPE_CHECKING:
    import httpx

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine in URLs."""
NO_PROXY = dict.fromkeys(("all://127.0.0.1", "all://localhost", "all://[::1]"))
"""What httpx takes as `mounts`: a proxy of the environment is not meant for this machine."""


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
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> HTTPResponse:
        """Send a request.

        Raises:
            EngineUnreachableError: No connection could be made.
            EngineConnectionError: The connection broke.
            EngineTimeoutError: The server was silent for too long.
        """

    async def aclose(self) -> None:
        """Close every connection."""


class HttpxTransport:
    """The transport on an `httpx.AsyncClient` of the user's own.

    Args:
        client: The client, used as it is; closing it stays with its owner.
        timeout: Most seconds of silence from the server, for messages.
        connect_timeout: Most seconds to connect, for messages.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, timeout: float, connect_timeout: float
    ) -> None:
        import httpx

        self._httpx = httpx
        self._client = client
        self._timeout, self._connect_timeout = timeout, connect_timeout

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> HTTPResponse:
        """Send a request; see `Transport.send`."""
        httpx = self._httpx
        try:
            response = await self._client.request(method, url, headers=headers, content=body)
        except httpx.ConnectTimeout:
            limit = f"{self._connect_timeout:g} s"
            raise EngineUnreachableError(f"no connection within {limit}") from None
        except httpx.TimeoutException:
            raise EngineTimeoutError(f"no answer for {self._timeout:g} s") from None
        except httpx.ConnectError as error:
            raise EngineUnreachableError(f"cannot connect: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            what = str(error) or type(error).__name__
            raise EngineConnectionError(f"the connection failed: {what}") from None
        return HTTPResponse(response.status_code, response.headers, response.content)

    async def aclose(self) -> None:
        """Close nothing: the client is somebody else's."""

"""Bodies of answers, counted and decompressed piece by piece.

HTTP libraries decompress all that they have received at once, so that 64 KiB can become 64 MiB or,
where the server names an encoding twice, far more (RFC 9110, 8.4; CWE-409).
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from chainette.errors import ServerError

ASKED_FOR = "gzip, deflate"
"""The value of `Accept-Encoding`: what every transport decompresses, whatever is installed."""
DECODED = ("identity", "gzip", "x-gzip", "deflate", "")
"""Content encodings that every transport asks for and decodes (RFC 9110, 8.4.1)."""
_PIECE = 1 << 16


class Response(Protocol):
    """A response of httpx or httpx2 whose body is not read yet."""

    status_code: int
    headers: Any
    stream: Any

    @property
    def is_stream_consumed(self) -> bool:
        """Whether the body has been read after all."""

    async def aread(self) -> bytes:
        """The whole body."""

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """The body as it was sent."""


def not_decoded(message: str) -> ServerError:
    """The exception for an answer in a content encoding that cannot be decoded."""
    error = ServerError(f"the answer cannot be decoded (its Content-Encoding): {message}")
    error.transient = False
    return error


def headers_too_long(message: str) -> ServerError:
    """The exception for headers that are longer than HTTP libraries take."""
    error = ServerError(f"the headers of the answer are too long: {message[:100]}")
    error.transient = False
    return error


def too_long(limit: int) -> ServerError:
    """The exception for an answer of more bytes than allowed.

    Args:
        limit: Maximum bytes.
    """
    message = f"the answer is longer than {limit} bytes (max_response_bytes={limit})"
    error = ServerError(f"{message}: ask for less, or raise it")
    error.transient = False
    return error


class Body:
    """The body of one answer, while it is received.

    Args:
        status: The status of the answer.
        headers: Its headers, which count as well.
        limit: Maximum bytes, as sent and decompressed.

    Raises:
        ServerError: The headers alone are longer.
    """

    def __init__(self, status: int, headers: Mapping[str, str], limit: int) -> None:
        self._limit = limit
        self._encoding = headers.get("content-encoding", "").strip().lower()
        self._is_success = 200 <= status < 300
        self._is_begun = False
        self._decoder: Any = None
        texts = [*headers.keys(), *headers.values()]
        self._raw = self._whole = len("".join(texts)) + 2 * len(texts)
        self._count(0, 0)

    def decoded(self, raw: bytes) -> Iterator[bytes]:
        """Decompress a part of the body.

        Args:
            raw: The part, as sent.

        Raises:
            ServerError: The body is too long, or its encoding was not asked for.
        """
        is_first, self._is_begun = not self._is_begun, True
        if self._encoding in ("", "identity"):
            self._count(len(raw), len(raw))
            yield raw
            return
        self._count(len(raw), 0)
        if self._encoding in DECODED:
            pieces = self._decompressed(raw, is_first)
        else:
            if is_first and self._is_success and raw.lstrip()[:1] not in (b"{", b"["):
                raise not_decoded(f"{self._encoding}, for which nothing asked")
            pieces = iter([raw])  # some servers put the name of a character set there
        for piece in pieces:
            self._count(0, len(piece))
            yield piece

    def count(self, part: bytes) -> None:
        """Count a part that was decompressed already."""
        self._count(0, len(part))

    def _count(self, raw: int, whole: int) -> None:
        self._raw += raw
        self._whole += whole
        if self._raw > self._limit or self._whole > self._limit:
            raise too_long(self._limit)

    def _decompressed(self, raw: bytes, is_first: bool) -> Iterator[bytes]:
        if is_first:
            self._decoder = zlib.decompressobj(self._window(raw))
        try:
            while raw:
                yield self._decoder.decompress(raw, _PIECE)
                raw = self._decoder.unconsumed_tail
                if self._decoder.eof:  # a file of gzip may have several members
                    raw = self._decoder.unused_data.lstrip(b"\0")
                    self._decoder = zlib.decompressobj(self._window(raw))
        except zlib.error as error:
            raise not_decoded(f"{self._encoding}: {error}") from None

    def _window(self, raw: bytes) -> int:
        """The format in the terms of zlib; some servers send deflate without its header."""
        if self._encoding != "deflate":
            return 16 + zlib.MAX_WBITS
        return zlib.MAX_WBITS if raw[:1] and raw[0] & 15 == 8 else -zlib.MAX_WBITS


class Collector:
    """A body that is received: kept as a whole, or handed on in parts where it is a success.

    Args:
        status: The status of the answer.
        headers: Its headers.
        limit: Maximum bytes of what is kept.
        on_part: Takes the parts of a success, of which there may be any number of bytes.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        limit: int,
        on_part: Callable[[bytes], None] | None = None,
    ) -> None:
        self._on_part = on_part if 200 <= status < 300 else None
        self._body = Body(status, headers, sys.maxsize if self._on_part else limit)
        self._parts: list[bytes] = []

    def take(self, raw: bytes) -> None:
        """Take a part, as sent."""
        if self._on_part is None:
            self._parts += self._body.decoded(raw)
            return
        for part in self._body.decoded(raw):
            self._on_part(part)

    @property
    def whole(self) -> bytes:
        """What was kept."""
        return b"".join(self._parts)


async def read_body(
    response: Response, limit: int, on_part: Callable[[bytes], None] | None = None
) -> bytes:
    """Read the body of a response of httpx or httpx2.

    Args:
        response: The response.
        limit: Maximum bytes.
        on_part: Takes the parts of a success in place of the whole; see `Transport.send`.

    Raises:
        ServerError: It is too long, or cannot be decoded.
    """
    if response.is_stream_consumed:  # a transport of a test has it whole
        whole = await response.aread()
        Body(response.status_code, response.headers, limit).count(whole)
        if on_part is None or not 200 <= response.status_code < 300:
            return whole
        on_part(whole)
        return b""
    body = Collector(response.status_code, response.headers, limit, on_part)
    async for raw in response.aiter_raw():
        body.take(raw)
    return body.whole


def limit_body(response: Response, limit: int) -> None:
    """Let the body of a response of httpx or httpx2 end with an error where it is too long.

    Args:
        response: The response, whose body is not read yet.
        limit: Maximum bytes.

    Raises:
        ServerError: The headers alone are longer.
    """
    if response.is_stream_consumed:
        return
    library = type(response).__module__.partition(".")[0]
    body = Body(response.status_code, response.headers, limit)
    response.headers.pop("content-encoding", None)
    response.stream = _limited_stream(library)(response.stream, body)


@cache
def _limited_stream(library: str) -> Any:
    """The class of limited streams, for one of the libraries that have the same classes."""
    base: Any = sys.modules[library].AsyncByteStream

    class LimitedStream(base):  # type: ignore[misc]
        def __init__(self, stream: Any, body: Body) -> None:
            self._stream = stream
            self._body = body

        async def __aiter__(self) -> AsyncIterator[bytes]:
            parts = aiter(self._stream)
            try:
                async for raw in parts:
                    for piece in self._body.decoded(raw):
                        yield piece
            finally:
                if isinstance(parts, AsyncGenerator):  # closed in this task, not by the collector
                    await parts.aclose()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return LimitedStream

"""Answers that are too long, or in an encoding that nothing asked for, on every transport."""

from __future__ import annotations

import gzip
import json
import re
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import httpx
import openai.resources.responses  # noqa: F401
import pytest
from chainette import LLMOutput, register_engine
from chainette.errors import ServerError

LIMIT = 1_000_000
SOCKETS = 30_000_000
"""Bytes that the buffers of sockets and parsers take at most, far below what is sent."""
Parts = Callable[[], Iterable[bytes]]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

TRANSPORTS: dict[str, dict[str, Any]] = {
    "aiohttp": {"backend": "openai", "api": "chat", "path": "/v1"},
    "httpx": {"backend": "openai", "api": "chat", "path": "/v1"},
    "responses": {"backend": "openai", "api": "responses", "path": "/v1"},
    "SDK of OpenAI": {"backend": "openai", "api": "responses", "client": "sdk", "path": "/v1"},
    "aiohttp to Ollama": {"backend": "ollama_api", "path": ""},
}
ANSWERS: dict[str, Any] = {
    "chat": {"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]},
    "responses": {
        "id": "r",
        "object": "response",
        "status": "completed",
        "output": [
            {
                "type": "message",
                "id": "m",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "fine", "annotations": []}],
            }
        ],
    },
    "": {"model": "m", "message": {"role": "assistant", "content": "fine"}, "done": True},
}


class RawServer:
    """A server that answers with bytes as they are, as long as the client takes them.

    Attributes:
        sent: Bytes that were sent.
        requests: The heads of the requests.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._is_closed = False
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.sent = 0
        self.requests: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (part := connection.recv(65536)):
                    return
                head += part
            head, _, body = head.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            while length is not None and len(body) < int(length[1]):  # else closing would reset
                body += connection.recv(65536)
            self.requests.append(head.decode().lower())
            try:
                for part in self._parts():
                    if self._is_closed:
                        return
                    connection.sendall(part)
                    self.sent += len(part)
            except OSError:  # the client has had enough
                pass

    def close(self) -> None:
        self._is_closed = True
        self._socket.close()


@contextmanager
def serving(parts: Parts) -> Iterator[RawServer]:
    server = RawServer(parts)
    try:
        yield server
    finally:
        server.close()


def ask(server: RawServer, transport: str, limit: int = LIMIT) -> LLMOutput:
    fields = {**TRANSPORTS[transport], "model": "m", "max_retries": 0, "timeout": 20}
    endpoint = f"http://127.0.0.1:{server.port}{fields.pop('path')}"
    engine: Any = register_engine("e", endpoint=endpoint, max_response_bytes=limit, **fields).engine

    async def call() -> LLMOutput:
        try:
            if transport != "httpx":
                return (await engine.agenerate(["hi"]))[0]
            async with httpx.AsyncClient(mounts={"all://127.0.0.1": None}) as engine.http:
                return (await engine.agenerate(["hi"]))[0]
        finally:
            await engine.aclose()

    return anyio.run(call)


def chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield b"%x\r\n%b\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def forever(part: bytes) -> Iterator[bytes]:
    while True:
        yield part


def endless(head: bytes, part: bytes = b"x" * 65536) -> Parts:
    def parts() -> Iterator[bytes]:
        yield head + b"\r\n"
        yield from chunks(forever(part)) if CHUNKED in head else forever(part)

    return parts


def lines(head: bytes, line: Callable[[int], bytes]) -> Parts:
    def parts() -> Iterator[bytes]:
        yield head
        number = 0
        while True:
            yield line(number)
            number += 1

    return parts


def whole(encoding: bytes, data: bytes, head: bytes = HEAD) -> Parts:
    length = b"Content-Length: %d\r\n\r\n" % len(data)
    return lambda: [head + b"Content-Encoding: %b\r\n" % encoding + length + data]


def bomb(window: int) -> bytes:
    """100 MB in 100 KB."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, window)
    data = [compressor.compress(b'{"choices": "'), compressor.compress(b" " * 100_000_000)]
    return b"".join([*data, compressor.flush()])


BOMB = bomb(31)
TOO_LONG: dict[str, Parts] = {
    "chunks without end": endless(HEAD + CHUNKED),
    "a body without end": endless(HEAD),
    "an error without end": endless(b"HTTP/1.1 500 No\r\n" + CHUNKED),
    "a gzip bomb": whole(b"gzip", BOMB),
    "an x-gzip bomb": whole(b"X-GZip", BOMB),
    "a deflate bomb": whole(b"deflate", bomb(15)),
    "a deflate bomb without a header": whole(b"deflate", bomb(-15)),
}
NOT_DECODED: dict[str, Parts] = {
    "br": whole(b"br", b"\x1b\x03\x00\xf8" + bytes(range(200, 250))),
    "zstd": whole(b"zstd", b"\x28\xb5\x2f\xfd" + bytes(range(200, 250))),
    "compress": whole(b"compress", b"\x1f\x9d\x90" + bytes(range(200, 250))),
    "gzip twice": whole(b"gzip, gzip", gzip.compress(BOMB)),
    "not what it says": whole(b"gzip", b'{"choices": []}'),
}
LONG_HEADERS: dict[str, Parts] = {
    "headers": lines(HEAD, lambda number: b"X-%d: %b\r\n" % (number, b"v" * 100)),
    "one header": lines(HEAD + b"X: ", lambda _: b"v" * 65536),
    "a status": lines(b"HTTP/1.1 200 ", lambda _: b"v" * 65536),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", TOO_LONG)
def test_an_answer_that_is_too_long_takes_no_more_than_allowed(kind: str, transport: str) -> None:
    with serving(TOO_LONG[kind]) as server:
        tracemalloc.start()
        error = ask(server, transport).error
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert type(error) is ServerError
        assert f"longer than {LIMIT} bytes (max_response_bytes={LIMIT})" in str(error)
        assert len(server.requests) == 1
        assert server.sent < SOCKETS
        assert peak < SOCKETS


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", NOT_DECODED)
def test_an_encoding_that_nothing_asked_for_is_a_clear_error(kind: str, transport: str) -> None:
    with serving(NOT_DECODED[kind]) as server:
        error = ask(server, transport).error
        assert type(error) is ServerError
        assert "Content-Encoding" in str(error)
        assert not error.transient
        assert "accept-encoding: gzip, deflate\r\n" in server.requests[0] + "\r\n"


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", LONG_HEADERS)
def test_headers_without_end_are_a_clear_error(kind: str, transport: str) -> None:
    with serving(LONG_HEADERS[kind]) as server:
        error = ask(server, transport).error
        assert type(error) is ServerError
        assert "headers of the answer are too long" in str(error)
        assert len(str(error)) < 300
        assert server.sent < SOCKETS


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_headers_count_as_a_part_of_the_answer(transport: str) -> None:
    body = json.dumps(ANSWERS[TRANSPORTS[transport].get("api", "")]).encode()
    header = b"X-A: %b\r\n" % (b"v" * 2000)
    parts = whole(b"identity", body, HEAD + header)
    with serving(parts) as server:
        assert "longer than 1500 bytes" in str(ask(server, transport, 1500).error)
        assert ask(server, transport, 3000).outputs[0].text == "fine"


def deflated(data: bytes, window: int) -> bytes:
    compressor = zlib.compressobj(wbits=window)
    return compressor.compress(data) + compressor.flush()


READ: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "two members of gzip": (b"gzip", lambda it: gzip.compress(it[:9]) + gzip.compress(it[9:])),
    "deflate": (b"deflate", lambda it: deflated(it, 15)),
    "deflate without a header": (b"deflate", lambda it: deflated(it, -15)),
    "identity": (b"identity", bytes),
    "a character set in the wrong place": (b"utf-8", bytes),
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", READ)
def test_an_answer_in_an_encoding_that_was_asked_for_is_read(kind: str, transport: str) -> None:
    body = json.dumps(ANSWERS[TRANSPORTS[transport].get("api", "")]).encode()
    encoding, encode = READ[kind]
    with serving(whole(encoding, encode(body))) as server:
        output = ask(server, transport)
        assert output.error is None
        assert output.outputs[0].text == "fine"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_members_of_gzip_without_end_and_content_are_an_error(transport: str) -> None:
    member = gzip.compress(b"") * 3000
    with serving(endless(HEAD + CHUNKED + b"Content-Encoding: gzip\r\n", member)) as server:
        error = ask(server, transport).error
        assert type(error) is ServerError
        assert server.sent < SOCKETS


@pytest.mark.parametrize("transport", ["SDK of OpenAI", "aiohttp to Ollama"])
def test_a_refusal_keeps_its_status_whatever_its_encoding(transport: str) -> None:
    head = b"HTTP/1.1 429 Slow\r\nContent-Type: text/html\r\n"
    with serving(whole(b"br", b"\x1b\x03\x00\xf8", head)) as server:
        error = ask(server, transport).error
        assert error is not None
        assert error.status == 429

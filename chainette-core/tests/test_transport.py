"""Both transports, on real sockets: the same answers, the same errors."""

from __future__ import annotations

import asyncio
import gzip
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import trustme
from chainette.engine.http.aiohttp import AiohttpTransport
from chainette.engine.http.transport import HttpxTransport, Transport
from chainette.errors import (
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    EngineUnreachableError,
)
from chainette.testing import faults
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
HEADERS = {"Content-Type": "application/json"}


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@asynccontextmanager
async def transport_of(kind: str) -> AsyncIterator[Transport]:
    """A transport of that kind, with short timeouts."""
    limits = {"timeout": 0.4, "connect_timeout": 0.4}
    if kind == "aiohttp":
        transport = AiohttpTransport(**limits)
        try:
            yield transport
        finally:
            await transport.aclose()
    else:
        certificates = httpx.create_ssl_context()
        timeout = httpx.Timeout(0.4)
        async with httpx.AsyncClient(
            timeout=timeout, trust_env=False, verify=certificates
        ) as client:
            yield HttpxTransport(client, **limits)


def send(
    kind: str, url: str, method: str = "POST", body: bytes | None = BODY, times: int = 1
) -> Any:
    """Send over a transport of that kind; return the response or the error."""

    async def call() -> Any:
        async with transport_of(kind) as transport:
            try:
                for _ in range(times):
                    response = await transport.send(method, url, HEADERS, body)
                return response
            except EngineError as error:
                return error

    return anyio.run(call)


both = pytest.mark.parametrize("kind", ["aiohttp", "httpx"])


@both
def test_a_response_is_returned_in_full(kind: str, server: FakeOpenAI) -> None:
    reply = Reply("text", headers={"X-Own": "1"})
    server.set_answers(lambda _: reply)
    response = send(kind, f"{server.endpoint}/chat/completions?x=%2F")
    assert (response.status, response.headers["x-own"]) == (200, "1")
    assert b'"text"' in response.body
    assert server.requests[0].body["model"] == "m"
    assert send(kind, f"{server.endpoint}/models", "GET", None).status == 200


@both
def test_a_compressed_answer_is_decompressed(kind: str, server: FakeOpenAI) -> None:
    packed = gzip.compress(b'{"some": "json"}')
    server.set_answers(lambda _: Reply(body=packed, headers={"Content-Encoding": "gzip"}))
    assert send(kind, f"{server.endpoint}/chat/completions").body == b'{"some": "json"}'


@both
@pytest.mark.parametrize("status", [301, 307, 404, 429, 503])
def test_every_status_is_returned_and_redirects_are_not_followed(
    kind: str, status: int, server: FakeOpenAI
) -> None:
    reply = Reply(status=status, headers={"Location": f"{server.endpoint}/models"})
    server.set_answers(lambda _: reply)
    assert send(kind, f"{server.endpoint}/chat/completions").status == status


@both
@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (faults.dropped(), EngineConnectionError),
        (faults.dropped(0.0), EngineConnectionError),
        (faults.stalled(), EngineTimeoutError),
        (faults.slow(30), EngineTimeoutError),
    ],
)
def test_each_fault_becomes_an_error_of_its_class(
    kind: str, reply: Reply, error: type[EngineError], server: FakeOpenAI
) -> None:
    server.set_answers(lambda _: reply)
    assert type(send(kind, f"{server.endpoint}/chat/completions")) is error


@both
def test_a_closed_port_or_an_unknown_host_is_unreachable(kind: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = send(kind, f"http://127.0.0.1:{closed.getsockname()[1]}/x")
    assert type(error) is EngineUnreachableError
    assert "cannot connect" in str(error).lower()
    assert type(send(kind, "http://no-such-host.invalid/x")) is EngineUnreachableError


@both
def test_a_server_that_does_not_accept_connections_is_unreachable(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
        address = full.getsockname()
        clients = [socket.socket() for _ in range(8)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(address)
        error = send(kind, f"http://127.0.0.1:{address[1]}/x")
        for client in clients:
            client.close()
    assert type(error) is EngineUnreachableError
    assert "no connection within 0.4 s" in str(error)


@both
def test_a_response_that_is_not_http_is_a_connection_error(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        error = send(kind, f"http://127.0.0.1:{server.getsockname()[1]}/x")
        thread.join()
    assert type(error) is EngineConnectionError


def test_the_proxy_from_the_environment_is_used_only_for_other_machines(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeOpenAI() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.endpoint.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert send("aiohttp", f"{server.endpoint}/models", "GET", None).status == 200
        # A 404 proves that the proxy got the request: the fake server does not know full URLs.
        assert send("aiohttp", "http://model.invalid/v1/models", "GET", None).status == 404
        monkeypatch.setenv("NO_PROXY", "model.invalid")
        error = send("aiohttp", "http://model.invalid/v1/models", "GET", None)
        assert type(error) is EngineUnreachableError


ELSEWHERE = "127.0.0.2"
"""A loopback address on Linux that HTTP clients do not recognise as this machine's."""


@contextmanager
def listening(host: str, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with `{}`; yields its port and the heads of requests."""
    ready, stop = threading.Event(), threading.Event()
    ports: list[int] = []
    heads: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                heads.append(head)
                length = re.search(r"content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, host, 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield ports[0], heads
    finally:
        stop.set()
        thread.join()


def tls_context(name: str, authority: trustme.CA) -> ssl.SSLContext:
    """TLS context of a server with a certificate for that name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_passwords_in_netrc_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text(f"machine {ELSEWHERE} login ann password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with listening(ELSEWHERE) as (port, heads):
        url = f"http://{ELSEWHERE}:{port}/x"

        async def call() -> int:
            async with transport_of("aiohttp") as transport:
                headers = {"Authorization": "Bearer own"}
                return (await transport.send("POST", url, headers, BODY)).status

        assert anyio.run(call) == 200
    assert "authorization: bearer own" in heads[0]


def test_a_request_to_another_machine_uses_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    original = asyncio.BaseEventLoop.run_in_executor

    def record_call(self: Any, executor: Any, call: Any, *args: Any) -> Any:
        calls.append(call)
        return original(self, executor, call, *args)

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", record_call)
    with listening(ELSEWHERE) as (port, _):
        calls.clear()  # those of the server
        assert send("aiohttp", f"http://{ELSEWHERE}:{port}/x", times=3).status == 200
    assert calls == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", f"http://{ELSEWHERE}:9/x"])
def test_a_server_that_is_down_is_named_without_internals(url: str) -> None:
    error = send("aiohttp", url)
    assert type(error) is EngineUnreachableError
    assert url.split("/")[2] in str(error)
    assert "ssl" not in str(error).lower()


def test_an_invalid_proxy_or_a_missing_certificate_file_fails_only_the_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:port")
    assert type(send("aiohttp", f"http://{ELSEWHERE}:9/x")) is EngineConnectionError
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert type(send("aiohttp", "https://localhost:9/x")) is EngineConnectionError


@pytest.fixture(scope="module")
def proxy() -> Iterator[int]:
    """A real proxy that requires a password; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    options = "--num-workers 1 --num-acceptors 1 --log-level e --basic-auth ann:s3cret --port"
    command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", *options.split()]
    process = subprocess.Popen([*command, str(port)])
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_password_of_a_proxy_is_not_sent_to_the_server(
    scheme: str, proxy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    variable = f"{scheme.upper()}_PROXY"
    context = tls_context(ELSEWHERE, authority) if scheme == "https" else None
    with listening(ELSEWHERE, context) as (port, heads):
        url = f"{scheme}://{ELSEWHERE}:{port}/x"
        monkeypatch.setenv(variable, f"http://ann:s3cret@127.0.0.1:{proxy}")
        assert send("aiohttp", url).body == b"{}"
        monkeypatch.setenv(variable, f"http://ann:wr0ng@127.0.0.1:{proxy}")
        rejection = send("aiohttp", url)
        monkeypatch.setenv("NO_PROXY", f"{ELSEWHERE}:{port}")
        assert send("aiohttp", url).body == b"{}"
    assert len(heads) == 2
    assert "proxy-authorization" not in heads[0]
    assert ("via:" in heads[0], "via:" in heads[1]) == (scheme == "http", False)
    if scheme == "http":
        assert rejection.status == 407
    else:
        assert type(rejection) is EngineUnreachableError
        assert f"the proxy http://127.0.0.1:{proxy} answered 407" in str(rejection)


@both
@pytest.mark.parametrize(
    ("name", "trusted", "works"),
    [("localhost", True, True), ("localhost", False, False), ("elsewhere.example", True, False)],
)
def test_certificates_are_verified_against_the_configured_authority(
    kind: str,
    name: str,
    trusted: bool,
    works: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = trustme.CA()
    if trusted:
        file = tmp_path / "authority.pem"
        authority.cert_pem.write_to_path(str(file))
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with listening("127.0.0.1", tls_context(name, authority)) as (port, _):
        result = send(kind, f"https://localhost:{port}/x", "GET", None)
    if works:
        assert result.body == b"{}"
    else:
        assert type(result) is EngineUnreachableError
        assert "certificate" in str(result)


@both
def test_a_connection_is_reused(kind: str, server: FakeOpenAI) -> None:
    connections: list[int] = []
    server.set_answers(lambda messages: connections.append(server.connections) or "hello")
    assert send(kind, f"{server.endpoint}/chat/completions", times=3).status == 200
    assert connections == [1, 1, 1]


@both
def test_a_cancelled_request_closes_its_connection(kind: str, server: FakeOpenAI) -> None:
    server.set_answers(lambda messages: faults.slow(30))

    async def call() -> int:
        async with transport_of(kind) as transport:
            with anyio.move_on_after(0.2):
                await transport.send("POST", f"{server.endpoint}/chat/completions", HEADERS, BODY)
            with anyio.fail_after(5):
                while server.connections:
                    await anyio.sleep(0.01)
            return server.connections

    assert anyio.run(call) == 0


def test_a_transport_that_is_never_closed_does_not_warn(server: FakeOpenAI) -> None:
    script = f"""
import anyio, gc
from chainette.engine.http.aiohttp import AiohttpTransport
left = []
async def call():
    left.append(AiohttpTransport(timeout=5, connect_timeout=5))
    return (await left[0].send("GET", "{server.endpoint}/models", {{}}, None)).status
print(anyio.run(call))
left.clear()
gc.collect()
"""
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (process.stdout, process.stderr) == ("200\n", "")


def test_a_request_does_not_import_httpx_rich_or_jinja2() -> None:
    code = """
import sys
from chainette import register_engine
from chainette.testing.servers import FakeVLLM
with FakeVLLM(lambda _: "yes") as server:
    client = register_engine("e", backend="vllm_api", model="m", endpoint=server.endpoint).engine
    assert client.generate(["?"])[0].outputs[0].text == "yes"
assert not {"httpx", "rich", "jinja2"} & {*sys.modules}
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr

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
    """Send over a transport of that kind; what came back, or the error."""

    async def call() -> Any:
        async with transport_of(kind) as transport:
            try:
                for _ in range(times):
                    found = await transport.send(method, url, HEADERS, body)
                return found
            except EngineError as error:
                return error

    return anyio.run(call)


both = pytest.mark.parametrize("kind", ["aiohttp", "httpx"])


@both
def test_an_answer_comes_back_whole(kind: str, server: FakeOpenAI) -> None:
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
def test_any_status_comes_back_and_no_redirect_is_followed(
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
def test_a_fault_is_an_error_of_its_class(
    kind: str, reply: Reply, error: type[EngineError], server: FakeOpenAI
) -> None:
    server.set_answers(lambda _: reply)
    assert type(send(kind, f"{server.endpoint}/chat/completions")) is error


@both
def test_nobody_there_is_unreachable(kind: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = send(kind, f"http://127.0.0.1:{taken.getsockname()[1]}/x")
    assert type(found) is EngineUnreachableError
    assert "cannot connect" in str(found).lower()
    assert type(send(kind, "http://no-such-host.invalid/x")) is EngineUnreachableError


@both
def test_a_server_that_accepts_nobody_is_unreachable(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        found = send(kind, f"http://127.0.0.1:{address[1]}/x")
        for one in waiting:
            one.close()
    assert type(found) is EngineUnreachableError
    assert "no connection within 0.4 s" in str(found)


@both
def test_what_is_no_http_is_a_connection_that_failed(kind: str) -> None:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as odd:

        def answer() -> None:
            connection, _ = odd.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = send(kind, f"http://127.0.0.1:{odd.getsockname()[1]}/x")
        thread.join()
    assert type(found) is EngineConnectionError


def test_a_proxy_of_the_environment_is_for_other_machines_alone(
    server: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeOpenAI() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.endpoint.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert send("aiohttp", f"{server.endpoint}/models", "GET", None).status == 200
        # The fake server does not know the whole URL that a proxy gets: its 404 is the proof.
        assert send("aiohttp", "http://model.invalid/v1/models", "GET", None).status == 404
        monkeypatch.setenv("NO_PROXY", "model.invalid")
        found = send("aiohttp", "http://model.invalid/v1/models", "GET", None)
        assert type(found) is EngineUnreachableError


ELSEWHERE = "127.0.0.2"
"""An address of Linux's that is this machine's and is not known as such."""


@contextmanager
def listening(host: str, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[str]]]:
    """A server that answers everything with `{}`; gives its port and the heads of requests."""
    ready, done = threading.Event(), threading.Event()
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
        await asyncio.to_thread(done.wait)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield ports[0], heads
    finally:
        done.set()
        thread.join()


def showing(name: str, authority: trustme.CA) -> ssl.SSLContext:
    """TLS of a server that shows a certificate of that name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_passwords_of_netrc_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_request_to_another_machine_changes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[Any] = []
    taken = asyncio.BaseEventLoop.run_in_executor

    def counted(self: Any, executor: Any, call: Any, *args: Any) -> Any:
        threads.append(call)
        return taken(self, executor, call, *args)

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", counted)
    with listening(ELSEWHERE) as (port, _):
        threads.clear()  # of the server's
        assert send("aiohttp", f"http://{ELSEWHERE}:{port}/x", times=3).status == 200
    assert threads == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", f"http://{ELSEWHERE}:9/x"])
def test_a_server_that_is_down_is_named_without_internals(url: str) -> None:
    found = send("aiohttp", url)
    assert type(found) is EngineUnreachableError
    assert url.split("/")[2] in str(found)
    assert "ssl" not in str(found).lower()


def test_a_proxy_that_is_no_url_or_a_missing_authority_fails_the_request_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:port")
    assert type(send("aiohttp", f"http://{ELSEWHERE}:9/x")) is EngineConnectionError
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    assert type(send("aiohttp", "https://localhost:9/x")) is EngineConnectionError


@pytest.fixture(scope="module")
def proxy() -> Iterator[int]:
    """A real proxy that wants a password; gives its port."""
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
def test_a_proxy_gets_its_password_and_the_server_does_not(
    scheme: str, proxy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    variable = f"{scheme.upper()}_PROXY"
    context = showing(ELSEWHERE, authority) if scheme == "https" else None
    with listening(ELSEWHERE, context) as (port, heads):
        url = f"{scheme}://{ELSEWHERE}:{port}/x"
        monkeypatch.setenv(variable, f"http://ann:s3cret@127.0.0.1:{proxy}")
        assert send("aiohttp", url).body == b"{}"
        monkeypatch.setenv(variable, f"http://ann:wr0ng@127.0.0.1:{proxy}")
        refused = send("aiohttp", url)
        monkeypatch.setenv("NO_PROXY", f"{ELSEWHERE}:{port}")
        assert send("aiohttp", url).body == b"{}"
    assert len(heads) == 2
    assert "proxy-authorization" not in heads[0]
    assert ("via:" in heads[0], "via:" in heads[1]) == (scheme == "http", False)
    if scheme == "http":
        assert refused.status == 407
    else:
        assert type(refused) is EngineUnreachableError
        assert f"the proxy http://127.0.0.1:{proxy} answered 407" in str(refused)


@both
@pytest.mark.parametrize(
    ("name", "trusted", "works"),
    [("localhost", True, True), ("localhost", False, False), ("elsewhere.example", True, False)],
)
def test_certificates_are_verified_and_an_authority_of_one_s_own_is_taken(
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
    with listening("127.0.0.1", showing(name, authority)) as (port, _):
        found = send(kind, f"https://localhost:{port}/x", "GET", None)
    if works:
        assert found.body == b"{}"
    else:
        assert type(found) is EngineUnreachableError
        assert "certificate" in str(found)


@both
def test_a_connection_is_used_again(kind: str, server: FakeOpenAI) -> None:
    seen: list[int] = []
    server.set_answers(lambda messages: seen.append(server.connections) or "hello")
    assert send(kind, f"{server.endpoint}/chat/completions", times=3).status == 200
    assert seen == [1, 1, 1]


@both
def test_a_request_that_is_given_up_closes_its_connection(kind: str, server: FakeOpenAI) -> None:
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


def test_a_transport_that_is_never_closed_does_not_complain(server: FakeOpenAI) -> None:
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
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("200\n", "")


def test_a_request_loads_neither_httpx_nor_rich() -> None:
    code = """
import sys
from chainette import register_engine
from chainette.testing.servers import FakeVLLM
with FakeVLLM(lambda _: "yes") as server:
    client = register_engine("e", backend="vllm_api", model="m", endpoint=server.endpoint).engine
    assert client.generate(["?"])[0].outputs[0].text == "yes"
assert not {"httpx", "rich", "jinja2"} & {*sys.modules}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""Downloads that a server makes, and answers that come in lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from chainette.backend import BaseHTTPClient, Download, EngineConfig, post_for_lines
from chainette.engine.client import retry
from chainette.engine.http.event_stream import JSONLines
from chainette.engine.http.transport import NO_PROXY
from chainette.engine.server import download as download_module
from chainette.engine.server.progress import Startup, listening
from chainette.errors import EngineError, EngineTimeoutError, RequestError, ServerError
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI

LINES = [{"n": number, "text": "ä" * number} for number in range(50)]
BODY = b"\n".join(json.dumps(line, ensure_ascii=False).encode() for line in LINES)


class Lines(FakeOpenAI):
    """A server that answers at `/lines` as it is told."""

    reply = Reply()
    body = BODY

    def other(self, path: str, body: Any) -> Any:
        if not path.endswith("/lines"):
            return super().other(path, body)
        return self.reply, self.body


class Client(BaseHTTPClient[EngineConfig]):
    """A client that has no chat."""

    async def _chat(self, request: Any) -> Any:
        raise NotImplementedError


def client_of(server: Lines, is_httpx: bool, **fields: Any) -> BaseHTTPClient[EngineConfig]:
    config = EngineConfig(name="e", backend="x", endpoint=server.endpoint, **fields)
    http = httpx.AsyncClient(mounts=NO_PROXY) if is_httpx else None
    return Client(config, http=http)


def lines_of(client: BaseHTTPClient[EngineConfig], timeout: float = 9.0) -> list[Any]:
    lines: list[Any] = []

    async def read() -> None:
        try:
            await post_for_lines(client, "/lines", {"a": 1}, lines.append, timeout=timeout)
        finally:
            await client.aclose()
            if client.http is not None:
                await client.http.aclose()

    anyio.run(read)
    return lines


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, len(BODY)])
def test_lines_are_read_whatever_parts_they_come_in(size: int) -> None:
    seen: list[Any] = []
    lines = JSONLines(seen.append, 10**6)
    for start in range(0, len(BODY), size):
        lines.take(BODY[start : start + size])
    lines.take(b"\n")
    lines.take(b"\r\n \n")
    assert seen == LINES


@pytest.mark.parametrize("part", [b"x" * 11, b"<html>\n", b'{"a": \n', b"\xff\n"])
def test_a_line_that_is_too_long_or_not_json_is_an_error(part: bytes) -> None:
    with pytest.raises(ServerError):
        JSONLines(print, 10).take(part)


@pytest.mark.parametrize("is_httpx", [False, True])
def test_lines_have_no_limit_in_all_and_errors_are_those_of_every_request(is_httpx: bool) -> None:
    with Lines() as server:
        small = {"max_response_bytes": 400}  # less than all lines, more than one
        assert lines_of(client_of(server, is_httpx, **small)) == LINES
        server.body, server.reply = b'{"error": {"message": "no"}}', Reply(status=400)
        with pytest.raises(RequestError, match="answered 400: no"):
            lines_of(client_of(server, is_httpx))
        server.reply = Reply(delay=9)
        with pytest.raises(EngineTimeoutError, match=r"no answer for 0\.1 s"):
            lines_of(client_of(server, is_httpx), timeout=0.1)
        server.reply, server.body = Reply(headers={"Content-Encoding": "br"}), b"\x8b\n"
        with pytest.raises(ServerError, match="cannot be decoded"):
            lines_of(client_of(server, is_httpx))


def test_what_a_line_raises_ends_the_request() -> None:
    with Lines() as server:
        client, seen = client_of(server, False), []

        def stop(line: Any) -> None:
            seen.append(line)
            raise ServerError("enough")

        async def read() -> None:
            try:
                await post_for_lines(client, "/lines", {}, stop, timeout=9)
            finally:
                await client.aclose()

        with pytest.raises(ServerError, match="enough"):
            anyio.run(read)
        assert seen == LINES[:1]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_400, "99 kB"), (999_600, "1.0 MB"),
        (2_019_000_000, "2.0 GB"), (42_500_000_001, "43 GB"), (10**16, "10000 TB"),
    ],
)  # fmt: skip
def test_sizes_have_two_digits_or_more(number: int, words: str) -> None:
    assert download_module.size(number) == words


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(download_module, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("left", "words"),
    [(4, "4 s"), (75, "1 min 15 s"), (1500, "25 min"), (3720, "1 h 2 min"), (90_000, "25 h 0 min")],
)
def test_the_time_left_is_that_of_the_latest_speed(
    left: int, words: str, clock: list[float]
) -> None:
    seen: list[Startup] = []
    download = Download("pulling it")
    with listening(seen.append):
        download.at("a", 5_000_000, 10_000_000_000_000)  # it goes on from an earlier time
        for second in range(1, 100):
            clock[0] = second
            speed = 9_000_000 if second < 80 else 1_000_000
            total = 5_000_000 + 79 * 9_000_000 + 20 * 1_000_000 + left * 1_000_000
            done = 5_000_000 + min(second, 79) * 9_000_000 + max(0, second - 79) * speed
            download.at("a", done, total)
    assert f", {words} left, 1.0 MB/s" in seen[-1].detail


def test_a_part_that_is_begun_again_has_no_speed_at_first(clock: list[float]) -> None:
    seen: list[Startup] = []
    download = Download("pulling it")
    with listening(seen.append):
        for done in (0, 500, 900, 100, 200):
            clock[0] += 1
            download.at("a", done, 1000)
    assert [each.detail.count("left") for each in seen] == [0, 1, 1, 0, 1]
    assert download.furthest == 900


@pytest.mark.parametrize(
    ("outcomes", "max_retries", "attempts"),
    [
        (["fails"] * 9, 2, 3),
        (["fails"] * 9, 0, 1),
        (["for good"], 5, 1),
        (["fails", "fails", "good"], 2, 3),
        ([100, 200, 300, 400, "good"], 1, 5),
        ([100, 100, 100, 100], 1, 2),
        ([300, 100, 200, "good"], 1, 2),
        ([100, "fails", "fails"], 1, 2),
    ],
)
def test_a_download_is_begun_again_while_bytes_come_or_retries_are_left(
    outcomes: list[Any], max_retries: int, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.0)
    left, seen, made = list(outcomes), [], []
    download = Download("pulling it")

    async def attempt() -> None:
        made.append(left[0])
        outcome = left.pop(0)
        if isinstance(outcome, int):
            download.at("a", outcome, 1000)
        if outcome != "good":
            error = ServerError(f"{outcome}")
            error.transient = outcome != "for good"
            raise error

    def run() -> None:
        anyio.run(download.run, attempt, max_retries)

    with listening(seen.append):
        _expect(outcomes[attempts - 1], run)
    assert len(made) == attempts
    assert (seen[-1].what, seen[-1].over) == ("pulling it", True)


def _expect(last: Any, run: Callable[[], None]) -> None:
    if last == "good":
        run()
        return
    with pytest.raises(EngineError):
        run()

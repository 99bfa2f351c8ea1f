"""The web service of docs/web-service.md: connections, limits, hang-ups and errors."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from chainette.registry import engines as registry
from chainette.testing import faults
from chainette.testing.servers import FakeOpenAI
from pages import ROOT, snippets

pytest.importorskip("fastapi")

POSITIVE = '{"label": "positive"}'
BODY = json.dumps({"text": "Great lamp!"}).encode()
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/sentiment",
    "raw_path": b"/sentiment",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"content-type", b"application/json")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
}


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(lambda _: POSITIVE) as server:
        yield server


@pytest.fixture
def app(server: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The app of the page, whose engine is the fake server."""
    (page,) = [
        it for it in snippets([ROOT / "docs/web-service.md"], "python") if it.file_name == "app.py"
    ]
    (tmp_path / "app.py").write_text(page.text)
    (tmp_path / "engines.yml").write_text(
        f"- {{name: gpt, backend: openai, model: m, endpoint: '{server.endpoint}',\n"
        "   max_concurrency: 3, max_retries: 0}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    monkeypatch.delitem(sys.modules, "app", raising=False)
    yield importlib.import_module("app").app
    del sys.modules["app"]


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, without a limit other than ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_calls_share_connections_and_shutdown_closes_them(app: Any, server: FakeOpenAI) -> None:
    server.set_answers(lambda _: faults.Reply(POSITIVE, delay=0.02))

    async def serve() -> list[httpx.Response]:
        async with app.router.lifespan_context(app), client_of(app) as client:
            calls = [client.post("/sentiment", json={"text": f"Lamp {n}"}) for n in range(30)]
            answers = await asyncio.gather(*calls)
            assert 1 <= server.connections <= 3
            again = await client.post("/sentiment", json={"text": "Lamp"})
            assert server.connections <= 3
        await until(lambda: server.connections == 0)
        return [*answers, again]

    answers = asyncio.run(serve())
    assert [it.status_code for it in answers] == [200] * 31
    assert {it.text.replace(" ", "") for it in answers} == {'{"label":"positive"}'}
    assert server.peak == 3


async def send_to(app: Any, hang_up: asyncio.Event, sent: list[Any]) -> None:
    """Send a request as a server does, from a client that hangs up at some time."""
    messages = [{"type": "http.request", "body": BODY, "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await hang_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({**SCOPE}, receive, send)


@pytest.mark.parametrize("how", ["the client hangs up", "the request is cancelled"])
def test_a_request_that_is_given_up_drops_its_connection(
    app: Any, server: FakeOpenAI, how: str
) -> None:
    server.set_answers(lambda _: faults.slow(60))

    async def serve() -> None:
        hang_up, sent = asyncio.Event(), list[Any]()
        async with app.router.lifespan_context(app):
            request = asyncio.create_task(send_to(app, hang_up, sent))
            await until(lambda: len(server.requests) == 1)
            assert server.connections == 1
            if how == "the client hangs up":
                hang_up.set()
                await request
                assert sent[0]["status"] == 499
            else:
                request.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await request
                assert sent == []
            await until(lambda: server.connections == 0)
            server.set_answers(lambda _: POSITIVE)  # the place of the request is free again
            async with client_of(app) as client:
                calls = [client.post("/sentiment", json={"text": "x"}) for _ in range(6)]
                assert [it.status_code for it in await asyncio.gather(*calls)] == [200] * 6
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(serve())


def test_errors_have_the_status_that_the_page_names(app: Any, server: FakeOpenAI) -> None:
    answers = {"bad": faults.status(500), "odd": "no json", "cut": faults.cut(), "": POSITIVE}
    server.set_answers(answers)

    async def serve() -> list[httpx.Response]:
        bodies: list[Any] = [{"text": word} for word in ("good", "bad", "odd", "cut")]
        async with app.router.lifespan_context(app), client_of(app) as client:
            return [
                await client.post("/sentiment", json=body)
                for body in (*bodies, {"txt": "good"}, {"text": 3})
            ]

    good, bad, odd, cut, *invalid = asyncio.run(serve())
    assert good.status_code == 200
    for response, words in ((bad, "answered 500"), (odd, "not a valid Sentiment"), (cut, "cut at")):
        assert response.status_code == 502
        assert words in response.json()["detail"]
    assert [it.status_code for it in invalid] == [422, 422]

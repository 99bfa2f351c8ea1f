"""Every fault, in every HTTP backend, at every place of a run: nothing is lost, nothing stays open.

The quick tests have every fault in one backend, and an eighth of them in each of the others, at one
place, which differs from pair to pair.

A run ends in one of three ways. It finishes, and what failed is in `errors.jsonl` with its cause.
It is stopped, since nothing more can succeed for now, and can be resumed. Or it never began: the
engine answered nobody, and the run is one error.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import httpx
import psutil
import pytest
from chainette import Chain, Step, register_engine
from chainette.engine.client import retry
from chainette.engine.http.client import BaseHTTPClient
from chainette.engine.http.transport import HttpxTransport
from chainette.errors import ChainetteError
from chainette.registry import engines as registry
from chainette.reports.run import Run
from chainette.testing import faults
from chainette.testing.contract.checks import eventually
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOllama, FakeOpenAI, FakeVLLM
from pydantic import BaseModel

ROWS = 7
DEADLINE = 30.0
PLACES = {"first": {0}, "middle": {3}, "last": {6}, "all": set(range(ROWS))}
BACKENDS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "openai chat": (FakeOpenAI, {"backend": "openai", "model": "m", "api": "chat"}),
    "openai responses": (FakeOpenAI, {"backend": "openai", "model": "m", "api": "responses"}),
    "openai through its SDK": (
        FakeOpenAI,
        {"backend": "openai", "model": "m", "api": "responses", "client": "sdk"},
    ),
    "vllm_api": (FakeVLLM, {"backend": "vllm_api", "model": "m"}),
    "vllm_api over httpx": (FakeVLLM, {"backend": "vllm_api", "model": "m"}),
    "ollama_api": (FakeOllama, {"backend": "ollama_api", "model": "m"}),
    "llamacpp": (FakeOpenAI, {"backend": "llamacpp"}),
}
EVERY_FAULT_IN = "openai chat"


@dataclass(frozen=True)
class Fault:
    """A fault, the error that it becomes, and what it means for the run.

    Attributes:
        reply: The answer of the server.
        error: Class of the error.
        ends: What an engine whose very first answer it is can be expected to do for every row: the
            run is that one error. `final` also stops a run that has had answers.
    """

    reply: Reply
    error: str
    ends: str = "row"


QUOTA = json.dumps({"error": {"code": "insufficient_quota", "message": "nothing left"}}).encode()
FAULTS = {
    "400": Fault(faults.status(400), "RequestError"),
    "401": Fault(faults.status(401), "AuthenticationError", "final"),
    "403": Fault(faults.status(403), "AuthenticationError", "final"),
    "404": Fault(faults.status(404), "NotFoundError", "run"),
    "408": Fault(faults.status(408), "ServerError"),
    "409": Fault(faults.status(409), "RequestError"),
    "413": Fault(faults.status(413), "RequestError"),
    "422": Fault(faults.status(422), "RequestError"),
    "425": Fault(faults.status(425), "RequestError"),
    "429": Fault(faults.status(429), "RateLimitError", "patience"),
    "429 with a wait": Fault(faults.status(429, retry_after="0.05"), "RateLimitError", "patience"),
    "429 until tomorrow": Fault(
        faults.status(429, retry_after="86400"), "EngineDownError", "final"
    ),
    "quota": Fault(Reply(status=429, body=QUOTA), "QuotaError", "final"),
    "payment": Fault(faults.status(402), "QuotaError", "final"),
    "500": Fault(faults.status(500), "ServerError"),
    "502 page": Fault(faults.html_page(), "ServerError"),
    "503": Fault(faults.status(503), "ServerError"),
    "503 with a wait": Fault(faults.status(503, retry_after="0.05"), "ServerError"),
    "529": Fault(faults.status(529), "ServerError"),
    "redirect": Fault(faults.status(307), "RequestError"),
    "page with 200": Fault(faults.html_page(200), "ServerError"),
    "cut JSON": Fault(faults.truncated_json(), "ServerError"),
    "other JSON": Fault(Reply(body=b'["what"]'), "ServerError"),
    "empty body": Fault(Reply(body=b""), "ServerError"),
    "dropped": Fault(faults.dropped(), "EngineConnectionError"),
    "dropped early": Fault(faults.dropped(0.0), "EngineConnectionError"),
    "slow": Fault(faults.slow(DEADLINE), "EngineTimeoutError"),
    "stalled": Fault(faults.stalled(), "EngineTimeoutError"),
    "wrong schema": Fault(faults.wrong_schema(), "StructuredOutputError"),
    "no JSON": Fault(Reply("I would rather not."), "StructuredOutputError"),
    "huge": Fault(faults.huge(2_000_000), "StructuredOutputError"),
    "cut at max_tokens": Fault(faults.cut(), "OutputTruncatedError"),
    "refusal": Fault(faults.refusal(), "RefusalError"),
    "content filter": Fault(faults.content_filter(), "RefusalError"),
}
HAS_NONE = {("ollama_api", "refusal"), ("ollama_api", "content filter")}
"""Ollama's protocol has no such answers."""


class Row(BaseModel):
    number: int


class Answer(BaseModel):
    name: str
    score: int


def way_to_end(fault: Fault, place: str) -> str:
    """The end that the run must have: `finished`, `stopped`, or `raised`."""
    alone = place in ("first", "all")  # nobody was answered before
    if fault.ends == "run":
        return "raised" if alone else "finished"
    if fault.ends == "final":
        return "raised" if alone else "stopped"
    if fault.ends == "patience":  # rows after it are answered while it waits, unless there are none
        return {"all": "raised", "last": "stopped"}.get(place, "finished")
    return "finished"


def lines(path: Path) -> list[dict[str, Any]]:
    files = [path] if path.suffix else sorted(path.glob("*.jsonl"))
    texts = [file.read_text() for file in files if file.exists()]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.fixture(autouse=True)
def _own_registry_and_short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    monkeypatch.setattr(retry, "FIRST", 0.01)
    monkeypatch.setattr(retry, "LONGEST", 0.02)


class OwnHttpx(HttpxTransport):
    """The transport on httpx, with a client that is closed with it."""

    def __init__(self, client: BaseHTTPClient) -> None:
        limits = {
            "timeout": client.config.timeout,
            "connect_timeout": client.config.connect_timeout,
        }
        super().__init__(httpx.AsyncClient(timeout=client.config.timeout), **limits)

    async def aclose(self) -> None:
        await self._client.aclose()


def run(chain: Chain, folder: Path, **options: Any) -> Run | ChainetteError:
    """Run with a deadline; at the end no task is left."""

    async def call() -> Run | ChainetteError:
        with anyio.fail_after(DEADLINE):
            try:
                done: Run | ChainetteError = await chain.arun(
                    [{"number": n} for n in range(ROWS)], output_dir=folder, **options
                )
            except ChainetteError as error:
                done = error
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return done

    return anyio.run(call)


def case(backend: str, name: str, place: str) -> Any:
    """A case; `exhaustive` where the quick tests leave it out."""
    number = list(BACKENDS).index(backend) + list(FAULTS).index(name)
    is_chosen = backend == EVERY_FAULT_IN or number % 8 == 0
    quick = is_chosen and place == list(PLACES)[number // 4 % len(PLACES)]
    marks = () if quick else (pytest.mark.exhaustive,)
    return pytest.param(backend, name, place, marks=marks, id=f"{backend}-{name}-{place}")


def number_in(messages: Any) -> int:
    """The number of the row, also where its answer was not valid."""
    prompt = next(message["content"] for message in messages if message["role"] == "user")
    return int(prompt.split()[1])


@pytest.mark.parametrize(
    ("backend", "name", "place"),
    [case(*it) for it in product(BACKENDS, FAULTS, PLACES) if it[:2] not in HAS_NONE],
)
def test_nothing_is_lost(
    backend: str, name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend.endswith("over httpx"):
        monkeypatch.setattr(BaseHTTPClient, "_make_transport", lambda it: OwnHttpx(it))
    server_class, fields = BACKENDS[backend]
    fault, bad = FAULTS[name], PLACES[place]
    process = psutil.Process()
    threads, children = threading.active_count(), process.children(recursive=True)
    with server_class() as server:
        server.set_answers(lambda messages: fault.reply if number_in(messages) in bad else None)
        fields = fields | {
            "endpoint": server.endpoint,
            "max_retries": 2,
            "max_concurrency": 1,  # the rows come in their order
            "give_up_after": 0.4,
        }
        slow = fault.error == "EngineTimeoutError"
        register_engine("e", timeout=0.15 if slow else 10.0, **fields)
        step = Step(
            id="a", input_model=Row, output_model=Answer, engine_name="e",
            user_prompt="row {{ number }}",
        )  # fmt: skip
        chain = Chain(name="c", steps=[step])
        done = run(chain, tmp_path / "run")
        check(done, fault, place, tmp_path / "run")
        assert eventually(lambda: server.connections == 0), "connections were left open"
        if not isinstance(done, Run) or done.stopped is not None or done.counts.failed:
            server.set_answers(None)
            register_engine("e", timeout=10.0, **fields)  # or a busy machine would retry here
            healed = run(chain, tmp_path / "run", retry_errors=True)
            assert isinstance(healed, Run)
            assert (healed.counts.ok, healed.counts.failed) == (ROWS, 0)
            asked = {request.messages[-1]["content"] for request in server.requests}
            again = ROWS if not isinstance(done, Run) else ROWS - done.counts.ok
            assert len(asked) == len(server.requests) == again, "a finished row was asked for again"
    gc.collect()
    assert eventually(lambda: threading.active_count() <= threads + 1), "a thread is left"
    assert process.children(recursive=True) == children


def check(done: Run | ChainetteError, fault: Fault, place: str, folder: Path) -> None:
    """Whether a run ended as it must."""
    bad = PLACES[place]
    failed = lines(folder / "errors.jsonl")
    answered = {line["row_id"] for line in lines(folder / "steps/a")}
    end = way_to_end(fault, place)
    if end == "raised":
        assert isinstance(done, ChainetteError)
        expected = "EngineDownError" if fault.ends == "patience" else fault.error
        assert type(done).__name__ == expected
        assert json.loads((folder / "run.json").read_text())["status"] == "failed"
        return
    assert isinstance(done, Run)
    if end == "stopped":
        assert done.stopped is not None
        assert not failed
        before = set(range(min(bad)))
        if fault.error == "AuthenticationError":  # others are answered until it is tried again
            assert before <= answered <= set(range(ROWS)) - bad
        else:
            assert answered == before
        return
    assert done.stopped is None
    assert {line["row_id"] for line in failed} == bad
    assert answered == set(range(ROWS)) - bad
    assert {line["type"] for line in failed} == {fault.error}
    assert all(line["engine"] == "e" and line["node_id"] == "a" for line in failed)
    flat = lines(folder / "flattened")
    assert [line["row_id"] for line in flat] == list(range(ROWS))
    assert (done.counts.ok, done.counts.failed) == (ROWS - len(bad), len(bad))

"""A scripted server, and an engine that does not wait long."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chainette import Chain, Step, register_engine
from chainette.engine.client import retry
from chainette.engine.client.base import BaseClient
from chainette.registry import engines as registry
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel

MakeEngine = Callable[..., BaseClient]


class Row(BaseModel):
    number: int


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.fixture(autouse=True)
def _own_registry_and_short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    monkeypatch.setattr(retry, "FIRST", 0.005)
    monkeypatch.setattr(retry, "LONGEST", 0.02)


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def make_engine(server: FakeOpenAI) -> MakeEngine:
    """Registers the engine `e` on the server, and returns its client."""

    def make(**fields: Any) -> BaseClient:
        fields = {"backend": "openai", "model": "m", "endpoint": server.endpoint, **fields}
        config = register_engine("e", **fields)
        assert isinstance(config.engine, BaseClient)
        return config.engine

    return make


@pytest.fixture
def chain() -> Chain[Row, City]:
    step = Step(
        id="city",
        input_model=Row,
        output_model=City,
        engine_name="e",
        user_prompt="City {{ number }}",
    )
    return Chain(name="cities", steps=step)


@pytest.fixture
def reply() -> Callable[..., Reply]:
    """Writes a reply with a body of JSON, or of bytes as they are."""

    def write(body: Any, status: int = 200, **headers: str) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return Reply(status=status, body=content, headers=names)

    return write

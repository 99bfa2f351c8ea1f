"""What all checks need: an engine of the backend, on a server whose answers are scripted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from chainette.engine.client.base import BaseClient
from chainette.registry import engines as registry
from chainette.testing import faults
from chainette.testing.fake_server import FakeServer

KEY = "sk-SENTINEL-0123456789abcdef"
"""The API key that no output may ever show."""
PATIENCE = 20.0
"""Seconds after which something that should end is taken to hang."""
MakeEngine = Callable[..., BaseClient]


class Checks:
    """The base of all checks.

    A subclass sets the attributes. To leave out a promise that a backend cannot keep, override the
    check and mark it `pytest.mark.xfail(reason=…)`, so that the gap is seen.

    Attributes:
        backend: Name of the backend, as its entry point has it.
        fields: Fields that its engines need, such as `model`.
        server_class: The fake server that speaks its protocol; `None` runs the checks that need no
            script against the backend as `fields` configure it, with its real model.
        http: Whether requests go over HTTP; an engine in this process has no HTTP faults.
        refusals: Whether the protocol can tell that the model refused to answer.
        failure: An answer in a script that makes one request fail.
        enforced_in_part: The hard types whose schema a real server enforces only in part, so that
            an answer may be an error that says so.
    """

    backend: ClassVar[str]
    fields: ClassVar[Mapping[str, Any]] = {}
    server_class: ClassVar[type[Any] | None] = None
    http: ClassVar[bool] = True
    refusals: ClassVar[bool] = True
    enforced_in_part: ClassVar[Sequence[str]] = ()
    failure: ClassVar[Any] = faults.status(400, "a prompt that the server does not like")

    @pytest.fixture
    def server(self) -> Iterator[Any]:
        """The fake server, or `None` when the model is a real one."""
        if self.server_class is None:
            yield None
        else:
            with self.server_class() as server:
                yield server

    @pytest.fixture
    def make_engine(
        self, server: FakeServer | None, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[MakeEngine]:
        """Makes engines of the backend; the registry is the test's own."""
        monkeypatch.setattr(registry, "_configs", {})
        monkeypatch.setattr(registry, "_clients", {})
        made: list[BaseClient] = []

        def make(**fields: Any) -> BaseClient:
            name = f"contract-{len(made)}"
            config = registry.register_engine(
                name, backend=self.backend, **self.engine_fields(server), **fields
            )
            made.append(registry.client_for(config))
            return made[-1]

        yield make
        for client in made:
            client.release()

    @pytest.fixture
    def engine(self, make_engine: MakeEngine) -> BaseClient:
        """One engine with nothing but the backend's own fields."""
        return make_engine()

    def engine_fields(self, server: FakeServer | None) -> dict[str, Any]:
        """Fields of every engine; override it when the server is found by other than `endpoint`."""
        endpoint = {} if server is None or not self.http else {"endpoint": server.endpoint}
        return {**endpoint, **self.fields}

    def needs_script(self, server: FakeServer | None) -> None:
        """Skip a check whose answers a real model cannot be told."""
        if server is None:
            pytest.skip("the answers of a real model cannot be scripted")

    def needs_http(self, server: FakeServer | None) -> None:
        """Skip a check of what only happens over HTTP."""
        self.needs_script(server)
        if not self.http:
            pytest.skip("the engine runs in this process")


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether something becomes true before patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True

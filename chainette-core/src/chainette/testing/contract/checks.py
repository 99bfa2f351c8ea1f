"""The base of all checks: an engine of the backend, on a server with scripted answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from chainette.engine.client.base import BaseClient
from chainette.plugins import discovery
from chainette.registry import engines as registry
from chainette.testing import faults
from chainette.testing.fake_server import FakeServer

KEY = "sk-SENTINEL-0123456789abcdef"
"""The API key that no output may show."""
PATIENCE = 20.0
"""Seconds after which a call counts as hanging."""
MakeEngine = Callable[..., BaseClient]


class Checks:
    """The base of all checks; a subclass sets the attributes.

    A promise that a backend cannot keep is overridden and marked, so that the gap is reported::

        @pytest.mark.xfail(reason="the server cuts answers at one megabyte")
        def test_a_huge_answer_arrives_whole(self) -> None:
            raise NotImplementedError

    An override without that mark is refused.

    Attributes:
        backend: Name of the backend, the same as that of its entry point.
        fields: Fields that its engines need, such as `model`.
        server_class: The fake server of its protocol. `None` runs the checks that need no script
            on the engine that `fields` configure, with its real model.
        http: Whether requests go over HTTP; an engine in this process has no HTTP faults.
        refusals: Whether the protocol reports that the model refused to answer.
        usage: Whether the protocol reports the tokens of a request.
        failure: An answer in a script that makes one request fail.
        enforced_in_part: Names of the hard types whose schema a real server enforces only in part;
            their answers may be errors that say so.

    Raises:
        TypeError: A check is overridden and not marked.
    """

    backend: ClassVar[str]
    fields: ClassVar[Mapping[str, Any]] = {}
    server_class: ClassVar[type[Any] | None] = None
    http: ClassVar[bool] = True
    refusals: ClassVar[bool] = True
    usage: ClassVar[bool] = True
    enforced_in_part: ClassVar[Sequence[str]] = ()
    failure: ClassVar[Any] = faults.status(400, "a prompt that the server does not like")

    def __init_subclass__(cls, **options: Any) -> None:
        """Refuse a check that is overridden and not marked `xfail` with a reason."""
        super().__init_subclass__(**options)
        for name in dir(cls):
            owners = [base for base in cls.__mro__ if name in vars(base)]
            if not (name.startswith("test_") and any(_is_ours(owner) for owner in owners)):
                continue
            if not (_is_ours(owners[0]) or _is_expected_to_fail(getattr(cls, name))):
                raise TypeError(
                    f"{owners[0].__name__} overrides the check {name}: mark the override "
                    "@pytest.mark.xfail(reason=…), so that the missing promise is reported"
                )

    @pytest.fixture
    def server(self) -> Iterator[Any]:
        """The fake server, or `None` for a real model."""
        if self.server_class is None:
            yield None
        else:
            with self.server_class() as server:
                yield server

    @pytest.fixture
    def make_engine(
        self, server: FakeServer | None, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[MakeEngine]:
        """A function that makes engines of the backend, in a registry of their own."""
        monkeypatch.setattr(registry, "_configs", {})
        monkeypatch.setattr(registry, "_clients", {})
        clients: list[BaseClient] = []

        def make(**fields: Any) -> BaseClient:
            name = f"contract-{len(clients)}"
            fields = self._key(server) | self.engine_fields(server) | fields
            config = registry.register_engine(name, backend=self.backend, **fields)
            clients.append(registry.client_for(config))
            return clients[-1]

        yield make
        for client in clients:
            client.release()

    @pytest.fixture
    def engine(self, make_engine: MakeEngine) -> BaseClient:
        """An engine with the backend's own fields alone."""
        return make_engine()

    def engine_fields(self, server: FakeServer | None) -> dict[str, Any]:
        """Fields of every engine; override it where `endpoint` does not lead to the server."""
        endpoint = {} if server is None or not self.http else {"endpoint": server.endpoint}
        return {**endpoint, **self.fields}

    def _key(self, server: FakeServer | None) -> dict[str, Any]:
        """An API key, where the client refuses to do without one and the server is a fake."""
        client = discovery.load(self.backend).client_class()
        needs_key = server is not None and getattr(client, "needs_api_key", False)
        return {"api_key": KEY} if needs_key else {}

    def needs_script(self, server: FakeServer | None) -> None:
        """Skip a check that needs scripted answers, where the model is real."""
        if server is None:
            pytest.skip("the answers of a real model cannot be scripted")

    def needs_http(self, server: FakeServer | None) -> None:
        """Skip a check of HTTP for an engine in this process."""
        self.needs_script(server)
        if not self.http:
            pytest.skip("the engine runs in this process")


def _is_ours(owner: type) -> bool:
    """Whether a class belongs to the contract itself."""
    return owner.__module__.startswith("chainette.testing.contract")


def _is_expected_to_fail(check: Any) -> bool:
    marks = getattr(check, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition becomes true within `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True

"""Fixtures for all tests of the core."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chainette.plugins import discovery
from chainette.registry import engines as registry
from hypothesis import settings

settings.register_profile("tests", deadline=None)  # other tests run at the same time
settings.register_profile("fuzz", max_examples=15_000, deadline=None)
settings.load_profile("tests")
_numbers = itertools.count()

MakePlugin = Callable[..., str]


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give every test its own registry and its own loaded plugins."""
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    monkeypatch.setattr(discovery, "_loaded", {})
    _clear_caches()
    yield
    _clear_caches()


def _clear_caches() -> None:
    discovery.installed.cache_clear()
    discovery.listeners.cache_clear()


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePlugin]:
    """Installs a distribution with entry points into a folder on sys.path."""
    modules: list[str] = []

    def make(
        source: str,
        *names: str,
        distribution: str = "",
        value: str = "{module}",
        metadata: str | None = None,
        entry_points: bytes = b"",
        group: str = discovery.GROUP,
    ) -> str:
        number = next(_numbers)
        module, distribution = f"plugin_{number}", distribution or f"plugin-{number}"
        modules.append(module)
        folder = tmp_path / module
        info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir(parents=True)
        (folder / f"{module}.py").write_text(textwrap.dedent(source))
        if metadata is None:
            metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        if metadata:
            (info / "METADATA").write_text(metadata)
        points = "".join(f"{name} = {value.format(module=module)}\n" for name in names)
        (info / "entry_points.txt").write_bytes(entry_points or f"[{group}]\n{points}".encode())
        monkeypatch.syspath_prepend(str(folder))
        _clear_caches()
        return module

    yield make
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def scripted(make_plugin: MakePlugin) -> MakePlugin:
    """Installs the backend `scripted`, which answers with the return value of a test's function."""
    make_plugin(
        """
        from chainette.engine.client.base import BaseClient
        from chainette.engine.config import EngineConfig
        from chainette.plugins.backend import Backend
        from chainette.capabilities import Capabilities
        from chainette.plugins.hookspecs import hookimpl

        answer = None  # set by the test: an async function of the request

        class Client(BaseClient):
            async def _chat(self, request):
                return await answer(request)

        @hookimpl
        def chainette_backends():
            sampling = frozenset({"temperature", "max_tokens"})
            return [Backend("scripted", EngineConfig, Client, Capabilities(sampling=sampling))]
        """,
        "scripted",
        distribution="chainette-scripted",
    )
    return make_plugin

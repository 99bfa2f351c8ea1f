"""The contract of backends, run on an installed one, as a report."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from chainette.engine.client.base import BaseClient
from chainette.engine.http.client import BaseHTTPClient
from chainette.engine.http.openai_chat import OpenAIChatClient
from chainette.errors import ConfigError, PluginError
from chainette.plugins import discovery

SERVERS = {
    "openai": "chainette.testing.servers:FakeOpenAI",
    "vllm": "chainette.testing.servers:FakeVLLM",
    "ollama": "chainette.testing.servers:FakeOllama",
    "none": "",
}
"""Fake servers by the names of their protocols."""
OURS = {"vllm_api": "vllm", "ollama_api": "ollama"}
"""The protocols of our own backends, where they are more than chat completions."""
MODULE = """
from chainette.testing.contract import BackendContract
{imported}

class TestPlugin(BackendContract):
    backend = {backend!r}
    fields = {fields!r}
    server_class = {server}
    http = {http!r}
"""


@dataclass
class Promise:
    """One check, with all values that it was tried with.

    Attributes:
        name: What is promised.
        passed: How often it was kept.
        failed: How often it was not.
        skipped: How often it could not be checked.
        reasons: Why, in words, for those that failed or were skipped.
    """

    name: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reasons: dict[str, None] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line, and one more for each reason."""
        state = "FAILED" if self.failed else "ok" if self.passed else "skipped"
        times = f" ({self.passed} of {self.passed + self.failed})" if self.failed else ""
        return "\n      ".join([f"{state:<8}{self.name}{times}", *self.reasons])


class Collector:
    """A plugin of pytest that keeps what came of every check."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one outcome."""
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        shown = name.removeprefix("test_").replace("_", " ")
        promise = self.promises.setdefault(name, Promise(shown))
        outcome = "skipped" if report.skipped else report.outcome
        setattr(promise, outcome, getattr(promise, outcome) + 1)
        if report.skipped and isinstance(report.longrepr, tuple):
            promise.reasons[report.longrepr[2].removeprefix("Skipped: ")] = None
        elif report.failed:
            said = re.findall(r"^E +(.*)", report.longreprtext, re.MULTILINE)
            promise.reasons[said[0] if said else report.longreprtext[-200:]] = None


def find_backends(package: str) -> list[str]:
    """The backends of a distribution, or the one of that name.

    Raises:
        PluginError: There is none.
    """
    if package in discovery.installed():
        return [package]
    wanted = re.sub(r"[-_.]+", "-", package).lower()
    found = [
        info.name
        for info in discovery.survey()
        if re.sub(r"[-_.]+", "-", info.distribution).lower() == wanted
    ]
    if not found:
        known = ", ".join(discovery.installed()) or "none"
        raise PluginError(f"no backend and no plugin {package!r} is installed; backends: {known}")
    return found


def check_backend(backend: str, server: str, fields: Mapping[str, Any]) -> list[Promise]:
    """Run the contract on a backend.

    Args:
        backend: Its name.
        server: Name of a fake server's protocol, `module:Class`, `none` for the server that the
            fields configure, or nothing to choose by the client's class.
        fields: Fields of its engines.

    Raises:
        PluginError: The backend cannot be loaded.
        ConfigError: There is no such server, or one has to be named.
    """
    client = discovery.load(backend).client_class()
    named = SERVERS.get(server, server) if server else _usual_server(backend, client)
    module, _, name = named.partition(":")
    try:
        imported = f"from {module} import {name}" if named else ""
        if named:
            getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        known = ", ".join(SERVERS)
        raise ConfigError(f"no fake server {server!r} ({error}); there are: {known}") from None
    source = MODULE.format(
        imported=imported,
        backend=backend,
        fields={"model": "small", **fields},
        server=name or None,
        http=issubclass(client, BaseHTTPClient),
    )
    collector = Collector()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "test_plugin.py")
        path.write_text(source)
        alone = ["-p", "no:cacheprovider", "-p", "no:terminal", "--rootdir", folder]
        options = ["-c", os.devnull, "--import-mode=importlib", "-W", "ignore"]
        pytest.main([*alone, *options, str(path)], plugins=[collector])
    return list(collector.promises.values())


def _usual_server(backend: str, client: type[BaseClient]) -> str:
    if backend in OURS or issubclass(client, OpenAIChatClient):
        return SERVERS[OURS.get(backend, "openai")]
    if issubclass(client, BaseHTTPClient):
        raise ConfigError(
            f"backend {backend!r} has a protocol of its own: name its fake server "
            "(--server module:Class), or take a real one (--server none --field endpoint=URL)"
        )
    return SERVERS["none"]

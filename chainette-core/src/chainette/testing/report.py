"""A report of the contract on an installed backend."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chainette.engine.client.base import BaseClient
from chainette.engine.http.client import BaseHTTPClient
from chainette.engine.http.openai_chat import OpenAIChatClient
from chainette.errors import ChainError, ConfigError, PluginError
from chainette.loading.importing import load_symbol
from chainette.plugins import discovery
from chainette.testing.model_error import ModelError

SERVERS = {
    "openai": "chainette.testing.servers:FakeOpenAI",
    "vllm": "chainette.testing.servers:FakeVLLM",
    "ollama": "chainette.testing.servers:FakeOllama",
    "none": "",
}
"""Fake servers by the names of their protocols."""
OURS = {"vllm_api": "vllm", "ollama_api": "ollama"}
"""Protocols of our own backends, where they are more than chat completions."""
_MODEL_ERROR = f"{ModelError.__module__}.{ModelError.__name__}: "
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
    """The results of one check, for all its parameters.

    Attributes:
        name: The check's name in words.
        passed: Number of parameters for which it passed.
        failed: Number for which it failed.
        model: Number for which a real model's answer did not fit, which is not the plugin's fault.
        skipped: Number for which it could not be run.
        reasons: The messages of those that did not pass.
    """

    name: str
    passed: int = 0
    failed: int = 0
    model: int = 0
    skipped: int = 0
    reasons: dict[str, None] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line, and one more for each reason."""
        missed = self.failed + self.model
        results = [("FAILED", self.failed), ("model", self.model), ("ok", self.passed)]
        state = next((state for state, number in results if number), "skipped")
        times = f" ({self.passed} of {self.passed + missed})" if missed else ""
        return "\n      ".join([f"{state:<8}{self.name}{times}", *self.reasons])


class Collector:
    """A pytest plugin that collects the results of every check."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise] = {}
        self.problem: str = ""

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep the reason why checks cannot be collected."""
        if report.failed:
            self.problem = report.longreprtext.strip().rpartition("\n")[2].removeprefix("E ")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Mark the report of a failure whose cause is the answer of a real model."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, ModelError):
            report.user_properties.append(("model", True))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a result."""
        if report.when != "call" and report.passed:
            return
        name = report.nodeid.rpartition("::")[2].partition("[")[0]
        shown = name.removeprefix("test_").replace("_", " ")
        promise = self.promises.setdefault(name, Promise(shown))
        outcome = "model" if ("model", True) in report.user_properties else report.outcome
        setattr(promise, outcome, getattr(promise, outcome) + 1)
        if report.skipped and isinstance(report.longrepr, tuple):
            promise.reasons[report.longrepr[2].removeprefix("Skipped: ")] = None
        elif report.failed:
            lines = re.findall(r"^E +(.*)", report.longreprtext, re.MULTILINE)
            reason = lines[0] if lines else report.longreprtext[-200:]
            promise.reasons[reason.removeprefix(_MODEL_ERROR)] = None


def find_backends(package: str) -> list[str]:
    """The backends of a distribution, or the backend of that name.

    Raises:
        PluginError: No backend and no distribution has the name.
    """
    if package in discovery.names():
        return [package]
    distribution = re.sub(r"[-_.]+", "-", package).lower()
    backends = [
        info.name
        for info in discovery.survey()
        if re.sub(r"[-_.]+", "-", info.distribution).lower() == distribution
    ]
    if not backends:
        known = ", ".join(discovery.names()) or "none"
        raise PluginError(f"no backend and no plugin {package!r} is installed; backends: {known}")
    return backends


def check_backend(backend: str, server: str, fields: Mapping[str, Any]) -> list[Promise]:
    """Run the contract on a backend.

    Args:
        backend: Its name.
        server: Name of a fake server's protocol, `module:Class`, `none` for the server that the
            fields configure, or an empty text to choose by the client's class.
        fields: Fields of its engines.

    Raises:
        PluginError: The backend cannot be loaded, or the checks cannot run.
        ConfigError: The fake server does not exist, or one has to be named.
    """
    client = discovery.load(backend).client_class()
    reference = SERVERS.get(server, server) if server else _usual_server(backend, client)
    module, _, name = reference.partition(":")
    try:
        imported = f"from {module} import {name}" if reference else ""
        if reference:
            load_symbol(reference)
    except ChainError as error:
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
    code = _run_checks(source, collector)
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not collector.promises:
        reason = collector.problem or f"pytest ended with {pytest.ExitCode(code).name}"
        raise PluginError(f"backend {backend!r} could not be checked: {reason}")
    return list(collector.promises.values())


def _run_checks(source: str, collector: Collector) -> int:
    with tempfile.TemporaryDirectory() as folder, _own_options():
        path = Path(folder, "test_plugin.py")
        path.write_text(source)
        alone = ["-p", "no:cacheprovider", "-p", "no:terminal", "--rootdir", folder]
        options = ["-c", os.devnull, "--import-mode=importlib", "-W", "ignore"]
        return pytest.main([*alone, *options, str(path)], plugins=[collector])


@contextmanager
def _own_options() -> Iterator[None]:
    """Leave out what the environment adds to every call of pytest."""
    names = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
    added = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(added)


def _usual_server(backend: str, client: type[BaseClient]) -> str:
    if backend in OURS or issubclass(client, OpenAIChatClient):
        return SERVERS[OURS.get(backend, "openai")]
    if issubclass(client, BaseHTTPClient):
        raise ConfigError(
            f"backend {backend!r} has a protocol of its own: name its fake server "
            "(--server module:Class), or take a real one (--server none --field endpoint=URL)"
        )
    return SERVERS["none"]

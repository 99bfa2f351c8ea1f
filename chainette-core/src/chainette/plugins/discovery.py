"""Finding and loading the installed backends, one entry point at a time.

Names come from the metadata of the installed distributions: no plugin is imported before one of
its backends is used or described, and what goes wrong in one stays with that one.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple, TypeAlias

import importlib_metadata
import pluggy

from chainette.errors import PluginError, UnknownBackendError
from chainette.plugins import hookspecs
from chainette.plugins.backend import API_VERSION, Backend
from chainette.text import did_you_mean, printable

_logger = logging.getLogger(__name__)

GROUP = "chainette.backends"
LISTENERS = "chainette.listeners"
"""Group of the plugins that are told what happens in runs."""

OURS = {
    "openai": "chainette-openai",
    "vllm_api": "chainette-vllm",
    "vllm_local": "chainette-vllm-local",
    "ollama_api": "chainette-ollama",
    "ollama": "chainette-ollama",
}
"""Backends of this project and their distributions."""

IN_PROCESS = "registered in this process"
"""Distribution that is shown for a backend that has none."""

Listener: TypeAlias = tuple[str, Callable[..., Any]]
"""Name of a plugin, and its hook."""
State: TypeAlias = Literal["ok", "conflict", "broken", "incompatible"]


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A backend's entry point, and the backend where it could be loaded.

    Attributes:
        name: Name of the backend.
        distribution: Name of the distribution that brings it, or `IN_PROCESS`.
        version: Version of that distribution; empty for a registered backend.
        entry_point: Target of the entry point, `module` or `module:object`; empty likewise.
        state: Whether the backend can be used: `ok`, `conflict`, `broken` or `incompatible`.
        reason: Why it cannot be used, else empty.
        backend: The backend, if it can be used.
    """

    name: str
    distribution: str
    version: str
    entry_point: str
    state: State = "ok"
    reason: str = ""
    backend: Backend | None = None


class Installed(NamedTuple):
    """An entry point that is installed.

    Attributes:
        distribution: Name of its distribution.
        version: Version of that distribution.
        entry_point: The object that loads it.
    """

    distribution: str
    version: str
    entry_point: Any


@cache
def installed(group: str = GROUP) -> dict[str, list[Installed]]:
    """Entry points by name, those of backends by default; nothing is imported."""
    points: dict[str, dict[str, Installed]] = {}
    for distribution in importlib_metadata.distributions():
        try:
            entry_points = distribution.entry_points.select(group=group)
            if not entry_points:
                continue
            headers = _headers(distribution)
            project, version = headers["name"], headers["version"]
        except Exception as error:  # half removed, or damaged: it hides no other
            _logger.debug("a distribution is left out, its metadata cannot be read: %r", error)
            continue
        for entry_point in entry_points:
            # One distribution can be seen twice, on two folders of sys.path: the first one counts.
            owner = re.sub(r"[-_.]+", "-", project).lower()
            point = Installed(project, version, entry_point)
            points.setdefault(printable(entry_point.name), {}).setdefault(owner, point)
    return {name: list(owners.values()) for name, owners in sorted(points.items())}


def _headers(distribution: Any) -> dict[str, str]:
    """The headers of a distribution's metadata, by lower-case name.

    `distribution.metadata` would import a parser of emails, which takes 8% of `engines list`: the
    command would not meet its bar in benchmarks/startup.py.
    """
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    lines = text.partition("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in pairs}


def register_backend(backend: Backend) -> None:
    """Make a backend usable in this process without a distribution, as in a script or notebook.

    It takes precedence over an installed backend of the same name, and replaces one that was
    registered before. Engines that have a client already keep it.

    Args:
        backend: The backend.

    Raises:
        PluginError: Its classes or its API version do not fit this version of Chainette.
    """
    if reason := _version_mismatch(backend) or _mismatch(backend):
        raise PluginError(f"backend {backend.name!r}: {reason}")
    with _lock:
        _registered[backend.name] = backend


def load(name: str) -> Backend:
    """Import the plugin of a backend and return the backend.

    Raises:
        PluginError: The backend is not installed, in conflict, broken or incompatible.
    """
    if name in _registered:
        return _registered[name]
    points = installed().get(name)
    if not points:
        raise (PluginError if name in OURS else UnknownBackendError)(_missing(name))
    info = _describe(name, points)[0]
    reason = info.reason if info.backend is None else _mismatch(info.backend)
    if info.backend is None or reason:
        raise PluginError(f"backend {name!r} of {info.distribution} {info.version}: {reason}")
    return info.backend


def survey() -> list[PluginInfo]:
    """Describe every backend, installed or registered, with its state; a broken one hurts no other.

    The modules of configurations and clients that are given by name are looked for, not imported.
    """
    registered = dict(_registered)
    infos = [
        info
        for name, points in installed().items()
        if name not in registered
        for info in _describe(name, points)
    ]
    infos += [
        PluginInfo(printable(name), IN_PROCESS, "", "", backend=backend)
        for name, backend in registered.items()
    ]
    return sorted(infos, key=lambda info: info.name)


def names() -> list[str]:
    """Names of the backends that are installed or registered; nothing is imported."""
    return sorted({*installed(), *_registered})


@cache
def listeners() -> list[Listener]:
    """The plugins that implement `chainette_event`; a broken one is left out with a warning."""
    hooks: list[Listener] = []
    for name, points in installed(LISTENERS).items():
        for point in points:
            try:
                caller = _manager(point.entry_point.load()).hook.chainette_event
                hooks += [(name, caller)] if caller.get_hookimpls() else []
            except (Exception, SystemExit) as error:  # a plugin can raise anything
                _logger.warning("listener %r is broken: %s", name, printable(repr(error)))
    return hooks


def not_installed() -> dict[str, str]:
    """Backends of this project that are missing, and their distributions."""
    known = names()
    return {name: distribution for name, distribution in OURS.items() if name not in known}


def _describe(name: str, points: list[Installed]) -> list[PluginInfo]:
    if len(points) == 1:
        return [_load(name, points[0])]
    owners = (printable(f"{point.distribution} {point.version}") for point in points)
    reason = f"{' and '.join(owners)} both provide {name!r}: uninstall one of them"
    return [_info(name, point, state="conflict", reason=reason) for point in points]


_lock = threading.RLock()
_loaded: dict[str, PluginInfo] = {}
_registered: dict[str, Backend] = {}


def _load(name: str, point: Installed) -> PluginInfo:
    with _lock:
        if name not in _loaded:
            try:
                backend = _find_backend(name, point.entry_point.load())
                reason = _version_mismatch(backend) or _missing_modules(backend)
            except (Exception, SystemExit) as error:  # a plugin can raise anything
                reason = printable(f"{type(error).__name__}: {error}")
                _loaded[name] = _info(name, point, state="broken", reason=reason)
            else:
                _loaded[name] = (
                    _info(name, point, state="incompatible", reason=reason)
                    if reason
                    else _info(name, point, backend=backend)
                )
        return _loaded[name]


def _manager(plugin: Any) -> pluggy.PluginManager:
    """A manager for one plugin, which no other plugin can disturb.

    Pluggy wants the plugins of one manager to be hashable, and a hook that does not exist in one of
    them is an error of all. A manager of its own costs no measurable time.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()  # an implementation of a hook that does not exist
    return manager


def _find_backend(name: str, plugin: Any) -> Backend:
    backends = [
        backend for answer in _manager(plugin).hook.chainette_backends() for backend in answer
    ]
    if not backends:
        raise PluginError("it has no @hookimpl of chainette_backends that returns a backend")
    for backend in backends:
        if not isinstance(backend, Backend):
            raise PluginError(f"chainette_backends returned {backend!r}, not a Backend")
        if backend.name == name:
            return backend
    names = ", ".join(repr(backend.name) for backend in backends)
    raise PluginError(f"its entry point is named {name!r}, its backends are named {names}")


def _version_mismatch(backend: Backend) -> str:
    if backend.api_version == API_VERSION:
        return ""
    return (
        f"it is written for plugin API version {backend.api_version}, "
        f"this chainette has {API_VERSION}: upgrade the older of the two"
    )


def _missing_modules(backend: Backend) -> str:
    """The reason why a backend's classes cannot be right, as far as that is known unimported."""
    for reference in (backend.config, backend.client):
        if not isinstance(reference, str):
            return _mismatch(backend)
        module, colon, name = reference.partition(":")
        if not (colon and name) or find_spec(module) is None:
            return f"{reference!r} does not exist; classes are named module:Class"
    return ""


def _mismatch(backend: Backend) -> str:
    """The reason why this core cannot use a backend's classes, or an empty string."""
    from chainette.engine.client.base import BaseClient
    from chainette.engine.config import EngineConfig

    try:
        config, client = backend.config_class(), backend.client_class()
    except (Exception, SystemExit) as error:  # a plugin can raise anything
        return printable(f"{type(error).__name__}: {error}")
    if not (isinstance(config, type) and issubclass(config, EngineConfig)):
        return f"its config {config!r} is not a subclass of EngineConfig"
    if not (isinstance(client, type) and issubclass(client, BaseClient)):
        return f"its client {client!r} is not a subclass of BaseClient"
    return ""


def _info(name: str, point: Installed, **fields: Any) -> PluginInfo:
    return PluginInfo(
        name,
        printable(point.distribution),
        printable(point.version),
        printable(point.entry_point.value),
        **fields,
    )


def _missing(name: str) -> str:
    known = ", ".join(names()) or "none"
    if name in OURS:
        what = f"backend {name!r} is not installed (pip install {OURS[name]})"
    else:
        what = f"unknown backend {name!r}{did_you_mean(name, {*names(), *OURS})}"
    return f"{what}; installed backends: {known}"

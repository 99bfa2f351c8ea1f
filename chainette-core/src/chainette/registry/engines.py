"""The engines that are registered, and their clients."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from chainette.engine.config import EngineConfig, set_client_factory
from chainette.errors import ConfigError, PluginError, UnknownEngineError
from chainette.plugins import discovery
from chainette.text import did_you_mean
from chainette.validation import problems

if TYPE_CHECKING:
    from chainette.engine.client.base import BaseClient
    from chainette.plugins.backend import Backend

_logger = logging.getLogger(__name__)

_lock = threading.RLock()
_configs: dict[str, EngineConfig | PluginError] = {}
_clients: dict[str, tuple[EngineConfig, BaseClient]] = {}
"""By the engine's name, its client and the configuration that was asked for."""
_made: set[str] = set()
"""Names of engines that were made for a block, and that no block has used yet."""
NONE = "; register it with register_engine(…), or read a file of engines with load_engines(FILE)"


def register_engine(name: str, **fields: Any) -> EngineConfig:
    """Register an engine under a name, in place of an earlier one of that name.

    Args:
        name: The name that steps refer to.
        **fields: Fields of the backend's configuration class; `backend` is required.

    Returns:
        The checked configuration.

    Raises:
        PluginError: The backend is not installed, in conflict, broken or incompatible.
        ConfigError: A field is unknown, missing or wrong; all mistakes are named at once.
    """
    mistakes: list[tuple[str, str]] = []
    config = checked_config({"name": name, **fields}, mistakes)
    if config is None:
        raise ConfigError("\n".join(f"engine {name!r}: {message}" for _, message in mistakes))
    add(name, config)
    return config


def add(name: str, config: EngineConfig | PluginError) -> None:
    """Put a checked configuration, or the reason why it cannot be used, into the registry."""
    with _lock:
        _configs[name] = config
        old = _clients.pop(name, None)
    if old is not None:
        old[1].release()


def made(name: str) -> None:
    """Take note that an engine was made for a block, which has yet to begin."""
    _made.add(name)


@contextmanager
def replaced(client: BaseClient) -> Iterator[None]:
    """Use a client for the engine of its name until the block ends, then what was there before."""
    name = client.config.name
    with _lock:
        _made.discard(name)
        config_before, client_before = _configs.get(name), _clients.get(name)
        _configs[name], _clients[name] = client.config, (client.config, client)
    try:
        yield
    finally:
        with _lock:
            del _configs[name], _clients[name]
            if config_before is not None:
                _configs[name] = config_before
            if client_before is not None:
                _clients[name] = client_before


def get_engine_config(name: str) -> EngineConfig:
    """Return the configuration that is registered under a name.

    Raises:
        UnknownEngineError: The name is not registered.
        PluginError: Its backend is not installed, in conflict, broken or incompatible.
    """
    with _lock:
        config = _configs.get(name)
        known = ", ".join(_configs) or "none"
    if config is None:
        way = "" if _configs else NONE
        if name in _made:
            way = f"; fake_engine({name!r}) is one inside its block: with fake_engine({name!r}): …"
        raise UnknownEngineError(
            f"unknown engine {name!r}{did_you_mean(name, _configs)}; registered engines: {known}"
            f"{way}"
        )
    if isinstance(config, PluginError):
        raise config
    return config


def get_engine(name: str) -> BaseClient:
    """Return the client of the engine that is registered under a name.

    Raises:
        UnknownEngineError: The name is not registered.
        PluginError: Its backend is not installed, in conflict, broken or incompatible.
        ConfigError: The API key is missing.
    """
    return client_for(get_engine_config(name))


def engine_names() -> list[str]:
    """Names of the registered engines."""
    with _lock:
        return list(_configs)


def checked_config(fields: dict[str, Any], mistakes: list[tuple[str, str]]) -> EngineConfig | None:
    """Make a backend's configuration from plain fields.

    Args:
        fields: The fields, `backend` among them.
        mistakes: Receives a pair of key and message for every mistake.

    Returns:
        The configuration, or `None` when there are mistakes.

    Raises:
        PluginError: The backend is not installed, in conflict, broken or incompatible.
    """
    backend_name = fields.get("backend")
    if not isinstance(backend_name, str) or not backend_name:
        mistakes.append(("", "'backend' is missing; see `chainette engines list`"))
        return None
    backend = discovery.load(backend_name)
    try:
        config = backend.config_class().model_validate(fields)
    except ValidationError as error:
        mistakes += problems(error, known=backend.config_class().model_fields)
        return None
    return _without_missing_reasoning(config, backend)


def client_for(config: EngineConfig) -> BaseClient:
    """The client of a configuration; one that is the same gets the same client.

    Raises:
        PluginError: The backend is not installed, in conflict, broken or incompatible.
        ConfigError: The fields do not fit the backend, or the API key is missing.
    """
    with _lock:
        asked, client = _clients.get(config.name, (None, None))
        if client is None or config not in (asked, client.config):
            if client is not None:
                client.release()
            client = new_client(config)
            _clients[config.name] = config, client
        return client


set_client_factory(client_for)


def new_client(config: EngineConfig) -> BaseClient:
    """A client that the registry does not keep; see `client_for`."""
    backend = discovery.load(config.backend)
    if not isinstance(config, backend.config_class()):  # a plain EngineConfig
        mistakes: list[tuple[str, str]] = []
        values = {name: getattr(config, name) for name in config.model_fields_set}
        checked = checked_config(values, mistakes)
        if checked is None:
            raise ConfigError(
                "\n".join(f"engine {config.name!r}: {message}" for _, message in mistakes)
            )
        config = checked
    config = _without_missing_reasoning(config, backend)
    return backend.client_class()(config, backend.capabilities)


def _without_missing_reasoning(config: EngineConfig, backend: Backend) -> EngineConfig:
    """The configuration with `enable_reasoning` off, and a warning, if the backend has none."""
    if not config.enable_reasoning or backend.capabilities.reasoning:
        return config
    _logger.warning(
        "engine %r: backend %r does not report reasoning; enable_reasoning is switched off",
        config.name,
        backend.name,
    )
    return config.model_copy(update={"enable_reasoning": False})

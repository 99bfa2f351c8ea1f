"""The record by which a plugin describes a backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, overload

from chainette.capabilities import Capabilities
from chainette.text import names_keywords

if TYPE_CHECKING:
    from chainette.engine.client.base import BaseClient
    from chainette.engine.config import EngineConfig

ConfigT = TypeVar("ConfigT", bound="EngineConfig")

API_VERSION = 1
"""Version of the contract between the core and its plugins."""


@names_keywords
@dataclass(frozen=True, slots=True, init=False)
class Backend:
    """One backend of a plugin.

    Attributes:
        name: The backend's name; the same as the name of its entry point.
        config: Its configuration class, or the class's name as `module:Class`. A module that is
            named is imported when an engine of the backend is used, so that listing stays fast.
        client: Its client class, likewise; its constructor takes the configuration class.
        capabilities: The capabilities of its engines.
        summary: One line for `chainette engines list`.
        api_version: Version of the plugin contract that it was written for.
    """

    name: str
    config: type[EngineConfig] | str
    client: type[BaseClient[Any]] | str
    capabilities: Capabilities
    summary: str
    api_version: int

    @overload
    def __init__(
        self,
        name: str,
        config: type[ConfigT],
        client: Callable[[ConfigT, Capabilities], BaseClient[Any]],
        capabilities: Capabilities | None = None,
        summary: str = "",
        api_version: int = API_VERSION,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        config: str,
        client: str,
        capabilities: Capabilities | None = None,
        summary: str = "",
        api_version: int = API_VERSION,
    ) -> None: ...
    def __init__(
        self,
        name: str,
        config: Any,
        client: Any,
        capabilities: Capabilities | None = None,
        summary: str = "",
        api_version: int = API_VERSION,
    ) -> None:
        values = (name, config, client, capabilities or Capabilities(), summary, api_version)
        for field, value in zip(dataclasses.fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)

    def config_class(self) -> type[EngineConfig]:
        """The configuration class, imported where only its name is given."""
        config: type[EngineConfig] = _imported(self.config)
        return config

    def client_class(self) -> type[BaseClient[Any]]:
        """The client class, imported where only its name is given."""
        client: type[BaseClient[Any]] = _imported(self.client)
        return client


def _imported(reference: Any) -> Any:
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)

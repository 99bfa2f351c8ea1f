"""Engines from YAML: `engines.yml`, and the `engines:` section of a chain."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

from chainette.engine.config import EngineConfig
from chainette.errors import ConfigError, PluginError, UnknownBackendError
from chainette.registry import engines as registry
from chainette.yaml_source import Location, YamlSource, expand, misspelt_variable, read_yaml

_logger = logging.getLogger(__name__)


def load_engines(path: str | Path) -> list[EngineConfig]:
    """Register the engines of a YAML file: a list of them, or one under `engines:`.

    `${VAR}` and `${VAR:-default}` are replaced by environment variables. An engine whose backend
    is not installed or broken does not stop the others: using that engine is the error.

    Args:
        path: The file.

    Returns:
        The configurations that can be used.

    Raises:
        ConfigError: The file cannot be read, or has mistakes; all of them are named at once, each
            with file, line and engine.
    """
    return register_all(_read_engines(path))


def load_missing_engines(
    path: str | Path, names: Collection[str] | None = None
) -> dict[str, EngineConfig | PluginError]:
    """Register those engines of a YAML file whose names have no engine yet.

    Args:
        path: The file.
        names: The names to look for; by default all of the file.

    Returns:
        By name, the configurations, and the reasons of those whose plugin cannot be used.

    Raises:
        ConfigError: As in `load_engines`.
    """
    registered = registry.engine_names()
    missing = {
        name: config
        for name, config in _read_engines(path).items()
        if name not in registered and (names is None or name in names)
    }
    register_all(missing)
    return missing


def register_all(engines: dict[str, EngineConfig | PluginError]) -> list[EngineConfig]:
    """Register checked engines and return the usable ones."""
    for name, config in engines.items():
        registry.add(name, config)
    return [config for config in engines.values() if isinstance(config, EngineConfig)]


def _read_engines(path: str | Path) -> dict[str, EngineConfig | PluginError]:
    source = read_yaml(path, ConfigError)
    section: Location = ()
    entries = source.data
    if isinstance(entries, dict):
        unknown = [key for key in entries if key != "engines"]
        if unknown or "engines" not in entries:
            raise ConfigError(
                f"{source.place()}: expected a list of engines, or one under engines:"
            )
        section, entries = ("engines",), entries["engines"]
    mistakes: list[str] = []
    engines = check_engines(source, entries, section, mistakes)
    raise_mistakes(source, mistakes, ConfigError)
    return engines


def raise_mistakes(source: YamlSource, mistakes: list[str], error: type[Exception]) -> None:
    """Raise one exception that lists all mistakes of a file, if there are any."""
    different = list(dict.fromkeys(mistakes))
    if len(different) == 1:
        raise error(different[0])
    if different:
        listing = "\n".join(f"  {line}" for line in different)
        raise error(f"{source.path} has {len(different)} mistakes:\n{listing}")


def check_engines(
    source: YamlSource, entries: Any, section: Location, mistakes: list[str]
) -> dict[str, EngineConfig | PluginError]:
    """Check the engines of a YAML file without registering them.

    Args:
        source: The file.
        entries: Its list of engines.
        section: Location of the list.
        mistakes: Receives every mistake, with file, line and engine.

    Returns:
        By name, the configurations, and the reasons of those whose plugin cannot be used.
    """
    engines: dict[str, EngineConfig | PluginError] = {}
    if not isinstance(entries, list):
        mistakes.append(f"{source.place(section)}: expected a list of engines")
        return engines
    _warn_of_readable_keys(source, entries, section)
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        where = (*section, index)
        wrong = _doubtful(source, where)
        fields = _expanded(entry, wrong)
        if (problem := _about_name(fields, seen)) is not None:
            mistakes.append(f"{source.place((*where, 'name'))}: {problem}")
        else:
            seen.add(fields["name"])
            config = _check_engine(fields, wrong)
            mistakes += [
                f"{source.place((*where, *place))}: engine {fields['name']!r}: {message}"
                for place, message in wrong
            ]
            if config is not None:
                engines[fields["name"]] = config
    return engines


def _about_name(fields: Any, seen: Collection[str]) -> str | None:
    """What is wrong with the name of an engine, or `None`."""
    name = fields.get("name") if isinstance(fields, dict) else None
    if name is None:
        return "an engine is a mapping with a 'name'"
    if not isinstance(name, str):
        return f"the name {name!r} is not a text: put it in quotes"
    return f"engine {name!r}: a second engine of that name" if name in seen else None


def _warn_of_readable_keys(source: YamlSource, entries: list[Any], section: Location) -> None:
    """Warn of an API key in a file that other users can read."""
    mode = source.path.stat().st_mode
    if os.name == "nt" or not mode & (stat.S_IRGRP | stat.S_IROTH):
        return
    for index, entry in enumerate(entries):
        key = entry.get("api_key") if isinstance(entry, dict) else None
        if isinstance(key, str) and key and "${" not in key:
            _logger.warning(
                "%s: engine %r: the file contains an API key and is readable by other users: use "
                "api_key_env, or chmod 600 the file",
                source.place((*section, index, "api_key")),
                entry.get("name"),
            )


def _expanded(entry: Any, mistakes: list[tuple[Location, str]]) -> Any:
    for key, value in entry.items() if isinstance(entry, dict) else ():
        if (message := misspelt_variable(value)) is not None:
            mistakes.append(((key,), message))
    return expand(entry, lambda place, message: mistakes.append((place, message)))


def _doubtful(source: YamlSource, where: Location) -> list[tuple[Location, str]]:
    """Values inside a field, which go to the server as they are, and that may mean two things."""
    depth = len(where)
    found = []
    for location, text in source.doubtful.items():
        if location[:depth] == where and len(location) > depth + 1:
            form = "true or false" if text.isalpha() else "a plain number"
            message = f"{text!r} is not clear: write {form}, or put it in quotes"
            found.append((location[depth:], message))
    return found


def _check_engine(
    fields: dict[str, Any], mistakes: list[tuple[Location, str]]
) -> EngineConfig | PluginError | None:
    wrong: list[tuple[str, str]] = []
    config: EngineConfig | PluginError | None = None
    try:
        config = registry.checked_config(fields, wrong)
    except UnknownBackendError as error:
        wrong.append(("backend", str(error)))
    except PluginError as error:  # the engine is unusable here; the file has no mistake there
        config = PluginError(f"engine {fields['name']!r}: {error}")
    mistakes += [(tuple(key.split(".")) if key else (), message) for key, message in wrong]
    return None if mistakes else config

"""The engines that commands use: from `--engines`, from the chain, and from `./engines.yml`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from chainette.cli.say import say

if TYPE_CHECKING:
    from chainette.engine.config import EngineConfig

DEFAULT = Path("engines.yml")
"""File of engines in the current folder, for names that have no engine otherwise."""

EnginesOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--engines",
        "-e",
        envvar="CHAINETTE_ENGINES",
        show_envvar=False,
        help="YAML file of engines. ./engines.yml supplies missing ones.",
    ),
]


def provide_engines(
    file: Path | None, names: Collection[str] | None = None, *, as_json: bool = False
) -> list[EngineConfig]:
    """Register the engines of a file, then those of `./engines.yml` for names that are missing.

    Call it after loading a chain, so that the file's engines replace the chain's own.

    Args:
        file: The file that the user named.
        names: Names of the engines that the command needs; by default any.
        as_json: Whether stderr has JSON lines.

    Returns:
        The engines of both files that can be used.

    Raises:
        ConfigError: A file cannot be read, or has mistakes.
    """
    has_default = DEFAULT.is_file() and not (
        file is not None and file.exists() and DEFAULT.samefile(file)
    )
    if file is None and not has_default:
        return []
    from chainette.engine.config import EngineConfig
    from chainette.registry.config_file import load_engines, load_missing_engines
    from chainette.registry.engines import engine_names

    configs = load_engines(file) if file is not None else []
    if not has_default or (names is not None and set(names) <= set(engine_names())):
        return configs
    supplied = load_missing_engines(DEFAULT, names)
    if names is not None and not set(names) <= set(engine_names()):
        load_missing_engines(DEFAULT)  # so that the error about a name can say which there are
    if supplied:
        _announce(list(supplied), as_json)
    return [*configs, *(it for it in supplied.values() if isinstance(it, EngineConfig))]


def _announce(names: list[str], as_json: bool) -> None:
    line = f"engines from ./{DEFAULT}: {', '.join(names)}"
    if as_json:
        import json

        line = json.dumps({"event": "engines", "file": f"./{DEFAULT}", "names": names})
    say(line, err=True)

"""Finding chains and models by name: `file.py:name`, `module:name`, `chain.yaml`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from chainette.errors import ChainError, ChainetteError
from chainette.names import did_you_mean
from chainette.pipeline.chain import Chain

YAML = (".yaml", ".yml")


def load_chain(target: str | Path) -> Chain:
    """Load a chain and register the engines that come with it.

    Args:
        target: `file.py:name`, `module:name` (`:name` may be left out where there is one chain),
            or the path of a chain in YAML.

    Raises:
        ChainError: There is no such file, module or chain, or it does not load.
        ConfigError: An engine of a YAML chain is wrongly configured.
    """
    if Path(target).suffix in YAML:
        from chainette.pipeline.yaml_chain import load_yaml_chain

        return load_yaml_chain(target).chain
    source, _, name = _split(str(target))
    module = load_module(source)
    chains = {key: value for key, value in vars(module).items() if isinstance(value, Chain)}
    if name:
        if name not in chains:
            known = ", ".join(chains) or "none"
            hint = did_you_mean(name, chains)
            raise ChainError(f"{source}: no chain named {name!r}{hint}; there are: {known}")
        return chains[name]
    if len(set(map(id, chains.values()))) != 1:
        known = ", ".join(chains) or "none"
        raise ChainError(f"{source}: say which chain, as {source}:NAME; there are: {known}")
    return next(iter(chains.values()))


def load_symbol(reference: str) -> Any:
    """Load `module:name`.

    Raises:
        ChainError: There is no such module or name.
    """
    source, colon, name = _split(reference)
    if not colon or not name:
        raise ChainError(f"{reference!r}: expected module:name")
    module = load_module(source)
    if not hasattr(module, name):
        hint = did_you_mean(name, vars(module))
        raise ChainError(f"{source}: there is no {name!r}{hint}")
    return getattr(module, name)


def _split(target: str) -> tuple[str, str, str]:
    """Source, colon and name; the colon of a Windows drive is none."""
    source, colon, name = target.rpartition(":")
    return (source, colon, name) if len(source) > 1 else (target, "", "")


def load_module(source: str) -> ModuleType:
    """Import a module by its name, or a Python file by its path.

    Raises:
        ChainError: It does not exist, or importing it fails.
    """
    is_file = source.endswith(".py") or "/" in source or "\\" in source
    path = Path(source)
    if is_file and not path.is_file():
        what = "is a directory" if path.is_dir() else "there is no such file"
        raise ChainError(f"{source}: {what}")
    try:
        return _load_file(path) if is_file else _import(source)
    except ChainetteError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's module does
        raise ChainError(f"{source}: {_blame(error)}") from error


def _load_file(path: Path) -> ModuleType:
    folder = str(path.parent.resolve())
    if folder not in sys.path:  # as `python file.py` does
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ChainError(f"{path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # Pydantic resolves annotations through it
    spec.loader.exec_module(module)
    return module


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _blame(error: BaseException) -> str:
    """What was raised and where, in one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"

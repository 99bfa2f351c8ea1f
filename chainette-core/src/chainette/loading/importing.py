"""Modules and their names: `module:name`, `file.py:name`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from chainette.errors import ChainError, ChainetteError
from chainette.text import did_you_mean


def load_symbol(reference: str) -> Any:
    """Load `module:name`.

    Raises:
        ChainError: There is no such module or name.
    """
    source, colon, name = split_target(reference)
    if not colon or not name:
        raise ChainError(f"{reference!r}: expected module:name")
    module = load_module(source)
    if not hasattr(module, name):
        hint = did_you_mean(name, vars(module))
        raise ChainError(f"{source}: there is no {name!r}{hint}")
    return getattr(module, name)


def split_target(target: str) -> tuple[str, str, str]:
    """Source, colon and name; the colon of a Windows drive does not count."""
    source, colon, name = target.rpartition(":")
    is_drive = len(source) < 2 and not name.isidentifier()
    return (target, "", "") if is_drive or not colon else (source, colon, name)


def load_module(source: str) -> ModuleType:
    """Import a module by its name, or a Python file by its path.

    Raises:
        ChainError: It does not exist, or importing it fails.
    """
    if not source.strip() or source in (".", ".."):
        raise ChainError(f"{source!r}: expected file.py:name, module:name or chain.yaml")
    is_file = source.endswith(".py") or "/" in source or "\\" in source
    path = Path(source)
    if is_file and not path.is_file():
        problem = "is a directory" if path.is_dir() else "there is no such file"
        raise ChainError(f"{source}: {problem}")
    try:
        return _load_file(path) if is_file else _import(source)
    except ChainetteError:
        raise
    except (Exception, SystemExit) as error:  # the user's module can raise anything
        raise ChainError(f"{source}: {_blame(error)}") from error


def _load_file(path: Path) -> ModuleType:
    folder = str(path.parent.resolve())
    if folder not in sys.path:  # as `python file.py` does
        sys.path.insert(0, folder)
    # A file called json.py must not take the place of Python's own module.
    name = path.stem if _is_free(path) else f"{path.stem} (chain)"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ChainError(f"{path}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Pydantic resolves annotations through it
    _files.add(name)
    spec.loader.exec_module(module)
    return module


_files: set[str] = set()


def _is_free(path: Path) -> bool:
    """Whether no module but this file, or another chain, has the name of a file."""
    loaded = sys.modules.get(path.stem)
    if path.stem in _files or loaded is None:
        return path.stem not in sys.stdlib_module_names
    return getattr(loaded, "__file__", None) == str(path.resolve())


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _blame(error: BaseException) -> str:
    """The exception and its line of code, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = (__file__, importlib.__file__)
    places = [
        f" ({it.filename}:{it.lineno})"
        for it in frames
        if it.filename not in own and not it.filename.startswith("<frozen")
    ]
    return f"{type(error).__name__}: {error}{places[-1] if places else ''}"

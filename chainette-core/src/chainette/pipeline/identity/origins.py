"""Where code comes from: the user's own modules, or what is installed."""

from __future__ import annotations

import site
import sys
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import importlib_metadata

_QUIET = frozenset(
    {"chainette", "pydantic", "pydantic_core", "typing_extensions", "annotated_types"}
)
"""Distributions whose other versions read a chain in the same way, as far as it can be seen."""


@cache
def _installed_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_paths().get(name) for name in names]
    return tuple(Path(it).resolve() for it in (*folders, site.getusersitepackages()) if it)


@cache
def is_own_file(path: str | None) -> bool:
    """Whether a file of code belongs to the user: it is neither installed nor part of Python."""
    if path is None or path.startswith("<frozen"):
        return False
    resolved = Path(path).resolve()
    return not any(resolved.is_relative_to(folder) for folder in _installed_folders())


def is_own(name: str | None) -> bool:
    """Whether a module belongs to the user; one without a file is a notebook or a prompt."""
    if not name or name.partition(".")[0] in _QUIET or name == "builtins":
        return False
    if (module := sys.modules.get(name)) is None:
        return False
    path = getattr(module, "__file__", None)
    return is_own_file(path) if path else name == "__main__"


@cache
def version(name: str) -> str | None:
    """The version of an installed package, or `None` where it does not matter."""
    top = name.partition(".")[0]
    if top in _QUIET or top in sys.stdlib_module_names:
        return None
    try:
        return importlib_metadata.version(top)
    except importlib_metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(top), "__version__", ""))


def file_of(module: ModuleType | str, package: str | None = None) -> Path | None:
    """The file of one of the user's modules, or `None`.

    Args:
        module: The module, or its name if it may not have been imported.
        package: The package that a relative name starts from.
    """
    try:
        if isinstance(module, str):
            known = sys.modules.get(module)
            spec = getattr(known, "__spec__", None) or find_spec(module, package)
            path = spec.origin if spec else getattr(known, "__file__", None)
        else:
            path = module.__file__
    except Exception:  # a package that it is in cannot be imported
        return None
    if path is None or not path.endswith(".py") or not is_own_file(path):
        return None
    return Path(path)

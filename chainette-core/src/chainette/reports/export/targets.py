"""Files that exports go to, on this machine or elsewhere; whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chainette.atomic_file import replacing
from chainette.errors import ChainetteError, ExportError
from chainette.folder.files import is_of_run
from chainette.remote.address import address_of, is_web, shown
from chainette.remote.failures import failure
from chainette.remote.opening import file_system

UNWRITABLE = ("OperationalError", "FileCreateError", "FileSizeError")
"""Exceptions of SQLite and of XlsxWriter for a disk that is full, by name, so that neither is
imported for the other formats."""


@contextmanager
def written(target: str | Path, folder: Path | None, *, overwrite: bool) -> Iterator[Path]:
    """A draft that takes the place of a target when the block ends without an error.

    Args:
        target: A path, or an address.
        folder: The run's folder.
        overwrite: Whether the target may be there already.

    Raises:
        ExportError: The target is there already, or cannot be written.
    """
    address = address_of(target)
    if address is not None:
        with _sent(address, overwrite=overwrite) as draft:
            yield draft
        return
    path = Path(target).expanduser()
    _check(path, folder, overwrite=overwrite)
    try:
        with replacing(path) as draft:
            yield draft
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror or error}") from None
    except Exception as error:
        if type(error).__name__ not in UNWRITABLE:
            raise
        raise ExportError(f"{path}: cannot be written: {error}") from None


def _check(path: Path, folder: Path | None, *, overwrite: bool) -> None:
    if path.is_dir():
        raise ExportError(f"{path}: is a folder; name a file in it, such as {path / 'table.csv'}")
    if folder is not None and is_of_run(folder, path):
        raise ExportError(f"{path}: is a file of the run itself; choose another name")
    if path.exists() and not overwrite:
        raise _taken(path)
    if not path.parent.is_dir():
        raise ExportError(f"{path.parent}: there is no such folder")


def _taken(target: str | Path) -> ExportError:
    ways = "choose another name, or replace it (overwrite=True)"
    return ExportError(f"{target}: exists already; {ways}")


@contextmanager
def _sent(address: str, *, overwrite: bool) -> Iterator[Path]:
    """A draft on this machine that is sent to an address in the end."""
    if is_web(address):
        raise ExportError(f"{shown(address)}: files cannot be written there")
    system, path = file_system(address)
    system.invalidate_cache()
    with _explained(address):
        is_there = bool(system.exists(path))
    if is_there and not overwrite:
        raise _taken(shown(address))
    with tempfile.TemporaryDirectory(prefix="chainette-") as folder:
        draft = Path(folder) / "draft"
        draft.touch()
        yield draft
        with _explained(address):
            system.put_file(str(draft), path)


@contextmanager
def _explained(address: str) -> Iterator[Any]:
    try:
        yield
    except ChainetteError:
        raise
    except Exception as error:  # of every library below fsspec
        raise ExportError(str(failure(address, error))) from None

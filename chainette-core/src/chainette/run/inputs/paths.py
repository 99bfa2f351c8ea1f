"""The files that a path of inputs names."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

from chainette.errors import InputError
from chainette.remote.address import address_of, is_address
from chainette.remote.files import RemoteFile, found_at
from chainette.run.inputs.formats.compressed import COMPRESSED
from chainette.text import did_you_mean

TABLES = (".csv", ".tsv", ".parquet")
FORMATS = (".jsonl", ".ndjson", ".json", *TABLES)


InputFile: TypeAlias = Path | RemoteFile
"""A file of inputs, on this machine or at an address."""


def format_of(path: InputFile) -> str:
    """The suffix that tells the format, without that of the compression."""
    is_compressed = path.suffix.lower() in COMPRESSED
    return Path(path.stem if is_compressed else path.name).suffix.lower()


def as_path(inputs: str | Path) -> str | Path:
    """A path without what is copied with it, with the user's home in place of `~`.

    A `file:` address is its path (RFC 8089).

    Args:
        inputs: The path, as people write it.
    """
    text = str(inputs)
    if address := address_of(inputs):
        return address
    if text.startswith("file:"):
        return Path(url2pathname(urlsplit(text).path))
    expanded = os.path.expanduser(text.strip(" \r\n\t\"'"))  # noqa: PTH111
    try:
        is_plain = expanded == text or Path(inputs).exists()
    except OSError:  # a text that is longer than a path can be
        is_plain = True
    return inputs if is_plain or not expanded else type(inputs)(expanded)


def found_files(inputs: str | Path) -> list[InputFile]:
    """The files that a path, a pattern or a folder names.

    Raises:
        ConfigError: A package is needed to reach them.
        InputError: There are none.
    """
    if is_address(inputs):
        return [*found_at(str(inputs))]
    path = Path(inputs)
    try:
        if str(inputs) and path.is_dir():
            return [*_parquet_files(path)]
        if str(inputs) and path.exists():
            return [_checked_file(path)]
    except OSError:  # a text that is longer than a path can be
        raise _not_a_row(inputs) from None
    if glob.has_magic(str(inputs)) and not _looks_like_json(str(inputs)):
        # Unlike that of a path, it takes absolute patterns.
        found = sorted(map(Path, glob.glob(str(inputs), recursive=True)))  # noqa: PTH207
        if files := [it for it in found if it.is_file()]:
            return [*files]
        raise InputError(f"{inputs}: there are no such files")
    raise _missing(str(inputs), path)


def _checked_file(path: Path) -> Path:
    if not path.is_file():
        raise InputError(
            f"{path}: is a pipe or a device, which can be read only once; "
            "pipe it into the command, and give - as the input"
        )
    return path


def _missing(inputs: str, path: Path) -> InputError:
    """The exception for a path that does not exist, or for a text that is something else."""
    if _looks_like_json(inputs):
        return InputError(
            f"{inputs[:80]!r}: is JSON, not the path of a file: give json.loads(text)"
        )
    if format_of(path) not in FORMATS and (" " in inputs or not path.suffix):
        return _not_a_row(inputs)
    hint = did_you_mean(path.name, [each.name for each in path.parent.glob(f"*{path.suffix}")])
    if "$" in inputs:
        hint = "; a variable in it is not replaced: use os.path.expandvars"
    return InputError(f"{inputs}: No such file or directory{hint}")


def _looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("[", "{") and '"' in text and text.rstrip()[-1:] in ("]", "}")


def _not_a_row(inputs: str | Path) -> InputError:
    return InputError(
        f"{str(inputs)[:80]!r}: there is no such file, and a text is not a row: give rows, "
        "such as [{field: text}], or one row to run_one"
    )


def _parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder and those in it, without the hidden ones that tools add."""
    found = sorted(
        path
        for path in folder.rglob("*.parquet")
        if not any(part[0] in "._" for part in path.relative_to(folder).parts)
    )
    if not found:
        suffix = next((s for s in FORMATS if any(folder.glob(f"*{s}"))), ".jsonl")
        raise InputError(
            f"{folder}: is a directory without Parquet files; name the files in it, such as "
            f"{folder / ('*' + suffix)}"
        )
    return found

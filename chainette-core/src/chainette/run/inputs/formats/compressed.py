"""Files that are compressed, and those that are not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from pathlib import Path
from typing import IO, Any, cast

from chainette.errors import ConfigError
from chainette.remote.files import RemoteFile

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Suffixes of files that are read without being unpacked first."""
DAMAGED = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)
"""The exceptions of the libraries for a file that cannot be read or decompressed."""


def open_file(path: Path | RemoteFile, **text: Any) -> IO[Any]:
    """Open a file, compressed or not; as text if an encoding is given.

    Raises:
        ConfigError: A package is needed to decompress it.
        Exception: One of `DAMAGED`.
    """
    suffix = path.suffix.lower()
    source: Any = path
    if isinstance(path, RemoteFile):
        source = path.open()
        if suffix not in COMPRESSED or path.is_unpacked(source):
            return io.TextIOWrapper(source, **text) if text else cast(IO[Any], source)
    if suffix == ".zst":
        binary = _open_zstd(source)
        return io.TextIOWrapper(binary, **text) if text else cast(IO[Any], binary)
    opened = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix)
    if opened is not None:
        return cast(IO[Any], cast(Any, opened)(source, "rt" if text else "rb", **text))
    return source.open("r" if text else "rb", **text)  # type: ignore[no-any-return]


def _open_zstd(path: Any) -> Any:
    """Open a file in the format of Zstandard (RFC 8878)."""
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.open(path, "rb")
    try:
        import pyarrow as pa
    except ImportError:
        raise ConfigError(
            f'{path}: .zst files need an extra: pip install "chainette[parquet]"'
        ) from None
    source = str(path) if isinstance(path, Path) else path
    return io.BufferedReader(cast(Any, pa.input_stream(source, compression="zstd")))

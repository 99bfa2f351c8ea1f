"""Files at addresses."""

from __future__ import annotations

import hashlib
import io
import posixpath
import re
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import unquote, urlsplit

from chainette.errors import InputError
from chainette.remote.address import address_of, is_web, scheme_of, shown
from chainette.remote.download import Download
from chainette.remote.failures import failure, may_pass
from chainette.remote.opening import file_system
from chainette.remote.reading import BLOCK, TRIES, Blocks, RemoteStream, pause
from chainette.text import did_you_mean

ValueT = TypeVar("ValueT")
_MAGIC = re.compile(r"[*?\[]")
_WEB_MAGIC = re.compile(r"[*\[]")
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "md5", "Content-MD5", "content_md5", "Digest", "sha", "sha256"),
    *("blob_id", "oid", "generation", "crc32c", "checksum"),
)
"""What file systems call something that changes with a file's content. The first that there is
counts, since a list of files may tell less than a question about one."""
_TIMES = ("LastModified", "Last-Modified", "last_modified", "mtime", "modify", "updated", "created")
_KINDS = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".ndjson",
    "application/vnd.apache.parquet": ".parquet",
}
"""Media types of formats, for addresses whose path does not tell (IANA, "Media Types")."""


class RemoteFile:
    """A file at an address; as a text, it is the address without what opens it.

    Args:
        system: Its file system.
        path: Its path there; of HTTP, the whole address.
        address: Its address.
        info: What the file system says of it.
    """

    def __init__(self, system: Any, path: str, address: str, info: Mapping[str, Any]) -> None:
        self.system: Any = system
        self.path: str = path
        self.address: str = address
        self.info: Mapping[str, Any] = info
        self._copy: IO[bytes] | None = None

    def __str__(self) -> str:
        """The address, without user, password and query."""
        return shown(self.address)

    @property
    def is_web(self) -> bool:
        """Whether it is read by HTTP, without fsspec's own blocks."""
        return is_web(self.address)

    @cached_property
    def name(self) -> str:
        """Its name, without folders."""
        path = unquote(urlsplit(self.path).path) if self.is_web else self.path
        name = posixpath.basename(path.rstrip("/"))
        if self.is_web and "." not in name:
            name += _KINDS.get(str(self.info.get("mimetype")), "")
        return name

    @property
    def suffix(self) -> str:
        """The end of its name, from the last dot."""
        return posixpath.splitext(self.name)[1]

    @property
    def stem(self) -> str:
        """Its name without the suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def size(self) -> int | None:
        """Its size in bytes, if that is known."""
        size = self.info.get("size")
        return size if isinstance(size, int) else None

    def open(self) -> io.BufferedReader:
        """Open it to be read once, from the beginning to the end."""
        source = Download(self) if self.is_web else Blocks(self)
        return io.BufferedReader(RemoteStream(self, source), BLOCK if not self.is_web else 1 << 17)

    def is_unpacked(self, opened: io.BufferedReader) -> bool:
        """Whether a file whose name says that it is compressed was unpacked by the server."""
        source = getattr(opened.raw, "source", None)
        head = opened.peek(2)[:2]
        return isinstance(source, Download) and source.is_decoded and head != b"\x1f\x8b"

    def open_anywhere(self) -> IO[bytes]:
        """Open it to be read in any order; a server that cannot do that is read into a file."""
        if not self.is_web or Download(self).takes_ranges():
            return io.BufferedReader(RemoteStream(self, Blocks(self)), 1 << 16)
        if self._copy is None:
            copy = tempfile.TemporaryFile()  # noqa: SIM115
            weakref.finalize(self, copy.close)
            with self.open() as file:
                while block := file.read(BLOCK):
                    copy.write(block)
            self._copy = copy
        self._copy.seek(0)
        return self._copy

    def version(self, info: Mapping[str, Any] | None = None) -> str | None:
        """What changes with its content, as the server says; `None` if it says nothing."""
        info = self.info if info is None else info
        for name in (*_VERSIONS, *_TIMES):
            if info.get(name) is not None:
                value = info[name]
                moment = value.timestamp() if isinstance(value, datetime) else value
                return f"{name}={moment}, size={info.get('size')}"
        return None

    def digest(self) -> str:
        """Its version, or the SHA-256 of its content where the server has none."""
        version = self.version()
        if version is not None:
            return version
        sha = hashlib.sha256()
        with self.open() as file:
            while block := file.read(BLOCK):
                sha.update(block)
        return sha.hexdigest()

    def check_unchanged(self) -> None:
        """Check that it is still the file that was found.

        Raises:
            InputError: It has changed.
        """
        if self.version() is None:
            return
        self.system.invalidate_cache()
        now = attempt(self.address, lambda: self.system.info(self.path))
        if self.version(now) != self.version():
            raise InputError(f"{self}: it changed while it was read; start again")


def attempt(address: str, call: Callable[[], ValueT]) -> ValueT:
    """Make a request, again if it fails for a reason that passes.

    Raises:
        InputError: It failed.
    """
    for number in range(TRIES):
        try:
            return call()
        except Exception as error:  # of every library below fsspec
            if number + 1 == TRIES or not may_pass(error):
                raise failure(address, error) from None
        time.sleep(pause(number))
    raise AssertionError


def file_of(path: str | PathLike[str]) -> Path | RemoteFile:
    """One file, on this machine or at an address.

    Raises:
        ConfigError: A package is missing.
        InputError: The address cannot be reached.
    """
    address = address_of(path)
    return Path(path) if address is None else found_at(address)[0]


def found_at(address: str) -> list[RemoteFile]:
    """The files at an address: one, those of a pattern, or the Parquet files of a folder.

    Raises:
        ConfigError: A package is missing.
        InputError: There are none, or they cannot be reached.
    """
    system, path = file_system(address)
    system.invalidate_cache()  # what another run has seen may be old
    is_pattern = (_WEB_MAGIC if is_web(address) else _MAGIC).search(path.partition("?")[0])
    if is_web(address) and is_pattern is None:
        return [RemoteFile(system, path, address, attempt(address, lambda: system.info(path)))]
    if not is_web(address):
        try:
            info = attempt(address, lambda: _info(system, path))
        except InputError:
            if is_pattern is None:
                raise
            info = None
        if info is None and is_pattern is None:
            raise InputError(f"{shown(address)}: No such file or directory{_near(system, path)}")
        if info is not None and info["type"] == "directory":
            return _in_folder(system, path, address)
        if info is not None:
            return [RemoteFile(system, path, address, info)]
    found = attempt(address, lambda: system.glob(path, detail=True))
    files = {it: info for it, info in found.items() if info["type"] == "file"}
    if not files:
        if not path.startswith("/") and not is_web(address):
            attempt(address, lambda: _check_bucket(system, path.partition("/")[0]))
        raise InputError(f"{shown(address)}: there are no such files")
    return _files(system, address, files)


def _info(system: Any, path: str) -> Any:
    """What a file system says of a path; `None` where there is nothing in a bucket that is."""
    try:
        return system.info(path)
    except FileNotFoundError as error:
        if "bucket" in str(error) or error.__cause__ is not None:
            with suppress(FileNotFoundError):
                system.ls(path.rpartition("/")[0])
                return None
            raise
        return None


def _check_bucket(system: Any, name: str) -> None:
    """Check that a bucket exists, as far as one may see that."""
    with suppress(PermissionError):
        system.info(name)


def _in_folder(system: Any, path: str, address: str) -> list[RemoteFile]:
    found = attempt(address, lambda: system.find(path, detail=True))
    files = {
        it: info
        for it, info in found.items()
        if it.endswith(".parquet")
        and not any(part[:1] in "._" for part in it.removeprefix(path).strip("/").split("/"))
    }
    if not files:
        folder = shown(address).rstrip("/")
        suffixes = {posixpath.splitext(it)[1] for it in found}
        known = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
        suffix = next((it for it in known if it in suffixes), ".jsonl")
        raise InputError(
            f"{folder}: is a directory without Parquet files; name the files in it, such as "
            f"{folder}/*{suffix}"
        )
    return _files(system, address, files)


def _files(system: Any, address: str, found: Mapping[str, Any]) -> list[RemoteFile]:
    return [RemoteFile(system, it, _full(address, it), found[it]) for it in sorted(found)]


def _full(address: str, path: str) -> str:
    """The address of a file that was found in a folder."""
    if "://" in path:
        return path
    scheme, _, rest = address.partition("://")
    host = rest.partition("/")[0]
    if "::" in address:  # a file in an archive, say
        return f"{scheme_of(address)}://{path}::{address.partition('::')[2]}"
    is_whole = not path.startswith("/") or path.startswith(f"/{host}/") or not host
    return f"{scheme}://{path.lstrip('/')}" if is_whole else f"{scheme}://{host}{path}"


def _near(system: Any, path: str) -> str:
    """The hint at a file of a name that is almost the same."""
    folder, _, name = path.rpartition("/")
    with suppress(Exception):  # only for a hint
        names = [posixpath.basename(str(it)) for it in system.ls(folder, detail=False)]
        return did_you_mean(name, names)
    return ""

"""Bytes of a file that is somewhere else: all of them, in order, or an error."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from typing import Any, Protocol

from typing_extensions import Buffer

from chainette.errors import InputError
from chainette.remote.failures import failure, may_pass

BLOCK = 4 << 20
"""Bytes that are asked for at a time."""
TRIES = 6
"""Requests in a row that bring nothing, before a file is given up."""
WAIT = 0.2
"""Seconds before the second of them; the next ones wait twice as long each."""


def pause(number: int) -> float:
    """Seconds to wait after a request that failed."""
    return float(WAIT * 2**number)


class Remote(Protocol):
    """A file at an address; see `RemoteFile`."""

    system: Any
    path: str
    address: str
    info: Mapping[str, Any]

    @property
    def is_web(self) -> bool:
        """Whether it is read by HTTP."""

    @property
    def size(self) -> int | None:
        """Its size in bytes, if that is known."""

    def check_unchanged(self) -> None:
        """Check that it is still the file that was found."""


class Source(Protocol):
    """Where a stream's bytes come from."""

    def read(self, position: int, most: int) -> bytes:
        """Bytes from a position on; none at the end."""

    def size(self) -> int | None:
        """Bytes that there are, if that is known."""

    def forget(self) -> None:
        """Close the connection, if there is one."""


class RemoteStream(io.RawIOBase):
    """A file as a stream, which is whole: what is lost on the way is asked for again.

    Args:
        file: The file.
        source: Its bytes.
    """

    def __init__(self, file: Remote, source: Source) -> None:
        self.source: Source = source
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it can be read in any order."""
        return isinstance(self.source, Blocks)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        if not self.seekable():
            raise io.UnsupportedOperation("seek")
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence, self.source.size() or 0)
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Read some bytes; 0 only at the end.

        Raises:
            InputError: They cannot be read, or the file is not the one that was found.
        """
        view = memoryview(buffer).cast("B")
        block = self._next(len(view))
        view[: len(block)] = block
        self._position += len(block)
        return len(block)

    def _next(self, most: int) -> bytes:
        for number in range(TRIES):
            try:
                if block := self.source.read(self._position, most):
                    return block
                size = self.source.size()
                if size is None or self._position >= size:
                    return b""
                error: Exception = EOFError(f"ended after {self._position} of {size} bytes")
            except InputError:
                raise
            except Exception as problem:  # of every library below fsspec
                error = problem
            self.source.forget()
            if number + 1 == TRIES or not may_pass(error):
                break
            time.sleep(pause(number))
        if isinstance(error, EOFError):
            raise InputError(f"{self._file}: {error}, again and again") from None
        raise failure(self._file.address, error) from None

    def close(self) -> None:
        """Close the connection."""
        if not self.closed:
            self.source.forget()
        super().close()


class Blocks:
    """Bytes of a file system that gives them in blocks, from any place.

    Args:
        file: The file.
    """

    def __init__(self, file: Remote) -> None:
        self._file = file
        self._open: Any = None
        self._was_checked = False

    def read(self, position: int, most: int) -> bytes:
        """Bytes from a position on; none at the end."""
        file = self._file
        if self._open is None:
            options: dict[str, Any] = {"block_size": BLOCK, "cache_type": "readahead"}
            if "::" in file.address:  # another file system is in front, with options of its own
                options = {}
            if file.is_web and (tag := strong_tag(file.info)):
                options |= {"headers": {"If-Match": tag, "Accept-Encoding": "identity"}}
            self._open = file.system.open(file.path, "rb", **options)
        self._open.seek(position)
        block = bytes(self._open.read(most))
        size = self.size()
        if not self._was_checked and size is not None and position + len(block) >= size:
            self._was_checked = True
            file.check_unchanged()
        return block

    def size(self) -> int | None:
        """Bytes that there are."""
        return self._file.size

    def forget(self) -> None:
        """Close the file."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.close()


def strong_tag(headers: Any) -> str | None:
    """The entity tag that tells apart any two contents (RFC 9110, section 8.8.3)."""
    tag = headers.get("ETag")
    return str(tag) if tag and not str(tag).startswith("W/") else None

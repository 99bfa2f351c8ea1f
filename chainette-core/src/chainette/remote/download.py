"""Bytes that are read by HTTP, in one answer where the connection holds."""

from __future__ import annotations

from typing import Any

from chainette.errors import InputError
from chainette.remote.failures import failure
from chainette.remote.reading import BLOCK, Remote, strong_tag


class Download:
    """Bytes of one answer by HTTP, or of several where the connection breaks.

    Args:
        file: The file.
    """

    def __init__(self, file: Remote) -> None:
        self._file = file
        self._answer: Any = None
        self._position = 0
        self._has_ended = False
        self._first: dict[str, str] | None = None
        self._size: int | None = None

    @property
    def is_decoded(self) -> bool:
        """Whether the server compressed the bytes on the way, which are as they were again."""
        coding = self._answer.r.headers.get("Content-Encoding") if self._answer else None
        return coding not in (None, "", "identity")

    def takes_ranges(self) -> bool:
        """Whether the server gives a part of the file that is asked for."""
        try:
            answer = self._request({"Range": "bytes=0-0"})
        except Exception as error:  # of every library below fsspec
            raise failure(self._file.address, error) from None
        try:
            return int(answer.r.status) == 206 and self._file.size is not None
        finally:
            answer.close()

    def read(self, position: int, most: int) -> bytes:
        """Bytes from a position on; none at the end."""
        if self._answer is None:
            self._begin(position)
        while self._position < position:  # of a server that begins at the beginning
            skipped = bytes(self._answer.read(min(BLOCK, position - self._position)))
            if not skipped:
                raise EOFError(f"ended after {self._position} bytes")
            self._position += len(skipped)
        if self._has_ended:  # aiohttp warns of reading on
            return b""
        block = bytes(self._answer.read(most))
        self._position += len(block)
        self._has_ended = not block
        return block

    def size(self) -> int | None:
        """Bytes that there are, if the server said it."""
        return self._size

    def forget(self) -> None:
        """Close the connection."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close()

    def _request(self, headers: dict[str, str]) -> Any:
        file = self._file
        sent = {"Accept-Encoding": "identity", **headers}
        return file.system.open(file.path, "rb", block_size=0, size=file.size or 1, headers=sent)

    def _begin(self, position: int) -> None:
        """Ask for the bytes from a position on.

        Raises:
            InputError: The file is another one than that whose bytes came before.
        """
        first = self._first
        known = first or {}
        tag = strong_tag(known) or known.get("Last-Modified")
        is_ranged = position > 0 and "coding" not in known
        ranged = {"Range": f"bytes={position}-"} if is_ranged else {}
        self._answer = self._request(ranged | ({"If-Range": tag} if ranged and tag else {}))
        headers = self._answer.r.headers
        now = {it: headers[it] for it in ("ETag", "Last-Modified") if headers.get(it)}
        is_part = self._answer.r.status == 206
        if is_part and not headers.get("Content-Range", "").startswith(f"bytes {position}-"):
            raise OSError("the server sent another part of the file")
        length = headers.get("Content-Length")
        start = position if is_part else 0
        size = start + int(length) if length and not self.is_decoded else None
        if self.is_decoded:
            now["coding"] = headers["Content-Encoding"]
        if first is not None and (now != first or size != self._size):
            raise InputError(f"{self._file}: it changed while it was read; start again")
        self._first, self._size, self._position = now, size, start
        self._has_ended = False

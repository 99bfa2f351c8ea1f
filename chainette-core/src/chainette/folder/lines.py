"""Files of JSON lines, and the fields that lines share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from chainette.errors import FailedRowError, OutputDirError
from chainette.json_bytes import decode, encode

BUFFER = 1 << 20
"""Maximum bytes of lines that are kept before they are handed to the operating system."""
ItemPath = tuple[int, ...]
"""Index of an item among its siblings, for every split that it went through."""


def item_name(path: ItemPath) -> str:
    """An item's path as files show it, such as `3.1`; empty for a row that was not split."""
    return ".".join(map(str, path)) if path else ""


def encoded(value: Any) -> bytes:
    """A JSON value as a part of a line."""
    try:
        return encode(value)
    except ValueError:  # half a surrogate pair, which files in UTF-8 cannot hold
        return _without_half_pairs(value).encode()


class EncodedList:
    """A list whose items are encoded one by one, since as JSON values they take far more memory."""

    def __init__(self) -> None:
        self._content = bytearray(b"[")

    def append(self, value: Any) -> None:
        """Add an item."""
        if len(self._content) > 1:
            self._content += b","
        self._content += encoded(value)

    def end(self) -> bytearray:
        """The list as a part of a line; nothing can be added after that."""
        self._content += b"]"
        return self._content


def _parts(fields: Mapping[str, Any]) -> Iterator[bytes | bytearray]:
    """A line, in parts: lists that are encoded already are not copied."""
    before = b"{"
    for name, value in fields.items():
        yield before + encoded(name) + b":"
        yield value.end() if isinstance(value, EncodedList) else encoded(value)
        before = b","
    yield b"}\n"


def _line(value: Any) -> bytes:
    return encoded(value) + b"\n"


def encodable(value: Any) -> Any:
    """A JSON value as it comes back from a file: without halves of surrogate pairs."""
    try:
        encode(value)
    except ValueError:
        return json.loads(_without_half_pairs(value))
    return value


def _without_half_pairs(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass")
    return text.decode("utf-16", "replace")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in numbered files.

    Attributes:
        files: The number of files up to it.
        size: Bytes of the last one before it.
    """

    files: int = 0
    size: int = 0


class LineFile:
    """A file that lines are added to.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = path.open("ab", BUFFER)
        self._size = 0

    def write(self, *values: Any) -> None:
        """Add lines; `flush` hands them to the operating system.

        Raises:
            OutputDirError: The lines cannot be written; `flush` and `close` raise it, too.
        """
        self._add((b"".join(map(_line, values)),), len(values))

    def write_long(self, fields: Mapping[str, Any]) -> None:
        """Add a line, some of whose fields are an `EncodedList`.

        Raises:
            OutputDirError: See `write`.
        """
        self._add(_parts(fields), 1)

    def _add(self, parts: Iterable[bytes | bytearray], lines: int) -> None:
        try:
            file = self._room_for(lines)
            self._size += sum(map(file.write, parts))
        except OSError as error:
            raise unwritable(self._path, error) from None

    def flush(self) -> None:
        """Hand the lines to the operating system."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                raise unwritable(self._path, error) from None

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                raise unwritable(self._path, error) from None

    def reopen(self) -> None:
        """Open the file again after `close`; another one may have taken its place."""
        self._file = self._path.open("ab", BUFFER)

    def _room_for(self, lines: int) -> BinaryIO:
        """The file for a number of lines."""
        assert self._file is not None
        return self._file


class LineFiles(LineFile):
    """Numbered files of lines in one folder: `000000.jsonl`, `000001.jsonl` and so on.

    Existing lines stay; a torn last line is cut off.

    Args:
        folder: The folder; it is created.
        max_lines: Lines of a file before the next one begins.
    """

    def __init__(self, folder: Path, max_lines: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder
        self._max_lines = max_lines
        self.reopen()

    def reopen(self) -> None:
        """Open the last file; see `LineFile.reopen`."""
        self._file = None
        paths = sorted(self._path.glob("*.jsonl"))
        self._number = len(paths)
        self._left = self._size = 0
        if paths:
            self._left = self._max_lines - repair(paths[-1])
            self._size = paths[-1].stat().st_size
            self._file = paths[-1].open("ab", BUFFER)

    @property
    def end(self) -> Mark:
        """The place where the next line is written."""
        return Mark(self._number, self._size)

    def cut(self, mark: Mark) -> None:
        """Close the files and remove the lines after a place.

        Raises:
            OutputDirError: They cannot be removed.
        """
        try:
            self.close()
        finally:
            self._number, self._left = mark.files, 0
            try:
                paths = sorted(self._path.glob("*.jsonl"))
                for path in paths[mark.files :]:
                    path.unlink()
                for path in paths[mark.files - 1 : mark.files] if mark.files else ():
                    os.truncate(path, mark.size)
            except OSError as error:
                raise unwritable(self._path, error) from None

    def _room_for(self, lines: int) -> BinaryIO:
        if self._file is None or self._left <= 0:
            self.close()
            self._file = (self._path / f"{self._number:06d}.jsonl").open("ab", BUFFER)
            self._number, self._left = self._number + 1, self._max_lines
            self._size = 0
        self._left -= lines
        return self._file


def unwritable(path: Path, error: OSError) -> OutputDirError:
    """The exception for a file that could not be written."""
    hint = "make room, then resume the run (resume=True)"
    return OutputDirError(f"{path}: cannot be written: {error.strerror or error}; {hint}")


def repair(path: Path) -> int:
    """Cut off an incomplete last line, and return the number of lines that are left."""
    lines, whole, size = 0, 0, 0
    with path.open("rb") as file:
        for line in file:
            size += len(line)
            if line.endswith(b"\n"):
                lines, whole = lines + 1, size
    if whole < size:
        with path.open("r+b") as file:
            file.truncate(whole)
    return lines


def read_lines(
    folder: Path, on_broken: Callable[[str], object] | None = None
) -> Iterator[dict[str, Any]]:
    """Read the lines of numbered files, in order; see `read_file`."""
    for path in sorted(folder.glob("*.jsonl")):
        yield from read_file(path, on_broken)


def read_file(
    path: Path, on_broken: Callable[[str], object] | None = None
) -> Iterator[dict[str, Any]]:
    """Read the lines of a file.

    Args:
        path: The file.
        on_broken: Receives the place of every line that cannot be read, which is left out.

    Raises:
        OutputDirError: A line cannot be read, and there is no `on_broken`.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            value = value_or_none(line)
            if isinstance(value, dict) and names_item(value):
                yield value
            elif on_broken is not None:
                on_broken(f"{path}:{number}")
            else:
                raise OutputDirError(
                    f"{path}:{number}: the line is broken; resume the run to write it again "
                    "(resume=True)"
                )


def names_item(line: Mapping[str, Any]) -> bool:
    """Whether a line says which row or group it is about."""
    return isinstance(line.get("row_id"), int) or "group" in line or "key" in line


def owner(line: Mapping[str, Any]) -> int | str:
    """The row or the group that a line is about."""
    return line["row_id"] if "row_id" in line else group_name(line["group"])


def group_name(key: Any) -> str:
    """The key of a group as a text that no other key of a run has."""
    return encoded(key).decode()


def value_or_none(line: bytes) -> Any:
    """The JSON value of a line, or `None` if it is broken."""
    try:
        return decode(line)
    except ValueError:
        pass
    try:  # half of a surrogate pair, as above; json raises if the line is torn
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def error_fields(node_id: str | None, error: Exception) -> dict[str, Any]:
    """The fields of a line that describe an error.

    Args:
        node_id: The node that failed, or `None` for a row that could not be read.
        error: The error.
    """
    return {
        "node_id": node_id,
        "engine": getattr(error, "engine", None),
        "type": error.type if isinstance(error, FailedRowError) else type(error).__name__,
        "message": str(error),
        "raw_text": getattr(error, "raw_text", None),
    }

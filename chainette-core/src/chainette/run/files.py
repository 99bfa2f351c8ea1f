"""The files of a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from chainette.errors import OutputDirError
from chainette.json_bytes import decode, encode
from chainette.run.options import RunOptions

MANIFEST = "run.json"
GRAPH = "graph.json"
ERRORS = "errors.jsonl"
BUFFER = 1 << 20
"""Bytes of lines to keep at most before they are handed to the operating system."""


def _line(value: Any) -> bytes:
    try:
        return encode(value) + b"\n"
    except ValueError:  # half a surrogate pair is kept as it is
        return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass") + b"\n"


def _value(line: bytes) -> Any:
    try:
        return decode(line)
    except ValueError:  # as above, or torn: then this raises, too
        return json.loads(line)


class LineFile:
    """A file that lines are added to.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = path.open("ab", BUFFER)

    def write(self, *values: Any) -> None:
        """Add lines; `flush` hands them to the operating system.

        Raises:
            OutputDirError: There is no room for them; the other two methods raise it, too.
        """
        try:
            self._room_for(len(values)).write(b"".join(map(_line, values)))
        except OSError as error:
            raise unwritable(self._path, error) from None

    def flush(self) -> None:
        """Hand what was written to the operating system."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                raise unwritable(self._path, error) from None

    def close(self) -> None:
        """Close the file that is open."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                raise unwritable(self._path, error) from None

    def _room_for(self, lines: int) -> BinaryIO:
        """The file to write so many lines to."""
        assert self._file is not None
        return self._file


class LineFiles(LineFile):
    """Numbered files of lines in one folder: `000000.jsonl`, `000001.jsonl` and so on.

    What the folder holds already stays; a last line that was torn is cut off.

    Args:
        folder: The folder; it is made.
        max_lines: Lines of a file before the next one begins.
    """

    def __init__(self, folder: Path, max_lines: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder
        self._max_lines = max_lines
        self._file = None
        found = sorted(folder.glob("*.jsonl"))
        self._number = len(found)
        self._left = 0
        if found:
            self._left = max_lines - repair(found[-1])
            self._file = found[-1].open("ab", BUFFER)

    def _room_for(self, lines: int) -> BinaryIO:
        if self._file is None or self._left <= 0:
            self.close()
            self._file = (self._path / f"{self._number:06d}.jsonl").open("ab", BUFFER)
            self._number, self._left = self._number + 1, self._max_lines
        self._left -= lines
        return self._file


def unwritable(path: Path, error: OSError) -> OutputDirError:
    """What to tell a person of a file that could not be written."""
    hint = "make room, then go on with the run (--resume)"
    return OutputDirError(f"{path}: cannot be written: {error.strerror}; {hint}")


def repair(path: Path) -> int:
    """Cut off a last line without an end; returns how many lines are left."""
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


class RunFiles:
    """The folder of one run.

    Args:
        path: The folder.
        node_ids: Nodes of the chain.
        options: Options of the run.

    Attributes:
        earlier: The manifest of the run that is gone on with, or `None`.

    Raises:
        OutputDirError: The folder cannot be made, or holds something else.
    """

    def __init__(
        self,
        path: Path,
        node_ids: list[str],
        options: RunOptions,
    ) -> None:
        self.path = path
        self.earlier: dict[str, Any] | None = None
        try:
            if options.resumes and (path / MANIFEST).exists():
                self.earlier = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
                _go_back(path, options.retry_errors)
            else:
                _make_room(path, options.overwrite)
            max_lines = options.max_lines_per_file
            self.steps = {id: LineFiles(path / "steps" / id, max_lines) for id in node_ids}
            self.flattened = LineFiles(path / "flattened", max_lines)
            self.errors = LineFile(path / ERRORS)
        except OSError as error:
            raise OutputDirError(f"{path}: cannot be written: {error.strerror}") from None
        except ValueError as error:
            raise OutputDirError(f"{path / MANIFEST}: cannot be read: {error}") from None

    @property
    def _files(self) -> tuple[LineFile, ...]:
        return *self.steps.values(), self.flattened, self.errors

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file so that no reader ever sees half of it."""
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        unfinished = self.path / f".{name}.unfinished"
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(self.path / name)
        except OSError as error:
            raise unwritable(self.path / name, error) from None

    def close(self) -> None:
        """Close every file, whatever is wrong with one of them."""
        with ExitStack() as closing:
            for file in self._files:
                closing.callback(file.close)


def _make_room(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise OutputDirError(f"{path}: is a file; give a folder for the run")
    if path.is_dir() and any(path.iterdir()):
        if not (path / MANIFEST).exists():
            raise OutputDirError(f"{path}: is not empty and holds no run; choose another folder")
        if not overwrite and _has_rows(path):
            raise OutputDirError(
                f"{path}: already holds a run; choose another folder or overwrite it (--overwrite) "
                "or go on with it (--resume)"
            )
        for folder in ("steps", "flattened"):
            shutil.rmtree(path / folder, ignore_errors=True)
        for name in (ERRORS, GRAPH, MANIFEST, "flattened.parquet"):
            (path / name).unlink(missing_ok=True)
    path.mkdir(parents=True, exist_ok=True)


def _go_back(path: Path, retry_errors: bool) -> None:
    """Remove what is made anew from the journals, and repair those."""
    shutil.rmtree(path / "flattened", ignore_errors=True)
    errors = path / ERRORS
    if retry_errors:
        errors.unlink(missing_ok=True)
    elif errors.exists():
        repair(errors)


def _has_rows(path: Path) -> bool:
    """Whether the run in a folder got anywhere; one that could not start stands in nobody's way."""
    files = (path / ERRORS, *path.glob("steps/*/*.jsonl"))
    return any(file.exists() and file.stat().st_size > 0 for file in files)


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the lines of numbered files, in order."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                yield _value(line)

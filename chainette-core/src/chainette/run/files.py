"""The files of a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from chainette.errors import OutputDirError

MANIFEST = "run.json"
GRAPH = "graph.json"
ERRORS = "errors.jsonl"


def encode(value: Any) -> bytes:
    """One line of JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        errors="surrogatepass"
    )


class LineFiles:
    """Numbered files of lines in one folder: `000000.jsonl`, `000001.jsonl` and so on.

    Args:
        folder: The folder; it is made.
        max_lines: Lines of a file before the next one begins.
    """

    def __init__(self, folder: Path, max_lines: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._max_lines = max_lines
        self._count = 0
        self._file: BinaryIO | None = None

    def write(self, value: Any) -> None:
        """Write one whole line and hand it to the operating system."""
        if self._file is None or self._count % self._max_lines == 0:
            self.close()
            path = self._folder / f"{self._count // self._max_lines:06d}.jsonl"
            self._file = path.open("ab")
        self._file.write(encode(value) + b"\n")
        self._file.flush()
        self._count += 1

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None


class RunFiles:
    """The folder of one run.

    Args:
        path: The folder.
        step_ids: Steps of the chain.
        max_lines: Lines of a file before the next one begins.
        overwrite: Replace an earlier run.

    Raises:
        OutputDirError: The folder cannot be made, or holds something else.
    """

    def __init__(self, path: Path, step_ids: list[str], max_lines: int, overwrite: bool) -> None:
        self.path = path
        try:
            _make_room(path, overwrite)
            self.steps = {id: LineFiles(path / "steps" / id, max_lines) for id in step_ids}
            self.flattened = LineFiles(path / "flattened", max_lines)
            self._errors = (path / ERRORS).open("ab")
        except OSError as error:
            raise OutputDirError(f"{path}: cannot be written: {error.strerror}") from None

    def error(self, value: dict[str, Any]) -> None:
        """Add a line to `errors.jsonl`."""
        self._errors.write(encode(value) + b"\n")
        self._errors.flush()

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file so that no reader ever sees half of it."""
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        unfinished = self.path / f".{name}.unfinished"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(self.path / name)

    def close(self) -> None:
        """Close every file."""
        for files in (*self.steps.values(), self.flattened):
            files.close()
        self._errors.close()


def _make_room(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise OutputDirError(f"{path}: is a file; give a folder for the run")
    if path.is_dir() and any(path.iterdir()):
        if not (path / MANIFEST).exists():
            raise OutputDirError(f"{path}: is not empty and holds no run; choose another folder")
        if not overwrite and _has_rows(path):
            raise OutputDirError(
                f"{path}: already holds a run; choose another folder or overwrite it (--overwrite)"
            )
        for folder in ("steps", "flattened"):
            shutil.rmtree(path / folder, ignore_errors=True)
        for name in (ERRORS, GRAPH, MANIFEST):
            (path / name).unlink(missing_ok=True)
    path.mkdir(parents=True, exist_ok=True)


def _has_rows(path: Path) -> bool:
    """Whether the run in a folder got anywhere; one that could not start stands in nobody's way."""
    files = (path / ERRORS, *path.glob("steps/*/*.jsonl"))
    return any(file.exists() and file.stat().st_size > 0 for file in files)


def read_lines(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the lines of numbered files, in order."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                yield json.loads(line)

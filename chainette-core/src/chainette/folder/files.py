"""The files in a run's folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from chainette.atomic_file import replacing
from chainette.errors import OutputDirError
from chainette.folder.lines import LineFile, LineFiles, repair, unwritable
from chainette.folder.lock import LOCK
from chainette.remote.address import address_of, shown

MANIFEST = "run.json"
GRAPH = "graph.json"
ERRORS = "errors.jsonl"
DROPPED = "dropped.jsonl"
"""File of the items that functions dropped; every run writes it from the journals."""
FLATTENED = "flattened"
STEPS = "steps"
VALUES = "values"
CALLS = ".calls"
"""End of the name of a folder of `steps`: that of the calls of the function in front of it."""
REDONE = "redone"
"""Folder of lines that a redo has replaced; what they cost was spent, too."""
RETRIED = "retried"
"""Folder of the errors that were tried again; what they cost was spent."""
ESTIMATE = "estimate"
"""Folder of the samples that estimates have run, each in a run's folder of its own."""
GROUPS = "groups"
"""Folder of the tables of groups; every run writes them from the journals."""
_FOLDERS = (STEPS, FLATTENED, VALUES, RETRIED, REDONE, GROUPS)
_NAMES = (*_FOLDERS, ERRORS, DROPPED, GRAPH, MANIFEST, "flattened.parquet")
_OWN = {(name,) for name in (*_NAMES, LOCK)}
"""Everything in the folder that a run writes, and an overwritten one loses."""


class RunFolder:
    """The folder of one run, which holds its lock.

    Args:
        path: The folder.
        node_ids: Nodes of the chain.
        resume: Continue the run that the folder holds, if there is one.
        retry_errors: When resuming, forget what failed.
        overwrite: Replace the run that the folder holds.
        max_lines: Maximum lines of a file before a new one begins.

    Attributes:
        earlier: The manifest of the run that is resumed, or `None`.

    Raises:
        OutputDirError: The folder cannot be created, or holds something else.
    """

    def __init__(
        self,
        path: Path,
        node_ids: list[str],
        *,
        resume: bool,
        retry_errors: bool,
        overwrite: bool,
        max_lines: int,
    ) -> None:
        self.path = path
        self._max_lines = max_lines
        self.earlier: dict[str, Any] | None = None
        self._groups: list[LineFile] = []
        try:
            if resume and (path / MANIFEST).exists():
                self.earlier = _as_it_ended(path)
                _rewind(path, retry_errors)
            else:
                _make_room(path, overwrite)
            self.steps: dict[str, LineFiles] = {
                id: LineFiles(path / "steps" / id, max_lines) for id in node_ids
            }
            self.flattened: LineFiles = LineFiles(path / FLATTENED, max_lines)
            self.errors: LineFile = LineFile(path / ERRORS)
            self.dropped: LineFile = LineFile(path / DROPPED)
        except OSError as error:
            raise OutputDirError(f"{path}: cannot be written: {error.strerror}") from None
        except ValueError as error:
            raise OutputDirError(f"{path / MANIFEST}: cannot be read: {error}") from None

    @cached_property
    def values(self) -> LineFiles:
        """Outputs that the flattened table does not give back; few chains have any."""
        return LineFiles(self.path / VALUES, self._max_lines)

    def group_table(self, id: str) -> LineFile:
        """The table of the groups of a `reduce`, which begins empty."""
        path = self.path / GROUPS / f"{id}.jsonl"
        try:
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            self._groups.append(LineFile(path))
        except OSError as error:
            raise unwritable(path, error) from None
        return self._groups[-1]

    @property
    def tables(self) -> tuple[LineFiles, ...]:
        """The files that are made from the journals."""
        return (self.flattened, self.values) if "values" in vars(self) else (self.flattened,)

    @property
    def _files(self) -> tuple[LineFile, ...]:
        return *self.steps.values(), *self.tables, *self._groups, self.errors, self.dropped

    def check(self) -> None:
        """Notice that the folder is gone, where open files would still take lines.

        Raises:
            OutputDirError: It was deleted or moved.
        """
        try:
            (self.path / MANIFEST).stat()
        except (FileNotFoundError, NotADirectoryError):
            raise OutputDirError(
                f"{self.path}: was deleted or moved while the run went on"
            ) from None
        except OSError as error:
            raise unwritable(self.path, error) from None

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file as a whole."""
        text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
        try:
            with replacing(self.path / name) as draft:
                draft.write_text(text, encoding="utf-8")
        except OSError as error:
            raise unwritable(self.path / name, error) from None

    def size(self) -> int:
        """Bytes of all lines."""
        return lines_size(self.path)

    @contextmanager
    def closed(self, node_ids: Iterable[str]) -> Iterator[None]:
        """Let go of the files of some nodes, and of the errors, while their lines are moved.

        Args:
            node_ids: The nodes.
        """
        files = [*(self.steps[id] for id in node_ids), self.errors]
        for file in files:
            file.close()
        yield
        for file in files:
            file.reopen()

    def close(self) -> None:
        """Close every file, even if one of them cannot be closed."""
        with ExitStack() as closing:
            for file in self._files:
                closing.callback(file.close)


def lines_size(path: Path) -> int:
    """Bytes of all lines in a run's folder."""
    folders = (f"{STEPS}/*", FLATTENED, VALUES, GROUPS)
    patterns = (*(f"{folder}/*.jsonl" for folder in folders), ERRORS)
    return sum(file.stat().st_size for pattern in patterns for file in path.glob(pattern))


def check_place(path: Path) -> None:
    """Refuse a file, and a folder that holds something else, before anything is written.

    Raises:
        OutputDirError: The place is taken.
    """
    if address := address_of(path):
        raise OutputDirError(
            f"{shown(address)}: is an address; a run's folder is on this machine "
            "(`chainette export` writes its table elsewhere)"
        )
    if path.exists() and not path.is_dir():
        raise OutputDirError(f"{path}: is a file; give a folder for the run")
    is_ours = (path / MANIFEST).exists() or (path / LOCK).exists()
    if path.is_dir() and any(it.name != ESTIMATE for it in path.iterdir()) and not is_ours:
        raise OutputDirError(f"{path}: is not empty and does not hold a run; choose another folder")


def is_of_run(folder: Path, file: Path) -> bool:
    """Whether a file is one that a run writes in its folder."""
    whole, inside = folder.resolve(), file.resolve()
    return inside.is_relative_to(whole) and inside.relative_to(whole).parts[:1] in _OWN


def check_apart(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse inputs that are files of the run in the folder, which would delete them.

    Raises:
        OutputDirError: One of them is.
    """
    for file in inputs:
        if is_of_run(path, file):
            raise OutputDirError(
                f"{path}: a run in this folder would replace its own input {file}; "
                "choose another folder for the run"
            )


def _make_room(path: Path, overwrite: bool) -> None:
    if not overwrite and has_rows(path):
        raise OutputDirError(
            f"{path}: already holds a run{_state(path)}; choose another folder, overwrite the run "
            "(overwrite=True) or resume it (resume=True)"
        )
    for folder in _FOLDERS:
        shutil.rmtree(path / folder, ignore_errors=True)
    for name in (ERRORS, DROPPED, GRAPH, MANIFEST, "flattened.parquet"):
        (path / name).unlink(missing_ok=True)


def _as_it_ended(path: Path) -> dict[str, Any]:
    """The manifest of a run that nothing continues: one that says it is running was killed."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    if manifest.get("status") == "running":
        manifest["status"] = "killed"
    return manifest


def _state(path: Path) -> str:
    try:
        return f" ({_as_it_ended(path)['status']})"
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return ""


def _rewind(path: Path, retry_errors: bool) -> None:
    """Remove the files that are rebuilt from the journals, and repair the journals."""
    for folder in (FLATTENED, VALUES, GROUPS):
        shutil.rmtree(path / folder, ignore_errors=True)
    (path / DROPPED).unlink(missing_ok=True)
    errors = path / ERRORS
    if retry_errors:
        _set_aside(errors)
    elif errors.exists():
        repair(errors)


def _set_aside(errors: Path) -> None:
    """Keep the errors that are tried again, in a file of their own for each time."""
    if errors.exists() and errors.stat().st_size:
        folder = errors.parent / RETRIED
        folder.mkdir(exist_ok=True)
        errors.rename(folder / f"{len(list(folder.iterdir())):06}.jsonl")


def has_rows(path: Path) -> bool:
    """Whether the run in a folder has finished anything; a run that could not start has not."""
    files = (path / ERRORS, *path.glob("steps/*/*.jsonl"))
    return any(file.exists() and file.stat().st_size > 0 for file in files)

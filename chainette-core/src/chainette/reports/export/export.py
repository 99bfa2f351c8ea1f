"""A run's table as a file of another format."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from chainette.errors import ExportError
from chainette.reports.export.tables import Lines, Only, Table, chosen, every_table, flattened
from chainette.reports.export.targets import written
from chainette.reports.export.text_file import Write, write_csv, write_jsonl
from chainette.reports.stored.run_folder import StoredRun
from chainette.text import did_you_mean

STDOUT = "-"
TEXTS = ("csv", "tsv", "jsonl")
FORMATS = (*TEXTS, "parquet", "xlsx", "db")
_SUFFIXES = {"ndjson": "jsonl", "sqlite": "db", "sqlite3": "db", "pq": "parquet"}


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported.

    Attributes:
        rows: Lines of the table, or of the first of them.
        notes: What its reader should know.
    """

    rows: int
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to export.

    Attributes:
        step: The node whose table it is; by default, the flattened one.
        groups: The `reduce` whose groups it has.
        only: The rows that it has: those that are `ok`, or those that `failed`.
        format: The format; by default, the one that the target's name ends in.
        overwrite: Whether the target may be there already.
    """

    step: str | None = None
    groups: str | None = None
    only: Only | None = None
    format: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check what has only a few values.

        Raises:
            ExportError: There is no such choice.
        """
        if self.only not in (None, "ok", "failed"):
            raise ExportError(f"only is {self.only!r}; give 'ok' or 'failed'")
        if self.format is not None and self.format not in FORMATS:
            hint = did_you_mean(self.format, FORMATS)
            raise ExportError(f"no format {self.format!r}{hint}; there are {', '.join(FORMATS)}")

    @property
    def is_one_table(self) -> bool:
        """Whether one table was asked for."""
        return self.step is not None or self.groups is not None


def export_run(
    run: StoredRun, target: str | Path, choice: Choice, write: Write | None = None
) -> Exported:
    """Export a table of a run; a database has all of them.

    Args:
        run: The run.
        target: A path, an address, or `-`.
        choice: What to export.
        write: Takes the text of what goes to `-`.

    Raises:
        ExportError: It cannot be exported.
        ConfigError: An extra is needed.
    """
    form = _format(target, choice)
    table = chosen(run, step=choice.step, groups=choice.groups, only=choice.only)
    tables = [table] if choice.is_one_table else every_table(run, choice.only)
    is_whole = run.is_finished and choice.only is None and not choice.is_one_table
    return _export(tables, form, target, choice, run.path, write, is_whole)


def export_lines(lines: Lines, target: str | Path, choice: Choice) -> Exported:
    """Export the flattened table of a run without a folder; see `export_run`."""
    if choice.is_one_table:
        raise ExportError("a run without a folder has only its flattened table: give output_dir")
    table = flattened(lines, choice.only)
    return _export([table], _format(target, choice), target, choice, None, None, True)


def _export(
    tables: list[Table], form: str, target: str | Path, choice: Choice,
    folder: Path | None, write: Write | None, is_whole: bool,
) -> Exported:  # fmt: skip
    if str(target) == STDOUT:
        if write is None:
            raise ExportError("give the path of a file")
        notes = _texts(form)(tables[0], write)
        return Exported(tables[0].rows or 0, notes)
    with written(target, folder, overwrite=choice.overwrite) as draft:
        notes = _write(tables, form, draft, str(target).endswith(".gz"), is_whole)
    return Exported(tables[0].rows or 0, notes)


def _write(
    tables: list[Table], form: str, draft: Path, is_packed: bool, is_whole: bool
) -> list[str]:
    if form in TEXTS:
        opened: Any = gzip.open if is_packed else open
        with opened(draft, "wt", encoding="utf-8", newline="") as file:
            return _texts(form)(tables[0], file.write)
    if form == "parquet":
        from chainette.reports.export.parquet_file import write_parquet

        return write_parquet(tables[0], draft)
    if form == "xlsx":
        from chainette.reports.export.xlsx_file import write_xlsx

        return write_xlsx(tables[0], draft)
    from chainette.reports.export.sqlite_file import write_sqlite

    return write_sqlite(tables, draft, is_whole=is_whole)


def _texts(form: str) -> Callable[[Table, Write], list[str]]:
    if form == "jsonl":
        return write_jsonl
    return lambda table, write: write_csv(table, write, delimiter="\t" if form == "tsv" else ",")


def _format(target: str | Path, choice: Choice) -> str:
    """The format of a target.

    Raises:
        ExportError: It is unknown, or does not fit the target.
    """
    if str(target) == STDOUT:
        if choice.format not in (None, *TEXTS):
            raise ExportError(f"{choice.format} is not text: name a file in place of -")
        return choice.format or "jsonl"
    path = PurePosixPath(str(target))
    is_packed = path.suffix == ".gz"
    suffix = (PurePosixPath(path.stem) if is_packed else path).suffix.lower().removeprefix(".")
    form = choice.format or _SUFFIXES.get(suffix, suffix)
    if form not in FORMATS:
        known = ", ".join(f".{it}" for it in FORMATS)
        what = f"no format ends in .{suffix}" if suffix else "its name does not tell the format"
        raise ExportError(f"{path}: {what}; give {known}, or its format (format=…)")
    if is_packed and form not in TEXTS:
        raise ExportError(f"{path}: .gz is for .csv, .tsv and .jsonl")
    return form

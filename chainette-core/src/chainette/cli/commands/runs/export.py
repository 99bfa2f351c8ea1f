"""`chainette export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainette.cli.say import say

if TYPE_CHECKING:
    from chainette.reports.stored.run_folder import StoredRun


_Run = typer.Argument(help="The run's folder.", show_default=False)
_Target = typer.Argument(
    help="File or address that ends in .csv, .tsv, .jsonl, .parquet, .xlsx or .db; - is stdout.",
    show_default=False,
)
_Step = typer.Option("--step", metavar="<id>", help="The table of one node.")
_Groups = typer.Option("--groups", metavar="<id>", help="The groups of a reduce.")
_Only = typer.Option("--only", metavar="ok|failed", help="Rows that ended so.")
_Format = typer.Option("--format", metavar="<name>", help="Format, whatever the name ends in.")
_Overwrite = typer.Option("--overwrite", help="Replace a file that is there.")


def export(
    run: Annotated[Path, _Run],
    target: Annotated[str, _Target],
    step: Annotated[str | None, _Step] = None,
    groups: Annotated[str | None, _Groups] = None,
    only: Annotated[str | None, _Only] = None,
    format: Annotated[str | None, _Format] = None,
    overwrite: Annotated[bool, _Overwrite] = False,
) -> None:
    """Write a run's table for other programs.

    The format is CSV, TSV, JSON lines, Parquet, an Excel workbook or a SQLite database. The table
    has one line for each row, or for each item of a row that was split. A database has the tables
    of all nodes, too. Of a run that is not finished, it has the rows that have ended.
    """
    from chainette.remote.address import shown
    from chainette.reports.export.export import STDOUT, Choice, export_run
    from chainette.reports.export.tables import Only
    from chainette.reports.stored.run_folder import StoredRun

    stored = StoredRun(run)
    chosen: Only | None = only  # type: ignore[assignment]  # it is checked there
    choice = Choice(step, groups, chosen, format, overwrite)
    if target == STDOUT and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", newline="")
    done = export_run(stored, target, choice, sys.stdout.write)
    _say_what(done.rows, "stdout" if target == STDOUT else shown(target), done.notes, stored)


def _say_what(rows: int, target: str, notes: list[str], stored: StoredRun) -> None:
    for note in notes:
        say(f"note: {note}", err=True)
    if not stored.is_finished:
        status = stored.manifest.get("status") or "not finished"
        say(f"the run is {status}: the table has the rows that have ended so far", err=True)
    say(f"{target}: {'1 line' if rows == 1 else f'{rows:,} lines'}", err=True)

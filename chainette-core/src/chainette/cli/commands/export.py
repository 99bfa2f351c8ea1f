"""`chainette export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from chainette.cli.say import say


def export(
    run: Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)],
    target: Annotated[
        str,
        typer.Argument(
            help="File or address that ends in .csv, .tsv, .jsonl, .parquet, .xlsx or .db; "
            "- is stdout.",
            show_default=False,
        ),
    ],
    step: Annotated[
        str | None, typer.Option("--step", metavar="<id>", help="The table of one node.")
    ] = None,
    groups: Annotated[
        str | None, typer.Option("--groups", metavar="<id>", help="The groups of a reduce.")
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="ok|failed", help="Rows that ended so.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", metavar="<name>", help="Format, whatever the name ends in."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there.")
    ] = False,
) -> None:
    """Write a run's table as CSV, Parquet, JSON lines, an Excel workbook or a SQLite database.

    chainette export runs/my-run table.xlsx

    The table has one line for each row, or for each item of a row that was split. A database has
    the tables of all nodes, too. Of a run that is not finished, it has the rows that have ended.
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
    for note in done.notes:
        say(f"note: {note}", err=True)
    if not stored.is_finished:
        status = stored.manifest.get("status") or "not finished"
        say(f"the run is {status}: the table has the rows that have ended so far", err=True)
    rows = "1 line" if done.rows == 1 else f"{done.rows:,} lines"
    say(f"{'stdout' if target == STDOUT else shown(target)}: {rows}", err=True)

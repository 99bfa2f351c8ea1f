"""`chainette report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainette.cli.say import say


def report(
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The HTML file.  [default: report.html in the folder]"),
    ] = None,
    rows: Annotated[
        int,
        typer.Option("--rows", min=0, metavar="<int>", help="Maximum rows; figures cover all."),
    ] = 100_000,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it again every few seconds until the run ends.")
    ] = False,
) -> None:
    """Write a run as one HTML page.

    It has charts, statistics and all rows, and needs no network.
    """
    from chainette.reports.page.report import REFRESH, watch_report, write_report

    path = output if output is not None else run / "report.html"
    if not watch:
        write_report(run, path, rows=rows)
        say(str(path))
        return
    for number, moment in enumerate(watch_report(run, path, rows=rows)):
        if not number:
            say(str(path))
            say(f"written every {REFRESH} seconds; Ctrl-C ends this, not the run", err=True)
        say(f"{moment:%H:%M:%S} UTC: written", err=True)

"""`chainette diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainette.cli.say import say

_On = typer.Option("--on", metavar="COLUMN", help="Column of the inputs that identifies a row.")
_Field = typer.Option(
    "--field",
    metavar="NAME",
    help="Field (step.field) or step to compare, or A_NAME=B_NAME; can be repeated.",
)
_Gold = typer.Option("--gold", metavar="COLUMN", help="Column of the inputs with labels.")
_Rows = typer.Option("--rows", min=0, metavar="<int>", help="Maximum number of rows to list.")
_Fold = typer.Option("--fold", help="Compare texts without their case and the space around them.")
_Html = typer.Option("--html", metavar="FILE", help="Write a page with the rows that differ.")
_Json = typer.Option("--json", help="Print one JSON object, without the rows.")


def diff(
    first: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    second: Annotated[
        Path | None,
        typer.Argument(metavar="B", help="Folder of another run; without it, give --gold."),
    ] = None,
    on: Annotated[str | None, _On] = None,
    field: Annotated[list[str] | None, _Field] = None,
    gold: Annotated[str | None, _Gold] = None,
    rows: Annotated[int, _Rows] = 10,
    html: Annotated[Path | None, _Html] = None,
    *,
    fold: Annotated[bool, _Fold] = False,
    as_json: Annotated[bool, _Json] = False,
) -> None:
    """Compare two runs, or a run with labels.

    Rows are matched by their number, if the runs have the same inputs, or by --on. Piped, the
    comparison is JSON lines: the runs, then each field, then each row that differs.
    """
    import json
    import sys

    from chainette.reports.comparing.comparison import compare

    found = compare(first, second, on=on, fields=field or (), gold=gold, fold=fold)
    if html is not None:
        say(str(found.to_html(html)), err=True)
    if as_json:
        say(json.dumps(found.as_dict(), ensure_ascii=False, indent=2))
        return
    from chainette.cli.shown.differences import json_lines, show

    if not sys.stdout.isatty():
        for line in json_lines(found):
            say(json.dumps(line, ensure_ascii=False))
    else:
        show(found, rows)

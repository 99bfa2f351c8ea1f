"""The end of a run on the command line: its rows, why others failed, and what to do next."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

from chainette.cli.say import say
from chainette.cli.shown.wording import worded
from chainette.text import escaped

if TYPE_CHECKING:
    from chainette.pipeline.pipeline import Pipeline
    from chainette.reports.run import Run
    from chainette.run.progress.stats import RunStats


def show_end(run: Run, chain: Pipeline[Any, Any], stats: RunStats, *, as_json: bool) -> None:
    """Show a run: on a terminal its first rows, the path and the next commands.

    Where standard output is not a terminal, it receives the lines of the flattened table and
    nothing else.

    Args:
        run: The run.
        chain: Its chain.
        stats: Its counts.
        as_json: Whether everything else is JSON lines on standard error.
    """
    is_terminal = sys.stdout.isatty()
    if not is_terminal:
        _write_lines(run)
    if as_json:
        kind = "nothing_to_do" if run.nothing_to_do else "run"
        say(json.dumps({"event": kind, "path": str(run.path)}, ensure_ascii=False), err=True)
        return
    if run.nothing_to_do:
        say("nothing to do: every row has an end (--retry-errors runs failed rows again)", err=True)
    else:
        _show_rows(run, chain, stats, is_terminal=is_terminal)
    say(f"run: {run.path}", err=not is_terminal)
    if is_terminal and run.path is not None:
        folder = shlex.quote(str(run.path))
        say(f"next: chainette report {folder}")
        say(f"      chainette export {folder} table.csv")


def _write_lines(run: Run) -> None:
    """Write the lines of the flattened table, in any encoding that the output has."""
    is_wide = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
    dumped = json.JSONEncoder(ensure_ascii=not is_wide, separators=(",", ":")).encode
    for line in run.lines():  # in JSON, what is escaped means the same
        sys.stdout.write(escaped(dumped(line)) + "\n")


def _show_rows(run: Run, chain: Pipeline[Any, Any], stats: RunStats, *, is_terminal: bool) -> None:
    """Show the first answers on a terminal, and the failures and the summary on stderr."""
    from rich.console import Console

    from chainette.cli.tables import answers, failures, group_answers, summary

    console, out = Console(stderr=True), Console()
    if is_terminal and run.counts.failed < run.counts.rows:
        out.print(answers(run, chain, out.width))
    for grid in group_answers(run, chain, out.width) if is_terminal else ():
        out.print(grid)
    if run.counts.unfinished or run.counts.failed_groups:
        console.print(failures(run, chain), highlight=False)
    is_piped = not console.is_terminal  # a log's lines are searched, not read in columns
    console.print(summary(run, stats), highlight=False, soft_wrap=is_piped)
    if not run.counts.rows and not run.interrupted:
        console.print("the input has no rows", highlight=False)
    if run.stopped is not None:
        stopped = f"stopped: {escaped(worded(run.stopped))}"
        console.print(stopped, highlight=False, markup=False)
        console.print("to resume: the same command with --resume", highlight=False)
    if run.interrupted:
        console.print("interrupted; to resume: the same command with --resume", highlight=False)

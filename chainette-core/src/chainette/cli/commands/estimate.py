"""`chainette estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainette.cli.engine_file import EnginesOption, provide_engines
from chainette.cli.options import METAVARS, Target, run_option
from chainette.cli.say import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chainette.events import Listener
    from chainette.run.chain import Chain
    from chainette.run.estimate.result import Estimate
    from chainette.run.inputs.generated import Rows

_INT, _FLOAT = METAVARS[int], METAVARS[float]
_Inputs = run_option("inputs", flag="-i", help="JSON, JSONL, CSV, Parquet; hf:NAME.")
_Output = run_option(
    "output_dir", flag="-o", help="Folder of the run that follows, which uses the answers."
)
_Sample = typer.Option("--sample", min=1, metavar=_INT, help="Number of rows to run.")
_Engine = typer.Option(
    "--engine",
    metavar="NAME",
    help="Engine to estimate in place of that of the steps, or OLD=NEW; can be repeated.",
)
_Limit = run_option("limit", min=1, metavar=_INT, help="Maximum number of input rows.")
_Columns = run_option("columns", metavar="[FIELD=]COLUMN,…", help="Columns to take.")
_Encoding = run_option("encoding", metavar="NAME", help="Encoding of input files.")
_Delimiter = run_option("delimiter", metavar="CHARACTER", help="Character between cells.")
_Cost = run_option("max_cost", min=0, metavar=_FLOAT, help="US dollars after which it stops.")
_Errors = run_option("max_errors", min=0, metavar=_FLOAT, help="Failed rows after which it stops.")
_Requests = run_option(
    "max_requests_per_row", min=1, metavar=_INT, help="Maximum number of requests of a row."
)
_RowCost = run_option("max_cost_per_row", min=0, metavar=_FLOAT, help="US dollars of a row.")
_Chars = run_option("max_prompt_chars", min=1, metavar=_INT, help="Longest prompt.")
_Overwrite = typer.Option("--overwrite", help="Replace an earlier estimate in the folder.")
_Json = typer.Option("--json", help="Print a JSON object for each engine.")
_JsonLogs = run_option("json_logs", help="Write events as JSON lines to stderr.")


def estimate(
    target: Target,
    inputs: Annotated[str | None, _Inputs] = None,
    engines: EnginesOption = None,
    sample: Annotated[int, _Sample] = 50,
    output_dir: Annotated[Path | None, _Output] = None,
    engine: Annotated[list[str] | None, _Engine] = None,
    limit: Annotated[int | None, _Limit] = None,
    columns: Annotated[str | None, _Columns] = None,
    encoding: Annotated[str | None, _Encoding] = None,
    delimiter: Annotated[str | None, _Delimiter] = None,
    max_cost: Annotated[float | None, _Cost] = None,
    max_errors: Annotated[float | None, _Errors] = None,
    max_requests_per_row: Annotated[int | None, _Requests] = None,
    max_cost_per_row: Annotated[float | None, _RowCost] = None,
    max_prompt_chars: Annotated[int | None, _Chars] = None,
    *,
    overwrite: Annotated[bool, _Overwrite] = False,
    as_json: Annotated[bool, _Json] = False,
    json_logs: Annotated[bool, _JsonLogs] = False,
) -> None:
    """Say what a run takes, from a sample.

    A random sample is run; from it come the tokens, dollars and time of all rows.

    Each number has an interval of 95 %. With -o, the answers are kept, and `chainette run` with the
    same -o uses them. Piped, an estimate is a JSON line for each engine.
    """
    given = {**locals()}
    from chainette.cli.commands.run import load, opened

    chain, own_inputs, own_options = load(target)
    options = _options(given, own_options)
    source = inputs or opened(own_inputs)
    wanted = engine or []
    named = [part.rpartition("=")[2] for it in wanted for part in it.split(",")]
    provide_engines(engines, [*chain.engine_names, *named], as_json=json_logs)
    found = _estimated(chain, source, sample, wanted, json_logs, options)
    _show(found, as_json)
    _say_where(options)


def _options(given: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The options of the estimate: those of the command line over those of a YAML file."""
    from chainette.cli.options import chosen
    from chainette.run.estimate.api import NAMES

    flags = {name: given[name] for name in NAMES if given[name] not in (None, False)}
    return {name: it for name, it in own.items() if name in NAMES} | chosen(flags)


def _estimated(
    chain: Chain,
    inputs: str | Rows,
    sample: int,
    engines: list[str],
    json_logs: bool,
    options: dict[str, Any],
) -> list[Estimate]:
    from functools import partial

    import anyio

    from chainette.run.api import run_until_interrupted
    from chainette.run.estimate import sampling

    call = partial(
        sampling.estimate,
        chain,
        inputs,
        sample=sample,
        engines=engines,
        listeners=partial(_progress, engines, json_logs),
        run=run_until_interrupted,
        **options,
    )
    try:
        return anyio.run(call)
    except sampling.InterruptedSampleError as error:
        say("interrupted; the answers so far are kept with -o", err=True)
        raise typer.Exit(128 + error.number) from None


def _progress(engines: list[str], json_logs: bool, name: str) -> Sequence[Listener]:
    """What shows the progress of one of the samples."""
    from chainette.cli.progress import progress
    from chainette.run.progress.stats import RunStats

    if len(engines) > 1 and not json_logs:
        say(f"engine {name}", err=True)
    stats = RunStats()
    return stats, progress(stats, as_json=json_logs)


def _show(found: list[Estimate], as_json: bool) -> None:
    import json
    import sys

    if as_json or not sys.stdout.isatty():
        for it in found:
            say(json.dumps(it.as_dict(), ensure_ascii=False))
        return
    from rich.console import Console

    from chainette.cli.shown.estimates import tables

    console = Console()
    for part in tables(found):
        console.print(part, highlight=False)


def _say_where(options: dict[str, Any]) -> None:
    if folder := options.get("output_dir"):
        say(f"the answers are kept: a run with -o {folder} uses them", err=True)
    else:
        say("the answers were not kept: with -o, the run that follows uses them", err=True)

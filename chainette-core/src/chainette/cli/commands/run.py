"""`chainette run` and `chainette run-yaml`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from chainette.cli.run_stats import RunStats
    from chainette.reports.run import Run
    from chainette.run.chain import Chain

_Inputs = typer.Option(
    "--inputs",
    "-i",
    help="JSONL, JSON, CSV or Parquet; - is stdin; hf:NAME:SPLIT.",
)
_OutputDir = typer.Option("--output-dir", "-o", help="Folder for the run.  [default: runs/…]")
_Engines = typer.Option("--engines", "-e", help="YAML file of engines; they take precedence.")
_Limit = typer.Option("--limit", min=1, help="Most input rows to take.")
_Sample = typer.Option("--sample", min=1, help="Rows to take at random, always the same ones.")
_Columns = typer.Option("--columns", help="Columns to take: name or field=name, with commas.")
_Overwrite = typer.Option("--overwrite", help="Replace an earlier run in that folder.")
_Resume = typer.Option("--resume", help="Go on with the run in that folder, if there is one.")
_RetryErrors = typer.Option("--retry-errors", help="Resume, and try again what failed.")
_JsonLogs = typer.Option("--json-logs", help="Tell what happens as JSON lines on stderr.")
_DryRun = typer.Option("--dry-run", help="Show the first prompts and send nothing.")
_Fmt = typer.Option("--fmt", help="jsonl, or parquet for tables as Parquet files, too.")
_Cache = typer.Option("--cache", help="Folder of answers that were given before.")
_MaxCost = typer.Option("--max-cost", min=0, help="Stop when so many US dollars are spent.")
_MaxErrors = typer.Option("--max-errors", min=0, help="Stop when more rows failed; 0.1: a tenth.")
_Force = typer.Option("--force", help="Resume although chain, engines or inputs changed.")


def run(
    target: Annotated[str, typer.Argument(help="file.py:CHAIN, module:CHAIN, or a YAML file.")],
    inputs: Annotated[str | None, _Inputs] = None,
    output_dir: Annotated[Path | None, _OutputDir] = None,
    engines: Annotated[Path | None, _Engines] = None,
    limit: Annotated[int | None, _Limit] = None,
    sample: Annotated[int | None, _Sample] = None,
    columns: Annotated[str | None, _Columns] = None,
    overwrite: Annotated[bool, _Overwrite] = False,
    resume: Annotated[bool, _Resume] = False,
    retry_errors: Annotated[bool, _RetryErrors] = False,
    force: Annotated[bool, _Force] = False,
    fmt: Annotated[str, _Fmt] = "jsonl",
    cache: Annotated[Path | None, _Cache] = None,
    max_cost: Annotated[float | None, _MaxCost] = None,
    max_errors: Annotated[float | None, _MaxErrors] = None,
    json_logs: Annotated[bool, _JsonLogs] = False,
    dry_run: Annotated[bool, _DryRun] = False,
) -> None:
    """Run a chain over a file of inputs; a YAML file may name its own inputs and output folder."""
    from chainette.registry.config_file import load_engines

    chain, own_inputs, own_folder = _load(target)
    source, folder = inputs or own_inputs, output_dir or own_folder
    if source is None:
        raise typer.BadParameter("give the file of input rows", param_hint="--inputs / -i")
    if fmt not in ("jsonl", "parquet"):
        raise typer.BadParameter("jsonl or parquet", param_hint="--fmt")
    if overwrite and (resume or retry_errors):
        raise typer.BadParameter("--overwrite and --resume exclude each other")
    if folder is None and (resume or retry_errors):
        raise typer.BadParameter("say which run to go on with", param_hint="--output-dir / -o")
    if engines is not None:
        load_engines(engines)
    taken = {"limit": limit, "sample": sample, "columns": _pairs(columns)}
    if dry_run:
        _show_prompts(chain, source, taken)
    options = {
        "output_dir": folder or _new_folder(chain.name),
        "overwrite": overwrite,
        "resume": resume,
        "retry_errors": retry_errors,
        "force": force,
        "fmt": fmt,
        "cache": cache,
        "max_cost": max_cost,
        "max_errors": max_errors,
    }
    _run(chain, source, taken | options, json_logs)


def _load(target: str) -> tuple[Chain, str | None, Path | None]:
    """The chain, and what inputs and output folder its YAML names."""
    from chainette.loading.target import YAML, load_chain

    if not target.endswith(YAML):
        return load_chain(target), None, None
    from chainette.loading.yaml_chain import load_yaml_chain

    loaded = load_yaml_chain(target)
    return loaded.chain, str(loaded.inputs) if loaded.inputs else None, loaded.output_dir


def _pairs(columns: str | None) -> dict[str, str] | None:
    """Columns by the field that each becomes, from `field=column` or `column` with commas."""
    if columns is None:
        return None
    pairs = [part.strip().partition("=") for part in columns.split(",")]
    return {field: column or field for field, _, column in pairs}


def _show_prompts(chain: Chain, inputs: str, taken: dict[str, Any]) -> None:
    """Print the first prompts; exit code 1 if a row has none."""
    import anyio

    from chainette.run.dry_run import Rendered, dry_run

    failed = False
    for shown in anyio.run(partial(dry_run, chain, inputs, **taken)):
        if not isinstance(shown, Rendered):
            failed = True
            typer.echo(f"failed: {shown}", err=True)
            continue
        typer.echo(f"--- row {shown.row_id}, step {shown.step_id}, engine {shown.engine}")
        for message in shown.messages:
            typer.echo(f"[{message['role']}]\n{message['content']}")
    raise typer.Exit(1 if failed else 0)


def _run(chain: Chain, inputs: str, options: dict[str, Any], json_logs: bool) -> None:
    import anyio

    from chainette.cli.progress import progress
    from chainette.cli.run_stats import RunStats
    from chainette.cli.startup import startups_shown
    from chainette.run.api import run_until_interrupted
    from chainette.run.executor import Executor

    if os.environ.get("CHAINETTE_OTEL", "").lower() in ("1", "true", "yes"):
        from chainette.engine.telemetry.otel import instrument

        instrument()
    stats = RunStats()
    listeners = (stats, progress(stats, as_json=json_logs))

    async def call() -> Run:
        executor = Executor(chain, inputs, listeners=listeners, **options)
        return await run_until_interrupted(executor)

    with nullcontext() if json_logs else startups_shown():
        finished = anyio.run(call)
    if json_logs:
        typer.echo(f"run: {finished.path}")
    else:
        _report(finished, stats)
    raise typer.Exit(_exit_code(finished))


def _new_folder(name: str) -> Path:
    """`runs/NAME/DATE-TIME`."""
    import re
    from datetime import datetime

    safe = re.sub(r"[^\w.-]+", "_", name).strip("._") or "chain"
    return Path("runs") / safe / f"{datetime.now():%Y%m%d-%H%M%S}"


def _report(run: Run, stats: RunStats) -> None:
    """Show the first answers on stdout and the sum of the run on stderr."""
    from rich.console import Console

    from chainette.cli.tables import answers, failures, summary

    if run.counts.ok:
        Console().print(answers(run))
    console = Console(stderr=True)
    if run.counts.failed:
        console.print(failures(run), highlight=False)
    console.print(summary(run, stats), highlight=False)
    if not run.counts.rows and not run.interrupted:
        console.print("the input has no rows", highlight=False)
    if run.stopped is not None:
        console.print(f"stopped: {run.stopped}", highlight=False, markup=False)
        console.print("to go on: the same command with --resume", highlight=False)
    if run.interrupted:
        console.print("interrupted; to go on: the same command with --resume", highlight=False)
    typer.echo(f"run: {run.path}")


def _exit_code(run: Run) -> int:
    if run.interrupted:
        return 130
    if run.stopped is not None:
        return 1
    if run.counts.failed == 0:
        return 0
    # When no row of the input could be read, nothing could start.
    unreadable = all(
        result.error is not None and getattr(result.error, "type", "") == "InputError"
        for result in run.results
    )
    return 2 if unreadable else 1

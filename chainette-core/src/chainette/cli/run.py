"""`chainette run` and `chainette run-yaml`."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from chainette.cli.tally import Tally
    from chainette.pipeline.chain import Chain
    from chainette.run import Run

_Inputs = typer.Option("--inputs", "-i", help="File of input rows: JSONL, JSON, CSV; - is stdin.")
_OutputDir = typer.Option("--output-dir", "-o", help="Folder for the run.  [default: runs/…]")
_Engines = typer.Option("--engines", "-e", help="YAML file of engines; they take precedence.")
_Limit = typer.Option("--limit", min=1, help="Most input rows to take.")
_Overwrite = typer.Option("--overwrite", help="Replace an earlier run in that folder.")
_Resume = typer.Option("--resume", help="Go on with the run in that folder, if there is one.")
_RetryErrors = typer.Option("--retry-errors", help="Resume, and try again what failed.")
_JsonLogs = typer.Option("--json-logs", help="Tell what happens as JSON lines on stderr.")
_DryRun = typer.Option("--dry-run", help="Show the first prompts and send nothing.")
_Fmt = typer.Option("--fmt", help="jsonl, or parquet for tables as Parquet files, too.")
_Cache = typer.Option("--cache", help="Folder of answers that were given before.")
_Force = typer.Option("--force", help="Resume although chain, engines or inputs changed.")


def run(
    target: Annotated[str, typer.Argument(help="file.py:CHAIN, module:CHAIN, or a YAML file.")],
    inputs: Annotated[str | None, _Inputs] = None,
    output_dir: Annotated[Path | None, _OutputDir] = None,
    engines: Annotated[Path | None, _Engines] = None,
    limit: Annotated[int | None, _Limit] = None,
    overwrite: Annotated[bool, _Overwrite] = False,
    resume: Annotated[bool, _Resume] = False,
    retry_errors: Annotated[bool, _RetryErrors] = False,
    force: Annotated[bool, _Force] = False,
    json_logs: Annotated[bool, _JsonLogs] = False,
    dry_run: Annotated[bool, _DryRun] = False,
    fmt: Annotated[str, _Fmt] = "jsonl",
    cache: Annotated[Path | None, _Cache] = None,
) -> None:
    """Run a chain over a file of inputs."""
    from chainette.pipeline.target import YAML, load_chain

    if target.endswith(YAML):
        run_yaml(
            Path(target),
            inputs,
            output_dir,
            engines,
            limit,
            overwrite,
            resume,
            retry_errors,
            force,
            json_logs,
            dry_run,
            fmt,
            cache,
        )
        return
    if inputs is None:
        raise typer.BadParameter("give the file of input rows", param_hint="--inputs / -i")
    options = _options(
        output_dir, limit, overwrite, resume, retry_errors, force, dry_run, fmt, cache
    )
    _run(load_chain(target), inputs, engines, options, json_logs)


def run_yaml(
    chain: Annotated[Path, typer.Argument(help="Chain in YAML.")],
    inputs: Annotated[str | None, _Inputs] = None,
    output_dir: Annotated[Path | None, _OutputDir] = None,
    engines: Annotated[Path | None, _Engines] = None,
    limit: Annotated[int | None, _Limit] = None,
    overwrite: Annotated[bool, _Overwrite] = False,
    resume: Annotated[bool, _Resume] = False,
    retry_errors: Annotated[bool, _RetryErrors] = False,
    force: Annotated[bool, _Force] = False,
    json_logs: Annotated[bool, _JsonLogs] = False,
    dry_run: Annotated[bool, _DryRun] = False,
    fmt: Annotated[str, _Fmt] = "jsonl",
    cache: Annotated[Path | None, _Cache] = None,
) -> None:
    """Run a chain in YAML, which may name its own inputs and output folder."""
    from chainette.pipeline.yaml_chain import load_yaml_chain

    loaded = load_yaml_chain(chain)
    source = inputs or (str(loaded.inputs) if loaded.inputs else None)
    if source is None:
        raise typer.BadParameter(f"{chain} names no inputs; give some", param_hint="--inputs / -i")
    folder = output_dir or loaded.output_dir
    options = _options(folder, limit, overwrite, resume, retry_errors, force, dry_run, fmt, cache)
    _run(loaded.chain, source, engines, options, json_logs)


def _options(
    output_dir: Path | None,
    limit: int | None,
    overwrite: bool,
    resume: bool,
    retry_errors: bool,
    force: bool,
    dry_run: bool,
    fmt: str,
    cache: Path | None,
) -> dict[str, Any]:
    """Options of the executor that the command line has, too."""
    if fmt not in ("jsonl", "parquet"):
        raise typer.BadParameter("jsonl or parquet", param_hint="--fmt")
    if overwrite and (resume or retry_errors):
        raise typer.BadParameter("--overwrite and --resume exclude each other")
    if output_dir is None and (resume or retry_errors):
        raise typer.BadParameter("say which run to go on with", param_hint="--output-dir / -o")
    return {
        "output_dir": output_dir,
        "limit": limit,
        "overwrite": overwrite,
        "resume": resume,
        "retry_errors": retry_errors,
        "force": force,
        "dry_run": dry_run,
        "fmt": fmt,
        "cache": cache,
    }


def _show_prompts(chain: Chain, inputs: str, limit: int | None) -> None:
    """Print the first prompts; exit code 1 if a row has none."""
    import anyio

    from chainette.run.dry_run import Rendered, dry_run

    failed = False
    for shown in anyio.run(partial(dry_run, chain, inputs, limit=limit or 3)):
        if not isinstance(shown, Rendered):
            failed = True
            typer.echo(f"failed: {shown}", err=True)
            continue
        typer.echo(f"--- row {shown.row_id}, step {shown.step_id}, engine {shown.engine}")
        for message in shown.messages:
            typer.echo(f"[{message['role']}]\n{message['content']}")
    raise typer.Exit(1 if failed else 0)


def _run(
    chain: Chain, inputs: str, engines: Path | None, options: dict[str, Any], json_logs: bool
) -> None:
    import anyio

    from chainette.cli.progress import progress
    from chainette.cli.startup import startups_shown
    from chainette.cli.tally import Tally
    from chainette.engine.config_file import load_engines
    from chainette.run import Executor, run_until_interrupted
    from chainette.run.events import Observers

    if engines is not None:
        load_engines(engines)
    if options.pop("dry_run"):
        _show_prompts(chain, inputs, options["limit"])

    tally = Tally()
    observer = Observers(tally, progress(tally, as_json=json_logs))

    async def call() -> Run:
        options["output_dir"] = options["output_dir"] or _new_folder(chain.name)
        executor = Executor(chain, inputs, observer=observer, **options)
        return await run_until_interrupted(executor)

    with nullcontext() if json_logs else startups_shown():
        finished = anyio.run(call)
    if json_logs:
        typer.echo(f"run: {finished.path}")
    else:
        _report(finished, tally)
    raise typer.Exit(_exit_code(finished))


def _new_folder(name: str) -> Path:
    """`runs/NAME/DATE-TIME`."""
    import re
    from datetime import datetime

    safe = re.sub(r"[^\w.-]+", "_", name).strip("._") or "chain"
    return Path("runs") / safe / f"{datetime.now():%Y%m%d-%H%M%S}"


def _report(run: Run, tally: Tally) -> None:
    """Show the first answers on stdout and the sum of the run on stderr."""
    from rich.console import Console

    from chainette.cli.tables import answers, failures, summary

    if run.counts.ok:
        Console().print(answers(run))
    console = Console(stderr=True)
    if run.counts.failed:
        console.print(failures(run), highlight=False)
    console.print(summary(run, tally), highlight=False)
    if not run.counts.rows and not run.interrupted:
        console.print("the input has no rows", highlight=False)
    if run.interrupted:
        console.print("interrupted; to go on: the same command with --resume", highlight=False)
    typer.echo(f"run: {run.path}")


def _exit_code(run: Run) -> int:
    if run.interrupted:
        return 130
    if run.counts.failed == 0:
        return 0
    # When no row of the input could be read, nothing could start.
    unreadable = all(
        result.error is not None and getattr(result.error, "type", "") == "InputError"
        for result in run.results
    )
    return 2 if unreadable else 1

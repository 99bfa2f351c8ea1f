"""The commands; each imports its code when it is called."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from chainette.cli.commands.ask import ask
from chainette.cli.commands.engines import engines
from chainette.cli.commands.estimate import estimate
from chainette.cli.commands.inspect import inspect
from chainette.cli.commands.plugins import plugins
from chainette.cli.commands.run import run
from chainette.cli.commands.runs.diff import diff
from chainette.cli.commands.runs.export import export
from chainette.cli.commands.runs.report import report
from chainette.cli.commands.schema import schema
from chainette.cli.commands.warmup import stop, warmup_chain, warmup_engines
from chainette.cli.say import PlainFormatter

app: typer.Typer = typer.Typer(
    name="chainette",
    help="Typed LLM pipelines over datasets, on any back-end.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and keys among them
    rich_markup_mode=None,  # drawing boxes around help would take twice as long as all the rest
    add_completion=True,
)
app.command("run")(run)
app.command("run-yaml", help="Alias of `chainette run`.")(run)
app.command("ask")(ask)
app.command("inspect")(inspect)
app.command("estimate")(estimate)
app.command("report")(report)
app.command("export")(export)
app.command("diff")(diff)
app.command("schema")(schema)
app.command("warmup")(warmup_chain)
engines.command("warmup")(warmup_engines)
engines.command("stop")(stop)
app.add_typer(engines, name="engines")
app.add_typer(plugins, name="plugins")


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib_metadata

        typer.echo(importlib_metadata.version("chainette"))
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Write debug logs to stderr.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    handler = logging.StreamHandler()
    form = "%(levelname)s %(name)s: %(message)s" if debug else "%(message)s"
    handler.setFormatter(PlainFormatter(form))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("chainette").setLevel(logging.DEBUG if debug else logging.WARNING)

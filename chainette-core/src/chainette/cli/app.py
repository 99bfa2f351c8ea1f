"""The commands; each imports its code when it is called."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from chainette.cli.say import PlainFormatter

COMMANDS: Mapping[str, str] = {
    "run": "run:run",
    "run-yaml": "run:run",
    "ask": "ask:ask",
    "inspect": "inspect:inspect",
    "estimate": "estimate:estimate",
    "report": "runs.report:report",
    "export": "runs.export:export",
    "diff": "runs.diff:diff",
    "schema": "schema:schema",
    "warmup": "warmup:warmup_chain",
    "engines": "engines:engines",
    "plugins": "plugins:plugins",
}
"""Where the commands are, by name: a module of `commands`, and a function or a group in it."""
_HELP = {"run-yaml": "Alias of `chainette run`."}
app: typer.Typer
"""The app with all of its commands."""


def app_for(words: Sequence[str]) -> typer.Typer:
    """The app with the commands that a command line needs, since each takes time to build.

    Args:
        words: The words behind `chainette`.
    """
    asked = next((it for it in words if not it.startswith("-")), None)
    is_completing = "_CHAINETTE_COMPLETE" in os.environ  # by the shell, which gives no words
    if asked is not None and asked in COMMANDS and not is_completing:
        return _app([asked])
    return _app(COMMANDS, is_listed=asked is None and not is_completing)


def _app(names: Iterable[str], *, is_listed: bool = False) -> typer.Typer:
    """The app with some commands; if they are only listed, without their options."""
    made = typer.Typer(
        name="chainette",
        help="Typed LLM pipelines over datasets, on any back-end.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,  # its tracebacks show local variables, and keys among them
        rich_markup_mode=None,  # drawing boxes around help would take twice as long as all the rest
        add_completion=True,
    )
    for name in names:
        module, _, symbol = COMMANDS[name].partition(":")
        found = getattr(import_module(f"chainette.cli.commands.{module}"), symbol)
        if isinstance(found, typer.Typer):
            made.add_typer(_listed_group(found) if is_listed else found, name=name)
        else:
            made.command(name, help=_HELP.get(name))(_listed(found) if is_listed else found)
    made.callback()(_options)
    return made


def _listed(command: Callable[..., None]) -> Callable[[], None]:
    def listed() -> None: ...

    listed.__doc__ = command.__doc__
    return listed


def _listed_group(group: typer.Typer) -> typer.Typer:
    return typer.Typer(help=group.info.help, no_args_is_help=True)


def __getattr__(name: str) -> Any:
    if name == "app":
        globals()["app"] = found = _app(COMMANDS)
        return found
    raise AttributeError(name)


def _print_version(wanted: bool) -> None:
    if wanted:
        import importlib_metadata

        typer.echo(importlib_metadata.version("chainette"))
        raise typer.Exit


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

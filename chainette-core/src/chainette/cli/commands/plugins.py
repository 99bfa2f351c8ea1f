"""`chainette plugins …`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from chainette.cli.say import say

plugins: typer.Typer = typer.Typer(help="Write plugins, and check them.")

PROTOCOLS = ("openai", "http", "local")


@plugins.callback()
def _plugins() -> None:
    """Write plugins, and check them."""


@plugins.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Name of the backend, such as acme.")],
    protocol: Annotated[
        str | None,
        typer.Option("--protocol", help="Protocol: openai, http or local."),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option("--output-dir", "-o", help="Folder.  [default: chainette-NAME]")
    ] = None,
) -> None:
    """Write a distribution with a backend.

    It can be installed, and passes its tests.
    """
    from chainette.errors import PluginError

    _need("copier", "plugins")
    import copier
    from copier.errors import CopierError

    if protocol not in (None, *PROTOCOLS):
        raise PluginError(f"unknown protocol {protocol!r}; protocols: {', '.join(PROTOCOLS)}")
    folder = output_dir or Path(f"chainette-{name.replace('_', '-')}")
    if folder.exists() and any(folder.iterdir()):
        raise PluginError(f"{folder}: is not empty; choose another folder (--output-dir)")
    answers = {"name": name} | ({"protocol": protocol} if protocol else {})
    template = str(Path(__file__).with_name("plugin_template"))
    try:
        asks = sys.stdin.isatty()
        copier.run_copy(template, folder, answers, defaults=not asks, quiet=True)
    except (CopierError, ValueError) as error:
        raise PluginError(str(error)) from None
    say(f'{folder}: written. Next: cd {folder}; pip install -e ".[dev]"; pytest; mypy')


@plugins.command("check")
def check(
    package: Annotated[str, typer.Argument(help="A distribution, or the name of a backend.")],
    server: Annotated[
        str,
        typer.Option(
            "--server",
            help="Fake server: openai, vllm, ollama, module:Class, or none for a real one.",
        ),
    ] = "",
    field: Annotated[
        list[str] | None, typer.Option("--field", "-f", help="Field of its engines: KEY=VALUE.")
    ] = None,
) -> None:
    """Run the checks of all backends on an installed one."""
    from chainette.errors import ConfigError

    _need("pytest", "testing")
    _need("h11", "testing")
    from chainette.testing.report import check_backend, find_backends

    fields: dict[str, Any] = {}
    for option in field or []:
        key, equals, value = option.partition("=")
        if not equals:
            raise ConfigError(f"--field {option}: write KEY=VALUE")
        fields[key] = value
    failed = 0
    for backend in find_backends(package):
        say(f"{backend}:")
        for promise in check_backend(backend, server, fields):
            failed += promise.failed
            say(f"  {promise}")
    raise typer.Exit(1 if failed else 0)


def _need(module: str, extra: str) -> None:
    from chainette.errors import PluginError

    if find_spec(module) is None:
        raise PluginError(f"{module} is not installed: pip install 'chainette[{extra}]'")

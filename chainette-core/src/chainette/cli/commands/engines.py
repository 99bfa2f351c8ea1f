"""`chainette engines …`."""

from __future__ import annotations

import dataclasses
import math
import shutil
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainette.cli.commands.warmup import stop, warmup_engines
from chainette.cli.engine_file import EnginesOption, provide_engines
from chainette.cli.say import say
from chainette.text import escaped

if TYPE_CHECKING:
    from chainette.engine.config import EngineConfig
    from chainette.engine.server.warm import WarmServer
    from chainette.plugins.discovery import PluginInfo

engines: typer.Typer = typer.Typer(help="Installed backends and configured engines.")


@engines.callback()
def _engines() -> None:
    """Installed backends and configured engines."""


@engines.command("list")
def list_engines(
    file: EnginesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed backends and the configured engines."""
    from chainette.plugins.discovery import survey

    plugins = survey()
    configs = provide_engines(file)
    if as_json:
        import json

        say(json.dumps(_as_json(plugins, configs), ensure_ascii=False, indent=2))
    else:
        _show(plugins, configs)
        _show_servers()


def _as_json(plugins: list[PluginInfo], configs: list[EngineConfig]) -> dict[str, Any]:
    backends = [
        {
            "name": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "entry_point": info.entry_point,
            "capabilities": info.backend.capabilities.names() if info.backend else [],
            "sampling": sorted(info.backend.capabilities.sampling) if info.backend else [],
            "summary": info.backend.summary if info.backend else "",
            "state": info.state,
            "reason": info.reason,
        }
        for info in plugins
    ]
    servers = [dataclasses.asdict(server) for server in _warm_servers()]
    return {
        "backends": backends,
        "servers": servers,
        "engines": [config.public() for config in configs],
    }


def _show(plugins: list[PluginInfo], configs: list[EngineConfig]) -> None:
    from chainette.plugins.discovery import not_installed

    columns = ["backend", "distribution", "version", "entry point", "state", "capabilities"]
    rows = [
        [info.name, info.distribution, info.version, info.entry_point, info.state, _details(info)]
        for info in plugins
    ]
    print_table(columns, rows) if rows else say("No backend is installed.")
    for name, distribution in not_installed().items():
        say(f"not installed: {name:<11} pip install {distribution}")
    if configs:
        columns = ["engine", "backend", "model", "endpoint"]
        print_table(columns, [_engine_row(config) for config in configs])


def _show_servers() -> None:
    if servers := _warm_servers():
        rows = [
            [server.name, server.backend, server.url, server.container or str(server.pid)]
            for server in servers
        ]
        print_table(["server", "backend", "url", "process"], rows)


def _warm_servers() -> list[WarmServer]:
    from chainette.engine.server.warm import warm_servers

    return warm_servers()


def _details(info: PluginInfo) -> str:
    return ", ".join(info.backend.capabilities.names()) if info.backend else info.reason


def _engine_row(config: EngineConfig) -> list[str]:
    public = config.public()
    return [str(public.get(key) or "") for key in ("name", "backend", "model", "endpoint")]


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table as plain text; a narrow terminal gets the last column on lines of its own."""
    rows = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else math.inf
    is_narrow = sum(widths) + 2 * len(widths) - 2 > room
    for row in (columns, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        last = f"{' ' * widths[0]}  {cells.pop().rstrip()}" if is_narrow else None
        say("  ".join(cells).rstrip())
        if last is not None:
            say(last)


@engines.command("check")
def check(
    name: Annotated[str, typer.Argument(help="Name of the engine.")],
    file: EnginesOption = None,
) -> None:
    """Connect to an engine, find its model and make one structured call."""
    import anyio

    from chainette.cli.startup import startups_shown
    from chainette.registry.engines import get_engine_config
    from chainette.registry.probe import check_engine

    provide_engines(file, [name])
    with startups_shown():
        report = anyio.run(check_engine, get_engine_config(name))
    for field in dataclasses.fields(report):
        value = getattr(report, field.name)
        if value not in (None, ""):
            say(f"{field.name.replace('_', ' '):<18}{value}")
    raise typer.Exit(0 if report.structured_output == "yes" else 1)


engines.command("warmup")(warmup_engines)
engines.command("stop")(stop)

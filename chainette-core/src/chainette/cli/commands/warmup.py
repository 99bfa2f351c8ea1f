"""`chainette warmup`, `chainette engines warmup` and `chainette engines stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chainette.cli.engine_file import EnginesOption, provide_engines
from chainette.cli.options import Target
from chainette.cli.say import say

if TYPE_CHECKING:
    from chainette.engine.config import EngineConfig
    from chainette.engine.server.warm import WarmServer

_DryRun = typer.Option("--dry-run", help="Print the command lines and start nothing.")
_Docker = typer.Option("--docker", help="Start the official images in containers.")


def warmup_chain(
    target: Target,
    engines: EnginesOption = None,
    docker: Annotated[bool, _Docker] = False,
    dry_run: Annotated[bool, _DryRun] = False,
) -> None:
    """Start and check every engine of a chain.

    The servers stay until `chainette engines stop`.
    """
    from chainette.loading.target import load_chain
    from chainette.registry.engines import get_engine_config

    names = load_chain(target).engine_names
    provide_engines(engines, names)
    _warm_up([get_engine_config(name) for name in names], docker=docker, dry=dry_run)


def warmup_engines(
    targets: Annotated[
        list[str],
        typer.Argument(help="Names of engines or backends."),
    ],
    engines: EnginesOption = None,
    model: Annotated[str | None, typer.Option("--model", help="Model of a backend.")] = None,
    docker: Annotated[bool, _Docker] = False,
    dry_run: Annotated[bool, _DryRun] = False,
) -> None:
    """Start and check engines, or backends.

    The servers stay until `chainette engines stop`.
    """
    provide_engines(engines, targets)
    _warm_up([_config(name, model) for name in targets], docker=docker, dry=dry_run)


def _config(name: str, model: str | None) -> EngineConfig:
    """A configured engine, or one of a backend without options other than the model."""
    from chainette.errors import ConfigError
    from chainette.plugins import discovery
    from chainette.registry.engines import engine_names, get_engine_config, register_engine

    if name in engine_names():
        return get_engine_config(name)
    if name not in discovery.names():
        engines = ", ".join(engine_names()) or "none"
        backends = ", ".join(discovery.names()) or "none"
        raise ConfigError(
            f"{name!r} is neither an engine nor a backend; engines: {engines}; backends: {backends}"
        )
    return register_engine(name, backend=name, **({"model": model} if model else {}))


def _warm_up(configs: list[EngineConfig], *, docker: bool, dry: bool) -> None:
    """Warm up every engine, also when one of them fails."""
    from chainette.cli.startup import startups_shown
    from chainette.errors import ChainetteError

    failures = []
    with startups_shown():
        for config in configs:
            try:
                _print_plan(config, docker) if dry else _warm_up_one(config, docker)
            except ChainetteError as error:
                failures.append(f"{config.name}: {error}")
    for failure in failures:
        say(failure, err=True)
    if failures:
        raise typer.Exit(2)


def _print_plan(config: EngineConfig, docker: bool) -> None:
    from chainette.registry.engines import client_for

    client = client_for(config)
    container = client.container() if docker else None
    server = None if docker else client.server()
    if container is not None:
        say(container.line)
    elif server is not None:
        say(server.shown_command)
    else:
        say(_nothing_to_start(config, docker), err=True)


def _nothing_to_start(config: EngineConfig, docker: bool) -> str:
    if config.endpoint is not None:
        return f"{config.name}: nothing to start, it has the endpoint {config.public()['endpoint']}"
    thing = "official image" if docker else "server of its own"
    return f"{config.name}: nothing to start, the backend {config.backend} has no {thing}"


def _warm_up_one(config: EngineConfig, docker: bool) -> None:
    import anyio

    from chainette.engine.server.warm import find, keep
    from chainette.registry.engines import client_for
    from chainette.registry.probe import reach

    client = client_for(config)
    warm = find(config)
    container = client.container() if docker and warm is None else None
    server = None if docker or warm is not None else client.server()
    if warm is not None:
        say(f"{_line(warm)} (already running)")
    elif container is not None:
        say(_line(container.start(config)))
    elif server is not None:
        say(_line(keep(config, server)))
    else:
        say(_nothing_to_start(config, docker), err=True)
        if docker:
            raise typer.Exit(2)
    if not client.capabilities.local or server or warm or config.endpoint:
        models = anyio.run(reach, client)
        say(f"{config.name}: is up; models: {', '.join(models or []) or 'not listed'}")


def _line(warm: WarmServer) -> str:
    if not (warm.pid or warm.container):
        return f"{warm.name}: {warm.url} (runs already; nothing to start)"
    process = f"container {warm.container}" if warm.container else f"process {warm.pid}"
    log = f"docker logs {warm.container}" if warm.container else warm.log
    return f"{warm.name}: {warm.url} ({process}, log: {log})"


def stop(
    name: Annotated[str | None, typer.Argument(help="Name, as warmup printed it.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Stop every server.")] = False,
) -> None:
    """Stop servers that `warmup` started."""
    from chainette.engine.server.warm import warm_servers
    from chainette.text import did_you_mean

    running = {server.name: server for server in warm_servers()}
    if not (name or everything):
        raise typer.BadParameter("name a server, or use --all", param_hint="NAME")
    if name and name not in running:
        known = ", ".join(running) or "none"
        hint = did_you_mean(name, running)
        raise typer.BadParameter(f"no server named {name!r} is running{hint}; running: {known}")
    if not running:
        say("no server is running", err=True)
    for server in [running[name]] if name else running.values():
        server.stop()
        say(f"stopped {_line(server)}")

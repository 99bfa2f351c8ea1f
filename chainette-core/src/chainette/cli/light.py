"""Commands that load Pydantic only for an option that was given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from typer.main import get_command


def command(app: Any) -> Any:
    """The command of a Typer app, whose options stay as they are where no value is given.

    Typer converts the values of options with Pydantic, and loads it even where there is none to
    convert: for every command, since `--help` is an option of all.
    """
    made = get_command(app)
    _lighten(made)
    return made


def _lighten(command: Any) -> None:
    command.get_params = partial(_light_parameters, command.get_params)
    for inner in getattr(command, "commands", {}).values():
        _lighten(inner)


def _light_parameters(get_params: Callable[[Any], list[Any]], context: Any) -> list[Any]:
    parameters = get_params(context)
    for it in parameters:
        if not (it.required or it.multiple or it.nargs != 1 or "process_value" in vars(it)):
            it.process_value = partial(_process, it, it.process_value)
    return parameters


def _process(parameter: Any, convert: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    if value is not None:
        return convert(context, value)
    return parameter.callback(context, parameter, None) if parameter.callback else None

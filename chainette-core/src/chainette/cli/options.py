"""The options of a run as flags, made from the fields of `RunOptions`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

import typer

from chainette.run.options import Option, options_of

Target: TypeAlias = Annotated[
    str, typer.Argument(help="file.py:CHAIN, module:CHAIN, or a YAML file.")
]
"""The chain that a command is about."""
METAVARS: dict[Any, str] = {int: "<int>", float: "<float>"}
"""Typer would show that the value has a range, as it does after the help."""


def run_option(name: str, *, flag: str | None = None, **details: Any) -> Any:
    """A flag with a default from the environment: `CHAINETTE_` and its name."""
    dashed = f"--{name.replace('_', '-')}"
    return typer.Option(
        *(details.pop("flags", (dashed,))),
        *((flag,) if flag else ()),
        envvar=f"CHAINETTE_{name.upper()}",
        show_envvar=False,
        **details,
    )


def with_run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command a flag for each option of a run, in place of its `**options`.

    A flag that the user leaves out is `None`; `chosen` makes options from the others.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [it for it in signature.parameters.values() if it.kind is it.POSITIONAL_OR_KEYWORD]
    last = [it for it in signature.parameters.values() if it.kind is it.KEYWORD_ONLY]
    flags = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[_kind(option) | None, _flag(option)],
        )
        for option in options_of()
    ]
    command.__signature__ = signature.replace(parameters=[*own, *flags, *last])  # type: ignore[attr-defined]
    return command


def chosen(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The options whose flags have a value, as `RunOptions` takes them."""
    options = {name: value for name, value in flags.items() if value not in (None, [])}
    for option in options_of():
        if option.name in options and get_origin(option.type) is Literal:
            options[option.name] = options[option.name].value
        elif option.name in options and _is_mapping(option):
            options[option.name] = _pairs(options[option.name])
        elif option.name == "keep" and option.name in options:
            options[option.name] = _names(options[option.name])
    return options


def _flag(option: Option) -> Any:
    help = option.help
    dashed = f"--{option.name.replace('_', '-')}"
    is_bool = option.type is bool
    default = "" if is_bool or option.default in (None, ()) else f"  [default: {option.default}]"
    return run_option(
        option.name,
        flag=help.flag,
        flags=(f"{dashed}/--no-{dashed[2:]}",) if is_bool else (dashed,),
        min=help.minimum,
        metavar=help.metavar or METAVARS.get(_kind(option)),
        help=help.text + default,
        show_default=False,
    )


def _kind(option: Option) -> Any:
    """The type that Typer converts a flag's value to."""
    if option.is_path:
        return Path
    if get_origin(option.type) is Literal:
        return Enum(option.name, {value: value for value in get_args(option.type)})
    if _is_mapping(option) or option.name == "keep":
        return str
    if get_origin(option.type) is Sequence:  # the flag is repeated
        return list[str]
    return next((it for it in get_args(option.type) if it is not type(None)), option.type)


def _is_mapping(option: Option) -> bool:
    return any(get_origin(it) is Mapping for it in get_args(option.type))


def _names(columns: str) -> str | list[str]:
    """Names of columns with commas between them, or a word that means some of them."""
    words = columns.strip()
    return words if words in ("all", "none") else [it.strip() for it in words.split(",") if it]


def _pairs(columns: str) -> dict[str, str]:
    """Columns by the field that each becomes, from `field=column` or `column` with commas."""
    pairs = [part.strip().partition("=") for part in columns.split(",")]
    return {field: column or field for field, _, column in pairs}

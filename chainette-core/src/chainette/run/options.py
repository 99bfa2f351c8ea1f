"""The options of a run: their names, types, defaults and descriptions are here and nowhere else.

The keywords of `Chain.run`, the flags of `chainette run`, the `run:` mapping of YAML files and the
table in the documentation are made from the fields of `RunOptions`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Concatenate,
    Literal,
    NamedTuple,
    ParamSpec,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from chainette.errors import ConfigError, OutputDirError
from chainette.pipeline.bounds import MAX_PROMPT
from chainette.text import did_you_mean

P = ParamSpec("P")
ChainT = TypeVar("ChainT")
InputsT = TypeVar("InputsT")
ReturnT = TypeVar("ReturnT")


class Help(NamedTuple):
    """The description of an option.

    Attributes:
        text: One sentence, which is also the help of the flag.
        more: More sentences, for documentation.
        minimum: The smallest value on the command line and in YAML.
        flag: A short flag.
        metavar: The form of the value on the command line, where its type does not say it.
    """

    text: str
    more: str = ""
    minimum: int | None = None
    flag: str | None = None
    metavar: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run.

    Raises:
        ConfigError: A value is not of its option's type, or two options exclude each other.
        OutputDirError: There is nothing to resume without an output directory.
    """

    output_dir: Annotated[
        str | Path | None,
        Help(
            "Folder for the run's files.",
            "Without one, results stay in memory, and the command line makes a new folder in "
            "`runs/`.",
            flag="-o",
        ),
    ] = None
    limit: Annotated[int | None, Help("Maximum number of input rows.", minimum=1)] = None
    sample: Annotated[
        int | None, Help("Number of rows to take at random, always the same ones.", minimum=1)
    ] = None
    columns: Annotated[
        Mapping[str, str] | None,
        Help(
            "Columns that the chain sees, by the field that each becomes.",
            "It sees no others.",
            metavar="[FIELD=]COLUMN,…",
        ),
    ] = None
    keep: Annotated[
        Literal["all", "none"] | Sequence[str],
        Help(
            "Columns of the inputs that tables and errors have beside the answers.",
            "Either `all`, `none`, or a list of names.",
            metavar="all|none|COLUMN,…",
        ),
    ] = "all"
    encoding: Annotated[
        str | None, Help("Encoding of input files.", "By default, UTF-8.", metavar="NAME")
    ] = None
    delimiter: Annotated[
        str | None,
        Help(
            "Character between the cells of a CSV file; tab is one, too.",
            "By default, the comma, semicolon, tab or bar that its header has most of.",
            metavar="CHARACTER",
        ),
    ] = None
    overwrite: Annotated[bool, Help("Replace an earlier run in the folder.")] = False
    resume: Annotated[
        bool,
        Help("Resume the run in the folder, if there is one.", "Finished rows are not run again."),
    ] = False
    retry_errors: Annotated[bool, Help("Resume, and run failed rows again.")] = False
    redo: Annotated[
        Sequence[str],
        Help(
            "Resume, and run these nodes and all that depends on them again.",
            "Other outputs are kept.",
            metavar="NODE",
        ),
    ] = ()
    force: Annotated[bool, Help("Resume although chain, engines or inputs changed.")] = False
    max_lines_per_file: Annotated[
        int, Help("Number of lines in a file before a new one begins.", minimum=1)
    ] = 100_000
    fmt: Annotated[
        Literal["jsonl", "parquet"],
        Help("Format of the tables; parquet adds Parquet files when the run ends."),
    ] = "jsonl"
    cache: Annotated[
        str | Path | None, Help("Folder of earlier answers to use again.", "Runs can share it.")
    ] = None
    max_cost: Annotated[
        float | None,
        Help("US dollars after which the run stops.", minimum=0),
    ] = None
    max_errors: Annotated[
        float | None,
        Help("Failed rows after which the run stops; below 1, their share of all.", minimum=0),
    ] = None
    max_requests_per_row: Annotated[
        int | None,
        Help(
            "Maximum number of requests that are answered for a row.",
            "A row that needs more fails.",
            minimum=1,
        ),
    ] = None
    max_cost_per_row: Annotated[
        float | None,
        Help(
            "US dollars of a row after which it may send no more requests.",
            "A row that needs more fails.",
            minimum=0,
        ),
    ] = None
    max_prompt_chars: Annotated[
        int,
        Help(
            "Maximum number of characters of a rendered prompt.",
            "A row with a longer one fails.",
            minimum=1,
        ),
    ] = MAX_PROMPT

    def __post_init__(self) -> None:
        """Refuse wrong values, and options that do not fit together."""
        for option in options_of():
            value = getattr(self, option.name)
            if value is not option.default:
                object.__setattr__(self, option.name, _checked(option, value))
        if self.overwrite and self.resumes:
            raise ConfigError("overwrite and resume exclude each other: give one of them")
        if self.resumes and self.output_dir is None:
            raise OutputDirError("to resume, give the output directory of the run")

    @property
    def resumes(self) -> bool:
        """Whether an earlier run is resumed, if there is one."""
        return self.resume or self.retry_errors or bool(self.redo)


class Option(NamedTuple):
    """One option.

    Attributes:
        name: Its keyword.
        type: Its type.
        default: Its default.
        help: Its description.
    """

    name: str
    type: Any
    default: Any
    help: Help

    @property
    def is_path(self) -> bool:
        """Whether it is the path of a file or folder."""
        return Path in get_args(self.type)


@cache
def options_of(options: Callable[..., Any] = RunOptions) -> tuple[Option, ...]:
    """The options that a class has as its fields."""
    assert isinstance(options, type)
    hints = get_type_hints(options, include_extras=True)
    return tuple(_option(field, hints[field.name]) for field in dataclasses.fields(options))


def _checked(option: Option, value: Any) -> Any:
    """A value of an option; a path with its `~` replaced.

    Raises:
        ConfigError: The value is not of its type, or too small.
    """
    from pydantic import ValidationError  # takes long to load, and lists of engines need no run

    try:
        checked = _adapter(option.name).validate_python(value)
    except ValidationError:
        raise _wrong(option, value) from None
    is_truth = isinstance(value, bool) and option.help.minimum is not None
    if is_truth or (option.name == "columns" and checked == {}):  # no row could be read
        raise _wrong(option, value)
    is_home = option.is_path and str(checked).startswith(("~/", "~\\"))
    return Path(checked).expanduser() if is_home else checked


def _wrong(option: Option, value: Any) -> ConfigError:
    """The exception for a value of another type, or one that is too small."""
    kinds = get_args(option.type) or (option.type,)
    if get_origin(option.type) is Literal:
        expected = " or ".join(map(repr, kinds))
    elif option.name == "columns":
        expected = "a dict of columns by field, such as {'text': 'body'}"
    elif option.name == "keep":
        expected = "'all', 'none' or a list of columns, such as ['id']"
    elif option.name == "redo":
        expected = "a list of node ids, such as ['summary']"
    elif option.help.minimum is not None:
        smallest = _smallest(option)
        bound = f"of at least {smallest:g}" if smallest else "that is not negative"
        expected = f"a {'' if float in kinds else 'whole '}number {bound}"
    else:
        expected = " or ".join(_NAMES.get(kind, kind.__name__) for kind in kinds)
    return ConfigError(f"{option.name}={value!r}"[:100] + f": expected {expected}")


def _smallest(option: Option) -> float:
    # `limit=0` is a way to have no rows.
    return 0 if option.name in ("limit", "sample") else option.help.minimum or 0


_NAMES: dict[Any, str] = {bool: "True or False", str: "a text", Path: "a path", type(None): "None"}


@cache
def _adapter(name: str) -> Any:
    from pydantic import Field, TypeAdapter

    option = next(it for it in options_of() if it.name == name)
    is_number = option.help.minimum is not None
    field = Field(ge=_smallest(option), allow_inf_nan=False)
    kind: Any = Annotated[option.type, field] if is_number else option.type
    return TypeAdapter(kind)


def _option(field: dataclasses.Field[Any], hint: Any) -> Option:
    (help,) = hint.__metadata__
    return Option(field.name, hint.__origin__, field.default, help)


def takes(
    options: Callable[P, Any],
) -> Callable[
    [Callable[Concatenate[ChainT, InputsT, ...], ReturnT]],
    Callable[Concatenate[ChainT, InputsT, P], ReturnT],
]:
    """Declare that the keywords of a method are the fields of a class.

    Type checkers see them in the method's type, `help` and Sphinx in its signature and docstring.

    Args:
        options: `RunOptions` or a class that is derived from it.
    """
    fields = options_of(options)

    def describe(method: Any) -> Any:
        own = [
            parameter
            for parameter in inspect.signature(method).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        keywords = [
            inspect.Parameter(
                it.name, inspect.Parameter.KEYWORD_ONLY, default=it.default, annotation=it.type
            )
            for it in fields
        ]
        signature = inspect.signature(method)
        method.__signature__ = signature.replace(parameters=[*own, *keywords])
        method.__doc__ = _described(method.__doc__ or "", fields)
        return method

    return describe


def _described(docstring: str, fields: Sequence[Option]) -> str:
    """A docstring with an entry for each option in place of the one for `**options`."""
    before, entry, after = docstring.partition("**options:")
    if not entry:
        return docstring
    indent = " " * (len(before) - len(before.rstrip(" ")))
    texts = (f"{it.name}: {it.help.text} {it.help.more}".rstrip() for it in fields)
    return before + f"\n{indent}".join(texts) + "\n" + after.partition("\n")[2]


def known(keywords: dict[str, Any], options: type[RunOptions] = RunOptions) -> dict[str, Any]:
    """The keywords themselves, if each is the name of an option.

    Raises:
        TypeError: A name is unknown; the message has the nearest one that is known.
    """
    names = [field.name for field in dataclasses.fields(options)]
    for name in keywords:
        if name not in names:
            hint = did_you_mean(name, names)
            raise TypeError(f"unknown option {name!r}{hint}; options: {', '.join(names)}")
    return keywords

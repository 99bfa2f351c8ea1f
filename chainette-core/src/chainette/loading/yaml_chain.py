"""Chains that are written in YAML."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError

from chainette.engine.structured.code import Code
from chainette.errors import ChainError
from chainette.loading.importing import load_symbol
from chainette.loading.inline_models import SCALARS, FieldSpec, build_models, type_of
from chainette.loading.yaml_mistakes import mistakes_in, outline
from chainette.loading.yaml_places import inside_of, place_of
from chainette.loading.yaml_rows import YamlRows
from chainette.loading.yaml_spec import (
    ApplySpec,
    BranchSpec,
    ChainSpec,
    DistinctSpec,
    FilterSpec,
    ReduceSpec,
    RepeatSpec,
    RouteSpec,
    RowsSpec,
    SplitSpec,
    StepSpec,
    UseSpec,
    VoteSpec,
)
from chainette.pipeline.composites.group import Group
from chainette.pipeline.composites.reduce import reduce
from chainette.pipeline.composites.repeat import repeat
from chainette.pipeline.composites.route import route
from chainette.pipeline.examples import Example
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.flow import Branch, Pipe, flattened
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.words.distinct import distinct
from chainette.pipeline.words.filter import filter
from chainette.pipeline.words.split import split
from chainette.pipeline.words.vote import vote
from chainette.registry.config_file import check_engines, raise_mistakes, register_all
from chainette.remote.address import is_address, shown
from chainette.run.chain import Chain
from chainette.run.inputs.formats.hugging_face import PREFIX
from chainette.run.options import options_of
from chainette.text import did_you_mean
from chainette.yaml_source import Location, YamlSource, expand, read_yaml

Models: TypeAlias = dict[str, type[BaseModel]]
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""The name of a function, which is not an expression."""
_CODE = re.compile(r"""Code\(\s*(?P<quote>["']?)(?P<language>[^\s"'()]*)(?P=quote)\s*\)""")
"""The type of code, as in Python; the quotes may be left out."""
_GROUP = re.compile(r"Group(\[\s*(?P<items>\S.*?)\s*\])?")
"""The type of a group, as in Python."""
WORDS: dict[type, tuple[str, Any]] = {
    SplitSpec: ("split", split),
    FilterSpec: ("filter", filter),
    DistinctSpec: ("distinct", distinct),
    VoteSpec: ("vote", vote),
}
"""The nodes that are made of a word of the same name as in Python."""
EXPANDED = ("inputs", "output_dir", "run")
"""Keys of the file whose values may contain `${VAR}`; engines are expanded apart."""


@dataclass(frozen=True, slots=True)
class YamlChain:
    """A chain from YAML, with the inputs and options that its file has for a run.

    Attributes:
        chain: The chain.
        inputs: File of input rows, its address, or rows from nothing.
        options: The options of the run that the file sets.
    """

    chain: Chain
    inputs: Path | str | YamlRows | None
    options: dict[str, Any]


def load_yaml_chain(path: str | Path) -> YamlChain:
    """Load a chain from YAML and register its engines.

    Raises:
        ChainError: The file cannot be read or has mistakes; all that can be found at once are
            named together, with file and line.
    """
    source = read_yaml(path, ChainError)
    mistakes: list[str] = []
    spec = _checked(source, mistakes)
    engines = (
        check_engines(source, source.data["engines"], ("engines",), mistakes)
        if isinstance(source.data, dict) and source.data.get("engines") is not None
        else {}
    )
    raise_mistakes(source, mistakes, ChainError)
    assert spec is not None
    chain = _build(source, spec)
    register_all(engines)
    inputs = _inputs(source, spec.inputs)
    return YamlChain(chain, inputs, _run_options(source, spec))


def _inputs(source: YamlSource, spec: str | RowsSpec | None) -> Path | str | YamlRows | None:
    path = spec.given if isinstance(spec, RowsSpec) else spec
    if is_address(path):
        return YamlRows(source, spec, path) if isinstance(spec, RowsSpec) else path
    is_named = path is not None and path.startswith(PREFIX)  # a dataset, which is no path
    found = Path(path or "") if is_named else _path(source, path) if path else None
    return YamlRows(source, spec, found) if isinstance(spec, RowsSpec) else found


def _run_options(source: YamlSource, spec: ChainSpec) -> dict[str, Any]:
    """The options that the file sets, with paths relative to its folder."""
    options: dict[str, Any] = spec.run.model_dump(exclude_unset=True, exclude_none=True)
    if spec.output_dir:
        options["output_dir"] = spec.output_dir
    for option in options_of():
        if option.is_path and option.name in options:
            options[option.name] = _path(source, options[option.name])
    return options


def _path(source: YamlSource, path: str) -> Path:
    """A path of the file: relative to its folder, or to the user's home.

    Raises:
        ChainError: It is an address.
    """
    if is_address(path):
        raise ChainError(f"{source.path}: {shown(path)}: is an address; give a path")
    return Path(path).expanduser() if path.startswith("~/") else source.path.parent / path


def _checked(source: YamlSource, mistakes: list[str]) -> ChainSpec | None:
    """Check the file's shape; engines are checked apart, by their backends."""
    if not isinstance(source.data, dict):
        mistakes.append(f"{source.place()}: {outline(source.data)}")
        return None

    def report(location: Location, message: str) -> None:
        mistakes.append(f"{source.place(location)}: {message}")

    expanded = {key: source.data[key] for key in EXPANDED if key in source.data}
    data = source.data | expand(expanded, report)
    run = data.get("run")
    if "output_dir" in data and isinstance(run, dict) and "output_dir" in run:
        report(("run", "output_dir"), "output_dir is set outside of run: too")
    try:
        return ChainSpec.model_validate(data)
    except ValidationError as error:
        for location, message in mistakes_in(error):
            report(location, message)
        return None


def _build(source: YamlSource, spec: ChainSpec) -> Chain:
    try:
        models = build_models(
            {
                name: {
                    key: FieldSpec(type=field) if isinstance(field, str) else field
                    for key, field in fields.items()
                }
                for name, fields in spec.models.items()
            }
        )
    except ValueError as error:
        location = str(error).partition(":")[0].split(".")
        raise ChainError(f"{source.place(('models', *location))}: {error}") from None
    folder = str(source.path.parent.resolve())
    if folder not in sys.path:  # module:Class can be beside the YAML file
        sys.path.insert(0, folder)
    steps = _nodes(source, spec.steps, models, ("steps",))
    try:
        return Chain(name=spec.name, steps=steps, emoji=spec.emoji)
    except ChainError as error:
        here = place_of(str(error), spec.steps) or ("steps",)
        raise ChainError(f"{source.place(here)}: {error}") from None


def _nodes(source: YamlSource, specs: list[Any], models: Models, location: Location) -> list[Any]:
    """The nodes of a list in the file; a mistake is raised with the location of the inner node."""
    nodes: list[Any] = []
    for index, spec in enumerate(specs):
        here: Location = (*location, index)
        inner = {
            path: _nodes(source, inside, models, (*here, *path))
            for path, inside in inside_of(spec).items()
        }
        try:
            if isinstance(spec, ReduceSpec):
                steps = Pipe(inner["steps",])
                nodes.append(reduce(steps, _key(spec.by), fold=spec.fold, id=spec.reduce))
            elif isinstance(spec, UseSpec):
                nodes += flattened(load_symbol(spec.use))
            elif isinstance(spec, BranchSpec | RouteSpec | RepeatSpec):
                nodes.append(_with_inner(source, spec, inner, models, here))
            else:
                nodes.append(_node(source, spec, models, here))
        except ChainError as error:
            raise ChainError(f"{source.place(here)}: {error}") from None
    return nodes


def _with_inner(
    source: YamlSource,
    spec: BranchSpec | RouteSpec | RepeatSpec,
    inner: dict[Location, list[Any]],
    models: Models,
    location: Location,
) -> Any:
    """A node that has nodes inside."""
    options = _given(spec)
    for key in ("branch", "steps", "join", "route", "cases", "repeat"):
        options.pop(key, None)
    if isinstance(spec, BranchSpec):
        branch = Branch(name=spec.branch, steps=inner["steps",], **options)
        return branch.join(spec.join) if spec.join else branch
    if isinstance(spec, RepeatSpec):
        if isinstance(spec.until, StepSpec):
            options["until"] = _node(source, spec.until, models, (*location, "until"))
        return repeat(inner["steps",], id=spec.repeat, **options)
    options.pop("default", None)
    made: Any = route(id=spec.route, **options)
    for place, nodes in inner.items():
        made = made.case(place[1], nodes) if place[0] == "cases" else made.default(nodes)
    return made


def _given(spec: BaseModel) -> dict[str, Any]:
    """The arguments that a node has in the file; a function that is a condition is loaded."""
    arguments = {key: getattr(spec, key) for key in spec.model_fields_set}
    for key in ("when", "by", "until"):
        value = arguments.get(key)
        if isinstance(value, str) and FUNCTION.fullmatch(value):
            arguments[key] = load_symbol(value)
    return arguments


def _key(by: str | list[str] | None) -> Any:
    """What the rows of a group have in common: expressions, and functions by name."""
    if isinstance(by, list):
        return [_key(part) for part in by]
    return load_symbol(by) if by is not None and FUNCTION.fullmatch(by) else by


def _node(source: YamlSource, spec: Any, models: Models, location: Location) -> Any:
    arguments = _given(spec)
    for key in ("input_model", "output_model"):
        if arguments.get(key) is not None:
            arguments[key] = _model(arguments[key], models)
    if isinstance(spec, ApplySpec):
        return ApplyNode(load_symbol(arguments.pop("apply")), **arguments)
    if isinstance(spec, tuple(WORDS)):
        return _word(spec, arguments)
    arguments["examples"] = _examples(source, spec, location)
    arguments["sampling"] = _sampling(spec.sampling)
    if spec.messages is not None:
        arguments["messages"] = [turn.model_dump(exclude_unset=True) for turn in spec.messages]
    return Step(**arguments)


def _word(spec: Any, arguments: dict[str, Any]) -> Any:
    """A node that is made of a field, an expression or functions by name."""
    key, make = WORDS[type(spec)]
    given = arguments.pop(key)
    return make(_key(given) if key in ("filter", "distinct") else given, **arguments)


def _sampling(spec: Any) -> Any:
    """The sampling of a step, as `Step` takes it."""
    if isinstance(spec, list):
        return [_sampling(it) for it in spec]
    return spec and {name: getattr(spec, name) for name in spec.model_fields_set}


def _examples(source: YamlSource, spec: StepSpec, location: Location) -> Any:
    """The examples of a step, each with its line, or the path of their file."""
    if isinstance(spec.examples, str):
        if is_address(spec.examples):
            return spec.examples
        return _path(source, spec.examples)
    return [
        Example(
            example.input,
            example.output,
            f"examples[{index}] ({source.place((*location, 'examples', index))})",
            is_json=True,
        )
        for index, example in enumerate(spec.examples)
    ]


def _model(name: str, models: Models) -> Any:
    if name in models:
        return models[name]
    if (group := _GROUP.fullmatch(name)) is not None:
        return Group.__class_getitem__(_model(group["items"], models)) if group["items"] else Group
    if ":" in name:
        return load_symbol(name)
    if name == "str":
        return str
    if (code := _CODE.fullmatch(name)) is not None:
        return Code(code["language"] or None)
    if name in SCALARS or not name.isidentifier():
        with suppress(SyntaxError, ValueError):
            return type_of(name, models)
    known = ", ".join(models) or "none"
    hint = did_you_mean(name, [*models, "str", "Code", "Group"])
    raise ChainError(
        f"unknown model {name!r}{hint}; declared under models: {known} "
        "(or str, list[…], Literal[…], Code(python), Group[…], module:Class)"
    )

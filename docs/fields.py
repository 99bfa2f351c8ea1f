"""The tables of `reference/fields.md`: what every part of a chain takes, in Python and in YAML.

Python's parts are the public names of `chainette` that build a chain; YAML's are the kinds of nodes
of its format. Both lists come from the code, so a new part has a table as soon as it is public.
"""

from __future__ import annotations

import ast
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

import chainette
import docstring_parser
import typing_extensions
from chainette.loading import yaml_spec
from chainette.loading.yaml_spec import ChainSpec, NodeSpec, StepSpec
from chainette.pipeline.composites.route import Route
from chainette.plugins.discovery import installed
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tables import _default, _type, _value, options

HOMES = ("pipeline.nodes", "pipeline.composites", "pipeline.words", "run.chain", "run.inputs")
"""Where the names live that build a chain."""
OTHERS = ("SamplingParams", "GuidedDecodingParams", "Code")
"""Names of other places whose values a chain is built of."""
SAME = {"apply": "ApplyNode"}
"""Functions that take what a class takes."""
NOT_PARTS = (*SAME.values(), "Group")
"""Names of the same places that a chain is not built of."""
METHODS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Branch": (chainette.Branch.join,),
    "route": (Route.case, Route.default),
}
"""Methods that belong to a part, and build more of it."""
REST = ("options",)
"""Arguments that only collect others."""
WORDS: dict[Any, str] = {
    "arm": "nodes",
    ("reduce", "by"): "text, function or list of them",
    "body": "nodes",
    "examples": "list of pairs, or path",
    "given": "rows, or path",
    "messages": "list of turns",
    "node": "nodes",
    "sampling": "`SamplingParams`, mapping, or list of them",
    "steps": "nodes",
    "until": "function, step or text",
}
"""Types that are shorter in words than from the annotation."""
YAML_WORDS: dict[Any, str] = {
    ("", "engines"): "list of mappings",
    ("rows", "given"): "path",
    "batch": "integer or `all`",
    "cases": "mapping of nodes",
    "examples": "list of mappings, or path",
    "inputs": "path or mapping",
    "messages": "list of mappings",
    "models": "mapping of mappings",
    "run": "mapping",
    "sampling": "mapping, or list of mappings",
    "until": "text or step",
}
"""The same for YAML."""
YAML_ONLY: dict[Any, str] = {
    "apply": "The function, as `module:name`.",
    "branch": "Name of the branch.",
    "route": "Name in templates and files.",
    "repeat": "Name in templates and files.",
    "reduce": "Name of the groups.",
    "use": "A step, function, branch, pipe or chain of Python, as `module:name`.",
    "steps": "The nodes.",
    "join": "Alias under which later nodes see the output, as in `Branch(…).join`.",
    "cases": "The nodes of each key, as in `route(…).case`; none pass the item on.",
    ("route", "default"): "The nodes of all other keys, as in `route(…).default`.",
    ("rows", "rows"): "Number of rows.",
    "engines": "Names of the engines that it calls.",
}
"""Meanings of the words that YAML has instead of Python's."""


@dataclass
class Entry:
    name: str
    kind: str
    default: str
    meaning: str


def parts() -> dict[str, Any]:
    """The public names that build a chain, and what each takes its arguments from."""
    found = {}
    for name in chainette.__all__:
        home = chainette._HOMES[name]
        value = getattr(chainette, SAME.get(name, name))
        is_part = home.startswith(HOMES) or name in OTHERS
        if is_part and name not in NOT_PARTS and _described(value):
            found[name] = value
    return found


def arguments(name: str, value: Any) -> list[Entry]:
    """The arguments of a part, in the order of its description."""
    meanings, kinds = _described(value), _kinds(value)
    defaults = _spec_defaults(name, kinds) | _defaults(value)
    step = _described(chainette.Step)
    names = [
        *(it for it in meanings if it not in REST),
        *(it for it in kinds if it not in meanings),
    ]
    return [
        Entry(
            it,
            WORDS.get((name, it)) or WORDS.get(it) or _words(kinds.get(it, [])),
            defaults.get(it, ""),
            meanings.get(it) or step.get(it, ""),
        )
        for it in names
    ]


def kinds_of_nodes() -> dict[str, type[BaseModel]]:
    """The kinds of nodes of YAML by their keys."""
    (union, *_) = get_args(NodeSpec)
    specs: dict[str, type[BaseModel]] = {}
    for tagged in get_args(union):
        spec, tag = get_args(tagged)[:2]
        specs[tag.tag.strip("<>")] = _resolved(spec)
    return specs


def fields(key: str, spec: type[BaseModel]) -> list[Entry]:
    """The fields of a kind of node."""
    own = _described(spec)
    value = chainette.Step if key == "step" else parts().get(key, parts().get(key.title()))
    python = _described(value) if value is not None else {}
    python = _described(chainette.Step) | python
    entries = []
    for name, field in spec.model_fields.items():
        meaning = field.description or own.get(name) or YAML_ONLY.get((key, name))
        meaning = meaning or python.get(name) or YAML_ONLY.get(name, "")
        kind = YAML_WORDS.get((key, name)) or YAML_WORDS.get(name) or _type_of(field)
        entries.append(Entry(name, kind, _default_of(field), meaning))
    return entries


def python_tables() -> None:
    """What every part of a chain takes in Python."""
    for name, value in parts().items():
        print(f"\n### `{name}`\n\n{_summary(value)}\n")
        _table("argument", arguments(name, value))
        for method in METHODS.get(name, ()):
            print(f"\n`.{method.__name__}(…)`: {_summary(method)}\n")
            _table("argument", arguments(method.__name__, method))
    print()


def yaml_tables() -> None:
    """What every part of a chain takes in YAML."""
    print("\n### The file\n")
    _table("field", fields("", ChainSpec))
    for key, spec in kinds_of_nodes().items():
        print(f"\n### `{key}:`\n\n{_summary(spec)}\n".replace("### `step:`", "### A step"))
        _table("field", fields(key, spec))
    print("\n### `inputs:` with rows from nothing\n")
    _table("field", fields("rows", yaml_spec.RowsSpec))
    print()


def backend_tables() -> None:
    """The fields that each installed backend adds."""
    for name in sorted(installed()):
        print(f"\n### `{name}`")
        options(name)


def _table(first: str, entries: list[Entry]) -> None:
    print(f"| {first} | type | default | meaning |\n|---|---|---|---|")
    for it in entries:
        text = it.meaning.replace("|", "\\|")
        print(f"| `{it.name}` | {it.kind.replace('|', chr(92) + '|')} | {it.default} | {text} |")


@cache
def _described(value: Any) -> dict[str, str]:
    """The meanings of arguments, from the docstring of a name and of what it is derived from."""
    found: dict[str, str] = {}
    for source in reversed(value.__mro__) if inspect.isclass(value) else [value]:
        if source is BaseModel:
            continue
        doc = source.__dict__.get("__doc__") if inspect.isclass(source) else source.__doc__
        parsed = docstring_parser.parse(doc or "", docstring_parser.Style.GOOGLE)
        has_fields = hasattr(value, "model_fields") or hasattr(value, "__dataclass_fields__")
        for it in parsed.params:
            if (it.args[0] == "param" or has_fields) and _is_own(source, value):
                found[it.arg_name.lstrip("*")] = " ".join((it.description or "").split())
    return found


def _is_own(source: Any, value: Any) -> bool:
    return source is value or hasattr(value, "model_fields")


def _summary(value: Any) -> str:
    text = inspect.getdoc(value) or ""
    return " ".join(text.partition("\n\n")[0].split())


def _kinds(value: Any) -> dict[str, list[Any]]:
    """The types of arguments, from fields, or the signature, its overloads and the options."""
    if hasattr(value, "model_fields"):
        return {name: [field.annotation] for name, field in value.model_fields.items()}
    found: dict[str, list[Any]] = {}
    if hasattr(value, "__dataclass_fields__"):
        return {name: [kind] for name, kind in typing.get_type_hints(value).items()}
    for function, names in _signatures(value):
        for argument in [*function.posonlyargs, *function.args, *function.kwonlyargs]:
            if argument.arg not in ("self", "cls") and argument.annotation is not None:
                kind = _evaluated(argument.annotation, names)
                found.setdefault(argument.arg, []).append(kind)
        if (more := function.kwarg) is not None and more.annotation is not None:
            for option in get_args(_evaluated(more.annotation, names)):
                for name, kind in typing.get_type_hints(option).items():
                    found.setdefault(name, []).append(kind)
    return found


def _signatures(value: Any) -> Iterator[tuple[ast.arguments, dict[str, Any]]]:
    """The arguments of a function or class and of its overloads, the overloads first."""
    wanted = "__init__" if inspect.isclass(value) else value.__name__
    module = inspect.getmodule(value)
    assert module is not None
    tree: Any = ast.parse(inspect.getsource(module))
    owners = value.__qualname__.split(".")[: None if inspect.isclass(value) else -1]
    for owner in owners:
        tree = next(it for it in tree.body if getattr(it, "name", "") == owner)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == wanted:
            yield node.args, vars(typing) | vars(typing_extensions) | vars(module)


def _evaluated(annotation: ast.expr, names: dict[str, Any]) -> Any:
    try:
        return eval(ast.unparse(annotation), names)
    except (NameError, TypeError):
        return Any


def _defaults(value: Any) -> dict[str, str]:
    if hasattr(value, "model_fields"):
        return {name: _default_of(field) for name, field in value.model_fields.items()}
    forms = []
    for function, _ in _signatures(value):
        given = zip(function.kwonlyargs, function.kw_defaults, strict=True)
        forms.append({it.arg for it, default in given if default is None})
    required = set.intersection(*forms[:-1] or forms) if forms else ()
    found = dict.fromkeys(required, "required")
    for name, it in inspect.signature(value).parameters.items():
        if it.kind not in (it.VAR_KEYWORD, it.VAR_POSITIONAL) and name != "self":
            is_given = it.default is it.empty
            found[name] = "required" if is_given else _shown(it.default)
    return found


def _spec_defaults(name: str, names: Collection[str]) -> dict[str, str]:
    """The defaults of options, which the specification of the same node in YAML has, too."""
    specs = kinds_of_nodes() | {"Step": StepSpec}
    spec = specs.get(name, specs.get(name.lower()))
    found = {}
    for field, info in spec.model_fields.items() if spec is not None else ():
        if field in names and not info.is_required():
            found[field] = _default_of(info)
    return found


def _default_of(field: FieldInfo) -> str:
    return "" if field.default == "" or field.default_factory else _default(field)


def _shown(default: Any) -> str:
    return "" if type(default) is object or default == "" else _value(default)


def _words(kinds: Sequence[Any]) -> str:
    """The types of an argument in words: that of the function itself, or those of its overloads."""
    own = kinds[-1:] if kinds and kinds[-1] is not Any else kinds
    words = [_word(kind) for kind in own if kind not in (Any, None, type(None))]
    words = [part for word in words for part in word.split(" or ")]
    return " or ".join(dict.fromkeys(words)) or "value"


def _word(kind: Any) -> str:
    """A type in words, as the other tables have it."""
    origin = get_origin(kind)
    if kind is Any:
        return "value"
    if origin is Literal:
        return ", ".join(f"`{it}`" for it in get_args(kind))
    if origin in (typing.Union, types.UnionType):
        words = [_word(it) for it in get_args(kind) if it is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if origin is Callable:
        return "function"
    if "TypeForm" in str(kind):
        return "type"
    if isinstance(kind, type) and not issubclass(kind, (str, bool, int, float, dict, list)):
        return f"`{kind.__name__}`"
    return _type(kind)


def _type_of(field: FieldInfo) -> str:
    """A type of YAML in words."""
    text = str(field.annotation)
    if "NodeSpec" in text or "StepSpec" in text:
        return "nodes"
    return _type(field.annotation)


def _resolved(spec: Any) -> type[BaseModel]:
    name = getattr(spec, "__forward_arg__", getattr(spec, "__name__", str(spec)))
    found: type[BaseModel] = getattr(yaml_spec, name)
    return found

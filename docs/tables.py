"""Tables and references that `make docs` generates from the code into the pages, with cog."""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import docstring_parser
from chainette import EngineConfig
from chainette.backend import BaseClient, BaseHTTPClient, OpenAIChatClient
from chainette.engine.server.owner import ServerOwner
from chainette.plugins.discovery import installed, load
from chainette.run.options import options_of
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo


def options(backend: str | None = None, beside: str | None = None) -> None:
    """The fields of every engine, or those that a backend adds to another's."""
    config = load(backend).config_class() if backend else EngineConfig
    base = load(beside).config_class() if beside else EngineConfig
    common = base.model_fields if backend else {}
    print("\n| field | type | default | description |\n|---|---|---|---|")
    descriptions = _descriptions(config)
    for name, field in config.model_fields.items():
        if name in descriptions and (name not in common or _differs(field, common[name])):
            cells = (f"`{name}`", _type(field.annotation), _default(field), descriptions[name])
            print("| " + " | ".join(cells) + " |")
    print()


def run_options() -> None:
    """The options of a run."""
    print("\n| option | type | default | description |\n|---|---|---|---|")
    for option in options_of():
        kind = "path" if option.is_path else _type(option.type)
        text = f"{option.help.text} {option.help.more}".strip()
        print(f"| `{option.name}` | {kind} | {_value(option.default)} | {text} |")
    print()


def capabilities(*names: str) -> None:
    """The capabilities of backends, as their plugins declare them."""
    backends = [load(name) for name in names or sorted(installed())]
    print("\n| | " + " | ".join(f"`{backend.name}`" for backend in backends) + " |")
    print("|---" * (len(backends) + 1) + "|")
    flags = ("json_schema", "json_object", "guided_decoding", "reasoning", "prefill", "local")
    for flag in flags:
        _row(flag, [getattr(backend.capabilities, flag) for backend in backends])
    for parameter in sorted(set().union(*(it.capabilities.sampling for it in backends))):
        if parameter not in flags:
            _row(parameter, [parameter in it.capabilities.sampling for it in backends])
    print()


def commands() -> None:
    """Every command with its options, as Typer describes them."""
    typer = shutil.which("typer", path=str(Path(sys.executable).parent))
    assert typer is not None
    words = [typer, "--app", "app", "chainette.cli.app", "utils", "docs", "--name", "chainette"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    text = text.partition("\n")[2].replace("```console\n$ ", "`").replace("\n```", "`")
    print(re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n")


def overridable() -> None:
    """The names that a backend may set or override."""
    _names(overridable=True)


def callable_names() -> None:
    """The methods that a backend calls on itself."""
    _names(overridable=False)


def _names(*, overridable: bool) -> None:
    print("\n| name | class | type or result | description |\n|---|---|---|---|")
    seen = {"offline", "generate", "agenerate", "complete", "max_concurrency"}
    for cls in (BaseClient, ServerOwner, BaseHTTPClient, OpenAIChatClient):
        shown = "BaseClient" if cls is ServerOwner else cls.__name__
        for name, arguments, kind, text in _members(cls):
            description, mark, _ = text.partition("; a backend")
            is_attribute = not arguments
            if name not in seen and overridable == (is_attribute or bool(mark)):
                result = " or ".join(f"`{part}`" for part in kind.split(" | "))
                cells = (f"`{name}{arguments}`", f"`{shown}`", result, description.rstrip("."))
                print("| " + " | ".join(cells) + " |")
            seen.add(name)
    print()


def _members(cls: type) -> Iterator[tuple[str, str, str, str]]:
    """The public names of a class: the arguments of methods, the type or result, a description."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    for node, following in zip(body.body, [*body.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name == "_chat" or not node.name.startswith("_"):
                names = [argument.arg for argument in node.args.args[1:]]
                names += [f"*{node.args.vararg.arg}"] if node.args.vararg else []
                assert node.returns is not None
                line = (ast.get_docstring(node) or "").partition("\n")[0]
                yield node.name, f"({', '.join(names)})", ast.unparse(node.returns), line
        elif isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(following.value, ast.Constant)
            text = " ".join(str(following.value.value).split())
            yield ast.unparse(node.target), "", ast.unparse(node.annotation), text


def _row(name: str, has: list[bool]) -> None:
    print(f"| `{name}` | " + " | ".join("yes" if it else "" for it in has) + " |")


def _descriptions(config: type[EngineConfig]) -> dict[str, str]:
    """The fields' descriptions from the docstrings of a class and what it is derived from."""
    descriptions: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if issubclass(base, EngineConfig):
            parsed = docstring_parser.parse(base.__doc__ or "", docstring_parser.Style.GOOGLE)
            for it in parsed.params:
                descriptions[it.arg_name] = " ".join((it.description or "").split())
    return descriptions


def _differs(field: FieldInfo, common: FieldInfo) -> bool:
    return field.default != common.default or field.is_required() != common.is_required()


def _type(annotation: Any) -> str:
    """The name of a type for the author of a YAML file."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if origin in (Union, types.UnionType):
        return " or ".join(_type(it) for it in inner if it is not type(None))
    if origin is Literal:
        return ", ".join(f"`{it}`" for it in inner)
    if origin in (list, dict, Mapping, Sequence):
        kind = "list" if origin in (list, Sequence) else "mapping"
        return f"{kind} of {_type(inner[-1])}"
    names = {str: "text", SecretStr: "text", Path: "path", float: "number", int: "integer"}
    names[bool] = "true or false"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping of " + ", ".join(f"`{name}`" for name in annotation.model_fields)
    return names.get(annotation, "value")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return _value(field.get_default(call_default_factory=True))


def _value(value: Any) -> str:
    if value is None or value in ([], {}, ()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return f"`{value}`" if isinstance(value, str) else str(value)

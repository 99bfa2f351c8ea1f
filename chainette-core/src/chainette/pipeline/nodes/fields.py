"""The fields that templates take from values, checked against the types of these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from jinja2 import nodes
from pydantic import BaseModel

from chainette.errors import ChainError
from chainette.pipeline.nodes.naming import fields_of
from chainette.text import did_you_mean, with_article

_SCALARS = (str, int, float, bool, bytes, Decimal, date, datetime, time, timedelta, UUID)
"""Types whose values have the attributes of their class, and no others."""
_COLLECTIONS = (list, set, frozenset)


def check_fields(tree: nodes.Node, types: Mapping[str, Any], where: str) -> None:
    """Check that every field that a template takes from a value exists.

    Args:
        tree: The template.
        types: The types of values by name; others are not known.
        where: Name of the template in messages.

    Raises:
        ChainError: A field certainly does not exist.
    """
    called = {id(it.node) for it in tree.find_all(nodes.Call)}
    for node in [*tree.find_all(nodes.Getattr), *tree.find_all(nodes.Getitem)]:
        assert isinstance(node, nodes.Getattr | nodes.Getitem)
        if (field := _field(node)) is not None:
            model = _type(node.node, types)
            _check(_path(node.node), field, model, where, is_called=id(node) in called)


def items(tree: nodes.Node, types: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names that the loops of a template give to the items of a list, and their types."""
    for loop in tree.find_all(nodes.For):
        model = _type(loop.iter, types)
        if isinstance(loop.target, nodes.Name) and get_origin(model) is list:
            yield loop.target.name, get_args(model)[0]


def meant_field(name: str, types: Mapping[str, Any]) -> str:
    """A hint at the only value with a field of a name, or at the row; empty without one."""
    owners = [it for it, model in types.items() if name in dict(fields_of(model))]
    if "chain_input" in owners or len(owners) == 1:
        owner = "chain_input" if "chain_input" in owners else owners[0]
        return f" (did you mean {f'{owner}.{name}'!r}?)"
    return ""


def _field(node: nodes.Getattr | nodes.Getitem) -> str | None:
    """The field of `a.field` or `a["field"]`; `None` if it is something else."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    key = getattr(node.arg, "value", None)
    return key if isinstance(key, str) else None


def _path(node: nodes.Node) -> str:
    """An expression such as `a.b` as it is written; empty for others."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and (start := _path(node.node)):
        return f"{start}.{node.attr}"
    return ""


def _type(node: nodes.Node, types: Mapping[str, Any]) -> Any:
    """The type of a name, or of a field of a model's; `Any` where it is not known."""
    if isinstance(node, nodes.Name):
        return types.get(node.name, Any)
    if not isinstance(node, nodes.Getattr):
        return Any
    options = _options(_type(node.node, types))
    return dict(fields_of(options[0])).get(node.attr, Any) if len(options) == 1 else Any


def _options(model: Any) -> tuple[Any, ...]:
    """The types that a value can have, without `None` unless it is the only one."""
    origin = get_origin(model)
    if origin is Annotated:
        return _options(get_args(model)[0])
    if origin is Literal:
        return tuple(map(type, get_args(model)))
    if origin not in (Union, UnionType):
        return (model,)
    options = tuple(it for part in get_args(model) for it in _options(part))
    return tuple(option for option in options if option is not type(None)) or options


def _check(name: str, field: str, model: Any, where: str, *, is_called: bool) -> None:
    """Check that a value of a type can have a field.

    Raises:
        ChainError: It certainly has none.
    """
    options = _options(model)
    if any(_may_have(option, field, is_called) for option in options):
        return
    model = get_origin(options[0]) or options[0]
    if model is list:
        raise ChainError(
            f"{where}: {name!r} is a list and has no field {field!r}; go through it: "
            f"{{% for item in {name} %}}{{{{ item.{field} }}}}{{% endfor %}}"
        )
    if not issubclass(model, BaseModel):
        method = f" (for its method, write {name}.{field}())" if hasattr(model, field) else ""
        raise ChainError(
            f"{where}: {name!r} is {with_article(model.__name__)} and has no field {field!r}"
            f"{method}; use {name} itself, or make its type a model with that field"
        )
    known = ", ".join(model.model_fields)
    hint = getattr(model, "missing", {}).get(field) or f"; {model.__name__} has: {known}"
    raise ChainError(
        f"{where}: {name!r} has no field {field!r}{did_you_mean(field, model.model_fields)}{hint}"
    )


def _may_have(model: Any, field: str, is_called: bool) -> bool:
    """Whether a value of a type may have a field; of most types that is not known."""
    if field.startswith("_"):
        return True  # the sandbox refuses it, and says so
    plain = get_origin(model) or model
    if plain in _SCALARS or plain in _COLLECTIONS:
        return hasattr(plain, field) and (is_called or not callable(getattr(plain, field)))
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return True
    has_more = model.model_config.get("extra") == "allow"
    return has_more or field in model.model_fields or hasattr(model, field)

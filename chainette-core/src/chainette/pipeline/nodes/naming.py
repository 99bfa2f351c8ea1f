"""Names of nodes and types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from chainette.engine.structured.text import fence_of
from chainette.errors import ChainError

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""An object's address in memory, as in the text of a validator."""
CHAINS_OWN = frozenset({"chain_input", "reasoning", "feedback", "previous", "round"})
"""Names of the chain's in templates, beside ids and aliases."""
RESERVED = CHAINS_OWN | {"row_id", "item", "error", "dropped", "partial"}
"""Names that templates or output files use themselves."""
KINDS = (
    "the nodes are Step(…), apply(fn), split, filter, distinct, vote, route, repeat, reduce and "
    "Branch(…)"
)
"""The kinds of nodes, for messages."""


def check_title(name: object, what: str) -> None:
    """Check that a name is a text.

    Raises:
        ChainError: It is not.
    """
    if not isinstance(name, str):
        raise ChainError(f"{what} is {name!r}; give a text")


def check_name(name: str, what: str) -> None:
    """Check that a name can be used in templates and files.

    Raises:
        ChainError: It cannot.
    """
    check_title(name, what)
    if not _ID.fullmatch(name) or name in RESERVED:
        raise ChainError(
            f"{what} {name!r}: use letters, digits and underscores, "
            f"but not {', '.join(sorted(RESERVED))}"
        )


def check_type(model: Any, what: str) -> None:
    """Check that the type of an input or output is a type.

    Raises:
        ChainError: It is the name of one, an instance, or a list or dict that stands for one.
    """
    if isinstance(model, str):
        raise ChainError(f"{what} is the text {model!r}; give the type itself")
    if isinstance(model, list | tuple | set) and len(model) == 1:
        kind, (element,) = type(model).__name__, model
        raise ChainError(f"{what} is a {kind}, not a type; give {kind}[{type_name(element)}]")
    if isinstance(model, BaseModel):
        name = type(model).__name__
        raise ChainError(f"{what} is one {name}, not a type; give its class: {name}")
    if isinstance(model, dict | list | tuple | set | int | float | bytes):
        raise ChainError(
            f"{what} is a {type(model).__name__}, not a type; give a class of Pydantic"
        )


def fields_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Names and types of a model's fields; empty for other types."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            yield name, field.annotation


def type_name(model: Any) -> str:
    """The name of a type, for people; the same in every process."""
    if (fence := fence_of(model)) is not None and len(get_args(model)) == 2:
        return repr(fence)
    if get_origin(model) is Annotated:
        return type_name(get_args(model)[0])
    if get_origin(model) in (Union, UnionType):
        return " | ".join(map(type_name, get_args(model)))
    if model is type(None):
        return "None"
    if isinstance(model, GenericAlias):  # list[Answer], whose text has the module of Answer
        return f"{model.__origin__.__name__}[{', '.join(map(_argument_name, get_args(model)))}]"
    text = model.__name__ if isinstance(model, type) else str(model).removeprefix("typing.")
    return _ADDRESS.sub("", text)


def _argument_name(argument: Any) -> str:
    """The name of a type between brackets."""
    return "..." if argument is ... else type_name(argument)


def values_of(value: Any) -> dict[str, Any]:
    """Values of a model's fields by name; empty for other objects."""
    if not isinstance(value, BaseModel):
        return {}
    fields = type(value).__pydantic_fields__  # what `model_fields` gives, in a tenth of the time
    own = {name: getattr(value, name) for name in fields}
    return own | value.__pydantic_extra__ if value.__pydantic_extra__ else own


def has_extra(model: Any) -> bool:
    """Whether rows of a model may have fields that it does not declare."""
    is_model = isinstance(model, type) and issubclass(model, BaseModel)
    return is_model and model.model_config.get("extra") == "allow"

"""The keys of routes: what they are, and which of them a type can have."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from enum import Enum, Flag
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel

Key: TypeAlias = str | int | Enum | None
"""The key of a case."""
Canonical: TypeAlias = tuple[str, Any]
"""A key as it is compared: a truth value is not a number, and an enum's member is its value."""
_KINDS = {str: "text", int: "number"}
_EXACT: dict[type, str] = {**_KINDS, bool: "bool", type(None): "none"}


def canonical(key: Any) -> Canonical | None:
    """A key as it is compared; `None` if it cannot be one."""
    if (kind := _EXACT.get(type(key))) is not None:
        return kind, key
    if isinstance(key, Enum):
        key = key.value
    if type(key) in (bool, type(None)):
        return _EXACT[type(key)], key
    if isinstance(key, int):
        return "number", int(key)
    return ("text", str(key)) if isinstance(key, str) else None


def is_same(case: Any, key: Any) -> bool:
    """Whether a key is that of a case."""
    return canonical(case) == canonical(key) and not are_of_two_enums(case, key)


def are_of_two_enums(case: Any, key: Any) -> bool:
    """Whether keys are members of two enums, which are not the same, whatever their values are."""
    return isinstance(key, Enum) and isinstance(case, Enum) and type(case) is not type(key)


@dataclass(slots=True)
class KeyType:
    """The keys that a type can have.

    Attributes:
        known: The keys of its enums, literals and truth values.
        kinds: The kinds of which it can have every key.
    """

    known: list[Any] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)

    def allows(self, key: Any) -> bool:
        """Whether a value of the type can be this key."""
        kind, _ = canonical(key) or ("", None)
        return kind in self.kinds or any(is_same(key, it) for it in self.known)


def key_type(annotation: Any) -> KeyType | None:
    """The keys that a type can have; `None` if that is not certain."""
    found = KeyType()
    return found if _collect(annotation, found) else None


def _collect(annotation: Any, found: KeyType) -> bool:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return all(_collect(option, found) for option in get_args(annotation))
    if origin is Annotated:
        return _collect(get_args(annotation)[0], found)
    if origin is Literal:
        found.known += get_args(annotation)
    elif annotation is bool:
        found.known += [True, False]
    elif annotation is type(None):
        found.known.append(None)
    elif annotation in _KINDS:
        found.kinds.add(_KINDS[annotation])
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        found.known += list(annotation)
        return not issubclass(annotation, Flag)
    else:
        return False
    return all(canonical(key) is not None for key in found.known)


def field_type(model: Any, path: list[str]) -> Any:
    """The type of a field of a model, and of its fields; `Any` where it is not known."""
    for name in path:
        is_model = isinstance(model, type) and issubclass(model, BaseModel)
        if not is_model or name not in model.model_fields:
            return Any
        model = model.model_fields[name].annotation
    return model


def shown(key: Any) -> str:
    """A key, for people."""
    return str(key) if isinstance(key, Enum) else repr(key)

"""The classes of values, found by their names."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

from pydantic import BaseModel
from typing_extensions import is_typeddict


class UnknownClassError(LookupError):
    """There is no class of a name, or several are."""


def class_name(cls: type) -> str:
    """The name of a class, with its module."""
    return f"{cls.__module__}:{cls.__qualname__}"


class Classes:
    """The classes that the values of a type can have.

    Those inside the type are known, with the classes that derive from them. Others are looked up in
    the modules that the program has imported, if their values can be rebuilt without running code
    of theirs.

    Args:
        model: The type.
    """

    def __init__(self, model: Any) -> None:
        self._by_name: dict[str, type] = {}
        self._learn(model)

    def name(self, cls: type) -> str:
        """The name that a class is found by again.

        Raises:
            UnknownClassError: Another class has its name.
        """
        name = class_name(cls)
        known = self._by_name.get(name)
        if known is None:
            self._learn(cls)
        elif known is not cls:
            raise UnknownClassError(f"two classes are called {name}")
        return name

    def find(self, name: str) -> type:
        """The class of a name.

        Raises:
            UnknownClassError: There is none.
        """
        if name not in self._by_name:
            for cls in list(self._by_name.values()):
                self._learn_all(_derived(cls))
        if name not in self._by_name:
            imported = _imported(name)
            if imported is None:
                raise UnknownClassError(f"there is no class {name}")
            self._learn(imported)
        return self._by_name[name]

    def knows(self, cls: type) -> bool:
        """Whether a class is inside the type."""
        return self._by_name.get(class_name(cls)) is cls

    def _learn_all(self, types: Iterator[Any]) -> None:
        for cls in types:
            self._learn(cls)

    def _learn(self, model: Any) -> None:
        """Remember the classes inside a type."""
        if isinstance(model, type):
            if class_name(model) in self._by_name:
                return
            self._by_name[class_name(model)] = model
            self._learn_all(_fields(model))
        self._learn_all(iter(get_args(model)))
        for attribute in ("__value__", "__supertype__"):  # of `type X = …` and of `NewType`
            inner = getattr(model, attribute, None)
            if inner is not None:
                self._learn(inner)


def _derived(cls: type) -> Iterator[type]:
    if is_rebuilt(cls) and cls is not BaseModel:
        subclasses: list[type] = cls.__subclasses__()
        for subclass in subclasses:
            yield subclass
            yield from _derived(subclass)


def is_rebuilt(cls: Any) -> bool:
    """Whether values of a class are rebuilt from their fields, without running its code."""
    return isinstance(cls, type) and (
        issubclass(cls, BaseModel | Enum)
        or dataclasses.is_dataclass(cls)
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
    )


def _fields(cls: type) -> Iterator[Any]:
    """The types of a class's fields."""
    if issubclass(cls, BaseModel):
        yield from (field.annotation for field in cls.model_fields.values())
    elif is_rebuilt(cls) or is_typeddict(cls):
        try:
            yield from typing.get_type_hints(cls, include_extras=True).values()
        except (NameError, TypeError):  # a name that only a type checker knows
            return


def _imported(name: str) -> type | None:
    """The class of a name in a module that was imported."""
    module, _, path = name.partition(":")
    value: Any = sys.modules.get(module)
    for part in path.split("."):
        value = getattr(value, part, None)
    return value if is_rebuilt(value) and class_name(value) == name else None

"""Values of a run made again of their JSON, without the chain's classes, where they are certain."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar, NoReturn, TypeAlias

from pydantic import BaseModel, ConfigDict, create_model

from chainette.reports.stored.shapes import Shape

_set = object.__setattr__
Build: TypeAlias = Callable[[Any], Any]
"""Makes a value of its JSON, or raises `UncertainError`."""


class UncertainError(Exception):
    """A value is not known for certain."""


class Rebuilt(BaseModel):
    """A value of a model whose class is not here; a template sees its fields and its JSON."""

    model_config: ClassVar[ConfigDict] = ConfigDict(protected_namespaces=())

    def __getattr__(self, name: str) -> Any:
        """Refuse what only the class itself could say."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise UncertainError(f"{type(self).__name__}.{name} is not a field that is known")

    def __str__(self) -> str:
        """Refuse the text that the class makes of itself; templates write JSON."""
        raise UncertainError(f"the text of {type(self).__name__} is not known")


class Partial:
    """A value of a model of which not all fields are known; only the others can be used.

    Args:
        name: The name of the model.
        fields: The fields that are known.
        reasons: Why the others are not.
    """

    def __init__(self, name: str, fields: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
        self._partial = name, reasons
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> NoReturn:
        model, reasons = self.__dict__["_partial"]
        if name.startswith("__"):
            raise AttributeError(name)
        raise UncertainError(reasons.get(name, f"{model}.{name} is not a field that is known"))

    def __getitem__(self, name: Any) -> Any:
        """A field, as a template may write it."""
        return getattr(self, name)

    def __str__(self) -> str:
        """Refuse what needs all fields."""
        return self._refuse()

    def __bool__(self) -> bool:
        """Refuse what needs all fields."""
        return self._refuse()

    def __eq__(self, other: object) -> bool:
        """Refuse what needs all fields."""
        return self._refuse()

    def __iter__(self) -> Iterator[Any]:
        """Refuse what needs all fields."""
        return self._refuse()

    def __len__(self) -> int:
        """Refuse what needs all fields."""
        return self._refuse()

    def _refuse(self) -> NoReturn:
        model, reasons = self.__dict__["_partial"]
        raise UncertainError(f"{model}: {'; '.join(reasons.values())}")


def build(shape: Shape, *, is_input: bool = False) -> Build:
    """The function that makes values of a shape.

    Args:
        shape: The shape.
        is_input: Whether the JSON is that of an input, which the model has yet to read.
    """
    if shape is None:
        return _unknown
    if isinstance(shape, str):
        if is_input and shape in _OF_INPUTS:
            return _OF_INPUTS[shape]
        return _SCALARS[shape]
    ((kind, content),) = shape.items()
    made: Build = _BUILDERS[kind](content, is_input)
    return made


def build_fields(
    shape: Shape, names: Sequence[str], *, is_input: bool = False
) -> Callable[[Any], dict[str, Any]] | None:
    """The function that makes some fields of a model's JSON, which is faster than the whole.

    Args:
        shape: The shape.
        names: The fields.
        is_input: See `build`.

    Returns:
        The function, which raises `UncertainError`; `None` if it is not a model with these fields.
    """
    if not isinstance(shape, Mapping) or "model" not in shape:
        return None
    if not shape["model"][1].keys() >= set(names):
        return None
    read = _fields(shape["model"], names, is_input)

    def of(value: Any) -> dict[str, Any]:
        found, reasons = read(value)
        if reasons:
            raise UncertainError(next(iter(reasons.values())))
        return found

    return of


def _unknown(value: Any) -> NoReturn:
    raise UncertainError("its type has code of its own, or is not known")


def _exactly(*kinds: type) -> Build:
    def check(value: Any) -> Any:
        if type(value) not in kinds:
            names = " or ".join(it.__name__ for it in kinds)
            raise UncertainError(f"it is {type(value).__name__}, not {names}")
        return value

    return check


def _float(value: Any) -> float:
    if type(value) not in (float, int):  # `null` may stand for a number that JSON does not have
        raise UncertainError("it is not a number")
    return float(value)


def _from_text(read: Callable[[str], Any], write: Callable[[Any], str]) -> Build:
    def make(value: Any) -> Any:
        try:
            found = read(value)
        except Exception:
            raise UncertainError(f"{value!r:.80} is not its usual text") from None
        if write(found) != value:
            raise UncertainError(f"{value!r:.80} is not its usual text")
        return found

    return make


def _of_cell(kind: type, check: Build) -> Build:
    """A number of an input, which may be the text of a cell."""

    def make(value: Any) -> Any:
        if type(value) is str and kind is int and str(int(value)) != value:
            raise UncertainError(f"{value!r:.80} is not its usual text")
        return check(kind(value) if type(value) is str else value)

    def guarded(value: Any) -> Any:
        try:
            return make(value)
        except ValueError:
            raise UncertainError(f"{value!r:.80} is not a number") from None

    return guarded


_iso = _from_text(date.fromisoformat, date.isoformat)
_SCALARS: dict[str, Build] = {
    "str": _exactly(str),
    "int": _exactly(int),
    "float": _float,
    "bool": _exactly(bool),
    "none": _exactly(type(None)),
    "date": _iso,
    "datetime": _from_text(
        lambda text: datetime.fromisoformat(text.replace("Z", "+00:00")),
        lambda found: found.isoformat().replace("+00:00", "Z"),
    ),
    "decimal": _from_text(Decimal, str),
    "any": lambda value: value,
}
_OF_INPUTS = {"int": _of_cell(int, _exactly(int)), "float": _of_cell(float, _float)}


def _list(inner: Shape, is_input: bool) -> Build:
    make = build(inner, is_input=is_input)

    def of(value: Any) -> Any:
        if type(value) is not list:
            raise UncertainError("it is not a list")
        return [make(it) for it in value]

    return of


def _dict(inner: Shape, is_input: bool) -> Build:
    make = build(inner, is_input=is_input)

    def of(value: Any) -> Any:
        if type(value) is not dict:
            raise UncertainError("it is not an object")
        return {key: make(it) for key, it in value.items()}

    return of


def _union(choices: list[Shape], is_input: bool) -> Build:
    makers = [build(it, is_input=is_input) for it in choices]
    is_unsure = "float" in choices

    def of(value: Any) -> Any:
        if value is None and is_unsure:  # JSON has no NaN
            raise UncertainError("it may be a number that JSON does not have")
        found: list[Any] = []
        problem = "it may be of several types"
        for make in makers:
            try:
                found.append(make(value))
            except UncertainError as error:
                problem = str(error) if not found else problem
        if len(found) > 1 and isinstance(value, int | float):  # of int and float, the exact one
            found = [it for it in found if type(it) is type(value)]
        if len(found) != 1:
            raise UncertainError(problem if not found else "it may be of several types")
        return found[0]

    if not is_input and None in choices:
        return _unknown
    return of


def _literal(values: list[Any], is_input: bool) -> Build:
    known = {(type(it), it) for it in values}

    def of(value: Any) -> Any:
        if type(value) in (list, dict) or (type(value), value) not in known:
            raise UncertainError("it is none of its values")
        return value

    return of


def _enum(content: tuple[str, bool, dict[str, str]], is_input: bool) -> Build:
    name, is_text, members = content
    made: Any = Enum(name, members, type=str) if is_text else Enum(name, members)

    def of(value: Any) -> Any:
        try:
            return made(value)
        except ValueError:
            raise UncertainError("it is none of its values") from None

    return of


def _fields(
    content: tuple[str, dict[str, Shape], dict[str, str]], names: Iterable[str], is_input: bool
) -> Callable[[Any], tuple[dict[str, Any], dict[str, str]]]:
    """The function that makes fields of a model's JSON, and says why others cannot be made."""
    name, shapes, aliases = content
    makers = [
        (it, aliases.get(it, it) if is_input else it, build(shapes[it], is_input=is_input))
        for it in names
    ]

    def of(value: Any) -> tuple[dict[str, Any], dict[str, str]]:
        if type(value) is not dict:
            raise UncertainError("it is not an object")
        found: dict[str, Any] = {}
        reasons: dict[str, str] = {}
        for field, key, make in makers:
            try:
                found[field] = make(value[key])
            except KeyError:
                reasons[field] = f"{name}.{field} was not written down"
            except UncertainError as error:
                reasons[field] = f"{name}.{field}: {error}"
        return found, reasons

    return of


def _model(content: tuple[str, dict[str, Shape], dict[str, str]], is_input: bool) -> Build:
    name, shapes, _ = content
    read = _fields(content, shapes, is_input)
    with warnings.catch_warnings():  # about fields with the names of methods
        warnings.simplefilter("ignore")
        fields: Any = dict.fromkeys(shapes, (Any, ...))
        cls: Any = create_model(name, __base__=Rebuilt, **fields)
    fields_set = set(shapes)

    def of(value: Any) -> Any:
        found, reasons = read(value)
        if reasons:
            return Partial(name, found, reasons)
        value = cls.__new__(cls)  # what Pydantic's `__setstate__` does, in a third of the time
        _set(value, "__dict__", found)
        _set(value, "__pydantic_fields_set__", fields_set)
        _set(value, "__pydantic_extra__", None)
        _set(value, "__pydantic_private__", None)
        return value

    return of


_BUILDERS: dict[str, Callable[[Any, bool], Build]] = {
    "list": _list,
    "dict": _dict,
    "union": _union,
    "literal": _literal,
    "enum": _enum,
    "model": _model,
}

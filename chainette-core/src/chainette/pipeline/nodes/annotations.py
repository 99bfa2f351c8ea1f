"""The types of functions in chains: what they take, what they give, and whether they split."""

from __future__ import annotations

import inspect
import types
import typing
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Generator,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MappingView,
    MutableSequence,
    MutableSet,
    Sequence,
    Set,
    ValuesView,
)
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

from chainette.errors import ChainError
from chainette.pipeline.nodes.naming import type_name

_ASYNC = (AsyncIterator, AsyncIterable, AsyncGenerator)
_SEVERAL = frozenset({
    list, set, frozenset, deque, Iterator, Iterable, Generator, Collection, Sequence, Set,
    MutableSequence, MutableSet, KeysView, ValuesView, ItemsView, *_ASYNC,
})  # fmt: skip
"""Types that hold several items."""
_UNKNOWN = (Any, object)


@dataclass(frozen=True, slots=True)
class FunctionTypes:
    """The types of a function, as far as its annotations say them.

    Attributes:
        input: Type of the input item.
        output: Type of an output item.
        splits: Whether it returns several items; `None` where that is not certain.
        values: The types that it returns as one item.
        is_open: Whether it may return something else, too.
    """

    input: Any = Any
    output: Any = Any
    splits: bool | None = None
    values: tuple[Any, ...] = ()
    is_open: bool = True

    def is_one(self, value: Any) -> bool:
        """Whether a collection is one item, as far as the types say it."""
        origins = (get_origin(option) or option for option in self.values)
        classes = tuple(it for it in origins if isinstance(it, type) and it not in _UNKNOWN)
        return self.splits is False or (self.splits is None and isinstance(value, classes))


def types_of(
    fn: Callable[..., Any], title: str, *, batched: bool, output_model: Any
) -> FunctionTypes:
    """The types of a function.

    Args:
        fn: The function.
        title: Its name in messages.
        batched: Whether it takes a list of items, and returns one.
        output_model: Type of an output item, if it is given beside the annotations.

    Raises:
        ChainError: An annotation does not fit a batch, or leaves open whether the function splits.
    """
    generates = is_generator(fn) or is_async_generator(fn)
    hints = hints_of(fn)
    input_type = hints.get(_first_parameter(fn), Any)
    output_type = _awaited(hints.get("return", Any))
    if batched:
        input_type = _of_batch(input_type, f"apply {title!r}: with batch it is called with a list")
        output_type = _of_batch(output_type, f"apply {title!r}: with batch it returns a list")
        generates = False
    options = [option for option in members_of(output_type) if option is not type(None)]
    given = [] if output_model is None else members_of(output_model)
    values = [it for it in options if not is_several(it) or (it in given and not _is_list(it))]
    if tuple in values and not given:
        raise ChainError(
            f"apply {title!r}: `tuple` can be one value or several items; annotate it as "
            "tuple[X, Y] for one value, list[X] or tuple[X, ...] for several"
        )
    items = [it if it in values else element_of(it) for it in options]
    output = Union[tuple(items)] if items else Any  # noqa: UP007
    if generates or (options and not values):
        return FunctionTypes(input_type, output, True, is_open=False)
    is_open = any(it in _UNKNOWN for it in values)
    splits = None if is_open or len(values) < len(options) else False
    return FunctionTypes(input_type, output, splits, (*values, *given), is_open)


def returned_type(fn: Callable[..., Any]) -> Any:
    """The type that a function returns, of a coroutine in the end; `Any` without an annotation."""
    return _awaited(hints_of(fn).get("return", Any))


def is_several(annotation: Any) -> bool:
    """Whether a type is a list of items, or another collection or iterator of them."""
    origin = get_origin(annotation) or annotation
    if origin is tuple:
        return get_args(annotation)[1:] == (...,)
    return isinstance(origin, type) and origin in _SEVERAL


def _is_list(annotation: Any) -> bool:
    return (get_origin(annotation) or annotation) is list


def is_collection(value: Any) -> TypeGuard[Iterable[Any]]:
    """Whether a value is a tuple, a set, a view of a dict or the like, but not a list."""
    if isinstance(value, list | str | bytes | bytearray | memoryview | Mapping):
        return False
    return isinstance(value, Sequence | Set | MappingView) and not hasattr(value, "_fields")


def is_generator(fn: Any) -> bool:
    """Whether a function, or an object that can be called, is a generator."""
    return any(map(inspect.isgeneratorfunction, _callables(fn)))


def is_async_generator(fn: Any) -> bool:
    """Whether a function, or an object that can be called, is an asynchronous generator."""
    return any(map(inspect.isasyncgenfunction, _callables(fn)))


def _callables(fn: Any) -> tuple[Any, Any]:
    """The function, and what is called if it is an object."""
    return fn, getattr(fn, "__call__", None)  # noqa: B004  the method itself is wanted


def hints_of(fn: Any) -> dict[str, Any]:
    """Types of parameters and of what is returned, by name; empty without annotations."""
    while isinstance(fn, partial):
        fn = fn.func
    if not inspect.isroutine(fn) and not inspect.isclass(fn):
        fn = getattr(fn, "__call__", fn)  # noqa: B004
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except (TypeError, ValueError, NameError):
        return {}


def _first_parameter(fn: Any) -> str:
    try:
        return next(iter(inspect.signature(fn).parameters), "")
    except (TypeError, ValueError):  # of a builtin such as `str`
        return ""


def _awaited(annotation: Any) -> Any:
    """The type that an awaitable has in the end; any other type itself."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    return arguments[-1] if origin in (Awaitable, Coroutine) and arguments else annotation


def _of_batch(annotation: Any, what: str) -> Any:
    """The type of one item, from the annotation of a list of them.

    Raises:
        ChainError: The annotation is of something else.
    """
    elements: list[Any] = []
    for option in members_of(annotation):
        origin = get_origin(option) or option
        if option in _UNKNOWN or not isinstance(origin, type):
            return Any
        if option is type(None):
            continue
        if not is_several(option) or issubclass(origin, Set):
            name = type_name(option)
            raise ChainError(f"{what}; annotate it as list[{name}], not {name}")
        elements.append(element_of(option))
    return Union[tuple(elements)] if elements else Any  # noqa: UP007


def element_of(annotation: Any) -> Any:
    """Type of the items of a collection."""
    arguments = get_args(annotation)
    if arguments and get_origin(arguments[0]) is Annotated:  # with limits, as in a file
        return get_args(arguments[0])[0]
    if get_origin(annotation) is ItemsView:
        return tuple.__class_getitem__(arguments)
    return arguments[0] if arguments else Any


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    if type(annotation).__name__ == "TypeAliasType":
        annotation = annotation.__value__
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)

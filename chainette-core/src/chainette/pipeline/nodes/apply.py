"""Plain functions in a chain."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    overload,
)

from typing_extensions import Concatenate  # noqa: UP035  that of Python 3.10 takes no `...`

from chainette.errors import ChainError
from chainette.pipeline.nodes.flow import I_, O_, In, Out, Split
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.text import names_keywords

if TYPE_CHECKING:
    from typing_extensions import TypeForm, Unpack

Batch = int | Literal["all"] | None
Argument = TypeVar("Argument")
Returned = TypeVar("Returned")
Function: TypeAlias = Callable[Concatenate[Argument, ...], Returned]
"""A function of an item, and of names if it wants them."""
_GENERATORS = (Iterator, Iterable, Generator, AsyncIterator, AsyncIterable, AsyncGenerator)


@names_keywords
class ApplyNode(Node[In, Out]):
    """A function that turns an item into another one, splits it into several, or drops it.

    The function takes the item, and the mapping of all visible names (`chain_input`, ids of
    earlier nodes, aliases of joined branches) if it has a second parameter without a default. It
    may be a coroutine function. It returns an item; a list, whose elements continue separately; or
    `None`, which drops the item. A generator is a function that returns the list of what it yields.

    Args:
        fn: The function. With `batch`, it takes a list of items and returns a list of the same
            length, with an output for each item.
        id: Name in templates and files; the function's name by default.
        name: Title for people.
        input_model: Type of the input; by default the parameter's annotation.
        output_model: Type of one output item; by default from the return annotation.
        batch: Number of items that it takes at a time; `all` waits for every row.
        threaded: Run it in a thread, for functions that block.
        yield_output: Whether the output belongs to the run's results.
        emoji: Shown in front of the name.

    Raises:
        ChainError: `fn` is not a function, or an argument is wrong.
    """

    kind = "apply"

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        id: str | None = None,
        name: str = "",
        input_model: Any = None,
        output_model: Any = None,
        batch: Batch = None,
        threaded: bool = False,
        yield_output: bool = True,
        emoji: str = "",
    ) -> None:
        if not callable(fn):
            raise ChainError(f"apply: {fn!r} is not a function")
        title = id or str(getattr(fn, "__name__", type(fn).__name__))
        if title == "<lambda>":
            raise ChainError("apply: a lambda has no name; give it one with id=")
        if batch not in (None, "all") and (not isinstance(batch, int) or batch < 1):
            raise ChainError(f"apply {title!r}: batch is {batch!r}; give a number from 1, or 'all'")
        input_type, output_type = _annotations(fn, batch is not None)
        super().__init__(
            id=title,
            name=name,
            input_model=input_type if input_model is None else input_model,
            output_model=output_type if output_model is None else output_model,
            yield_output=yield_output,
            emoji=emoji,
        )
        self.fn = fn
        self.batch = batch
        self.threaded = threaded
        self.takes_context: bool = _takes_context(fn, self.id)

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        call = getattr(self.fn, "__call__", None)  # noqa: B004  an object with a coroutine call
        return inspect.iscoroutinefunction(self.fn) or inspect.iscoroutinefunction(call)

    @property
    def is_generator(self) -> bool:
        """Whether the function is a generator."""
        return inspect.isgeneratorfunction(self.fn)

    @property
    def is_async_generator(self) -> bool:
        """Whether the function is an asynchronous generator."""
        return inspect.isasyncgenfunction(self.fn)

    @property
    def source(self) -> str:
        """The function's source code, or else its name, to detect changes."""
        try:
            return inspect.getsource(self.fn)
        except (OSError, TypeError):
            return getattr(self.fn, "__qualname__", type(self.fn).__qualname__)

    def needs(self, aliases: Any) -> set[str]:
        """All joined branches if the function takes the names, else an empty set."""
        return set(aliases) if self.takes_context else set()

    def __repr__(self) -> str:
        """The id and the types."""
        types = f"{type_name(self.input_model)} -> {type_name(self.output_model)}"
        return f"{type(self).__name__}({self.id!r}, {types})"


class SplitNode(ApplyNode[In, Out], Split[In, Out]):
    """A function that splits its item: it returns a list, or it is a generator."""

    def nodes(self) -> Iterator[Any]:
        """The node itself."""
        yield self


class _Untyped:
    """A type that no function returns: only one that says nothing of its output fits it."""


class ApplyOptions(TypedDict, total=False):
    """The keywords that every form of `apply` takes; see `ApplyNode`."""

    id: str
    name: str
    threaded: bool
    yield_output: bool
    emoji: str


class ApplyDecorator(Protocol):
    """The decorator that `apply` returns without a function."""

    @overload
    def __call__(self, fn: Callable[..., _Untyped]) -> ApplyNode[Any, Any]: ...
    @overload
    def __call__(self, fn: Function[I_, Awaitable[list[O_] | None]]) -> SplitNode[I_, O_]: ...
    @overload
    def __call__(self, fn: Function[I_, list[O_] | None]) -> SplitNode[I_, O_]: ...
    @overload
    def __call__(self, fn: Function[I_, Iterator[O_]]) -> SplitNode[I_, O_]: ...
    @overload
    def __call__(self, fn: Function[I_, AsyncIterator[O_]]) -> SplitNode[I_, O_]: ...
    @overload
    def __call__(self, fn: Function[I_, Awaitable[O_ | None]]) -> ApplyNode[I_, O_]: ...
    @overload
    def __call__(self, fn: Function[I_, O_ | None]) -> ApplyNode[I_, O_]: ...
    def __call__(self, fn: Any) -> Any:
        """Put a function into a chain."""


class BatchDecorator(Protocol):
    """The decorator that `apply` returns with a batch and without a function."""

    @overload
    def __call__(
        self, fn: Function[list[I_], Awaitable[Sequence[O_ | None]]]
    ) -> ApplyNode[I_, O_]: ...
    @overload
    def __call__(self, fn: Function[list[I_], Sequence[O_ | None]]) -> ApplyNode[I_, O_]: ...
    def __call__(self, fn: Any) -> Any:
        """Put a function into a chain."""


@overload
def apply(
    fn: Callable[..., Any],
    *,
    input_model: TypeForm[I_],
    output_model: Any = None,
    batch: int | Literal["all"] | None = None,
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, Any]: ...
@overload
def apply(
    fn: Function[list[I_], Any],
    *,
    output_model: TypeForm[O_],
    batch: int | Literal["all"],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, O_]: ...
@overload
def apply(
    fn: Function[I_, Any],
    *,
    output_model: Any,
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, Any]: ...
@overload
def apply(
    fn: Callable[..., _Untyped],
    *,
    batch: int | Literal["all"],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[Any, Any]: ...
@overload
def apply(
    fn: Function[list[I_], Awaitable[Sequence[O_ | None]]],
    *,
    batch: int | Literal["all"],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, O_]: ...
@overload
def apply(
    fn: Function[list[I_], Sequence[O_ | None]],
    *,
    batch: int | Literal["all"],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, O_]: ...
@overload
def apply(
    fn: Callable[..., _Untyped],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[Any, Any]: ...
@overload
def apply(
    fn: Function[I_, Awaitable[list[O_] | None]],
    **options: Unpack[ApplyOptions],
) -> SplitNode[I_, O_]: ...
@overload
def apply(
    fn: Function[I_, list[O_] | None],
    **options: Unpack[ApplyOptions],
) -> SplitNode[I_, O_]: ...
@overload
def apply(
    fn: Function[I_, Iterator[O_]],
    **options: Unpack[ApplyOptions],
) -> SplitNode[I_, O_]: ...
@overload
def apply(
    fn: Function[I_, AsyncIterator[O_]],
    **options: Unpack[ApplyOptions],
) -> SplitNode[I_, O_]: ...
@overload
def apply(
    fn: Function[I_, Awaitable[O_ | None]],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, O_]: ...
@overload
def apply(
    fn: Function[I_, O_ | None],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, O_]: ...
@overload
def apply(*, batch: int | Literal["all"], **options: Unpack[ApplyOptions]) -> BatchDecorator: ...
@overload
def apply(**options: Unpack[ApplyOptions]) -> ApplyDecorator: ...
def apply(fn: Any = None, **options: Any) -> Any:
    """Put a function into a chain; also a decorator, with or without options.

    Args:
        fn: The function; see `ApplyNode`.
        **options: The other arguments of `ApplyNode`.

    Raises:
        ChainError: `fn` is not a function, or an option is wrong.
    """
    if fn is None:
        return partial(apply, **options)
    node_class = SplitNode if _splits(fn, batched="batch" in options) else ApplyNode
    return node_class(fn, **options)


def _takes_context(fn: Callable[..., Any], id: str) -> bool:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # of a builtin such as `str`
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    if len(required) > 2:
        names = ", ".join(parameter.name for parameter in required)
        raise ChainError(f"apply {id!r}: the function needs {names}; it gets an item and the names")
    return len(required) == 2


def _annotations(fn: Callable[..., Any], batched: bool) -> tuple[Any, Any]:
    """Types of the input item and of an output item; `Any` without an annotation."""
    try:
        hints = typing.get_type_hints(fn, include_extras=True)
        first = next(iter(inspect.signature(fn).parameters), None)
    except (TypeError, ValueError, NameError):
        return Any, Any
    input_type = hints.get(first, Any) if first else Any
    output_type = hints.get("return", Any)
    if batched:
        input_type, output_type = _element(input_type), _element(output_type)
    return input_type, _item(output_type)


def _element(annotation: Any) -> Any:
    """Type of a list's elements."""
    arguments = get_args(annotation)
    return arguments[0] if get_origin(annotation) is not None and arguments else Any


def _item(annotation: Any) -> Any:
    """Type of one item, from an annotation of items, lists or iterators of them, and `None`."""
    items = [
        _element(option) if _is_several(option) else option
        for option in _options(annotation)
        if option is not type(None)
    ]
    return Union[tuple(items)] if items else Any  # noqa: UP007


def _splits(fn: Any, *, batched: bool) -> bool:
    """Whether a function splits its item, as far as its annotation or its code says so."""
    if not callable(fn) or batched:
        return False
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        return True
    try:
        annotation = typing.get_type_hints(fn, include_extras=True).get("return", Any)
    except (TypeError, ValueError, NameError):
        return False
    return any(_is_several(option) for option in _options(annotation))


def _options(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the type itself."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return get_args(annotation) if is_union else (annotation,)


def _is_several(annotation: Any) -> bool:
    """Whether a type is a list of items, or the iterator of a generator."""
    origin = get_origin(annotation)
    return origin is list or (origin is not str and origin in _GENERATORS)

"""Plain functions in a chain."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence, Set
from functools import cached_property, partial
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

from typing_extensions import Concatenate  # noqa: UP035  that of Python 3.10 takes no `...`

from chainette.errors import ChainError
from chainette.pipeline.functions.calls import Calls, SyncCalls
from chainette.pipeline.functions.parameters import (
    Parameters,
    check_calls,
    engines_of,
    parameters_of,
    returns_awaitable,
)
from chainette.pipeline.nodes.annotations import (
    FunctionTypes,
    hints_of,
    is_async_generator,
    types_of,
)
from chainette.pipeline.nodes.conditions import NOT_GIVEN, OnError
from chainette.pipeline.nodes.flow import I_, O_, In, Out, Split
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.options import ApplyOptions
from chainette.text import names_keywords

if TYPE_CHECKING:
    from typing_extensions import TypeForm, Unpack

Batch = int | Literal["all"] | None
_Pairs: TypeAlias = (
    tuple[()]
    | tuple[Any]
    | tuple[Any, Any]
    | tuple[Any, Any, Any]
    | tuple[Any, Any, Any, Any]
    | tuple[Any, Any, Any, Any, Any]
)
Several: TypeAlias = Sequence[O_] | Set[O_] | Iterator[O_]
"""Several items; `Iterable` would be every model and dict as well."""
Argument = TypeVar("Argument")
Returned = TypeVar("Returned")
Function: TypeAlias = Callable[Concatenate[Argument, ...], Returned]
"""A function of an item, and of names if it wants them."""
One = TypeVar("One", bound=str | bytes | _Pairs)
"""A type that a type checker would take for a collection of items, and that is one item."""


@names_keywords
class ApplyNode(Node[In, Out]):
    """A function that turns an item into another one, splits it into several, or drops it.

    The function takes the item, and the mapping of all visible names (`chain_input`, ids of
    earlier nodes, aliases of joined branches) if it has a second parameter without a default.
    Parameters named `row_id` and `calls` take the index of the input row, and the engines. It may
    be a coroutine function. It returns an item; a list, whose elements continue separately; or
    `None`, which drops the item. What a generator yields is as good as a list; so is a tuple, set
    or other collection if the return annotation says that it is one, such as `tuple[X, ...]`,
    `set[X]` or `Sequence[X]`.

    Args:
        fn: The function. With `batch`, it takes a list of items and returns a list of the same
            length, with an output for each item.
        id: Name in templates and files; the function's name by default.
        name: Title for people.
        input_model: Type of the input; by default the parameter's annotation.
        output_model: Type of one output item; by default from the return annotation. A collection
            of this type is one item.
        batch: Number of items that it takes at a time; `all` waits for every row.
        threaded: Run it in a thread, for functions that block.
        engines: Names of the engines that it calls, through its parameter `calls`; see `Calls`.
        yield_output: Whether the output belongs to the run's results.
        emoji: Shown in front of the name.
        when: The condition under which it runs, as in `Step`. Otherwise the input goes on.
        otherwise: The output where the condition does not hold, in place of the input.
        on_error: `none` to go on without an output where the function fails.
        default: The output where it fails.

    Raises:
        ChainError: `fn` is not a function, or an argument is wrong.
    """

    kind = "apply"

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        input_model: Any = None,
        output_model: Any = None,
        batch: Batch = None,
        on_error: OnError = "fail",
        otherwise: Any = NOT_GIVEN,
        **options: Unpack[ApplyOptions],
    ) -> None:
        _check_function(fn)
        id = options.get("id")
        title = id or str(getattr(fn, "__name__", type(fn).__name__))
        if title == "<lambda>":
            raise ChainError("apply: a lambda has no name; give it one with id=")
        is_count = isinstance(batch, int) and not isinstance(batch, bool) and batch > 0
        if not (is_count or batch in (None, "all")):
            raise ChainError(f"apply {title!r}: batch is {batch!r}; give a number from 1, or 'all'")
        types = types_of(fn, title, batched=batch is not None, output_model=output_model)
        super().__init__(
            id=title,
            input_model=types.input if input_model is None else input_model,
            output_model=types.output if output_model is None else output_model,
            options=options,
            otherwise=otherwise,
            on_error=on_error,
        )
        self.fn = fn
        self.batch = batch
        self.waits_for_all: bool = batch == "all"
        self.threaded: bool = options.get("threaded", False)
        self.types: FunctionTypes = types
        self._engines = engines_of(options.get("engines"), self.id)
        self.is_pure: bool = False
        self.parameters: Parameters = parameters_of(fn, self.id, has_calls=bool(self._engines))
        self.takes_context: bool = self.parameters.takes("names")
        self._check_calls()

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that the function calls."""
        return self._engines

    def _check_calls(self) -> None:
        hints = hints_of(self.fn)
        annotation = hints.get("calls")
        check_calls(
            self.id,
            self.parameters.takes("calls"),
            self.engines,
            batch=self.batch,
            waits=self.threaded or self.awaits,
            annotation=annotation if annotation is (SyncCalls if self.awaits else Calls) else None,
        )

    @cached_property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        call = getattr(self.fn, "__call__", None)  # noqa: B004  an object with a coroutine call
        return inspect.iscoroutinefunction(self.fn) or inspect.iscoroutinefunction(call)

    @cached_property
    def is_async_generator(self) -> bool:
        """Whether the function is an asynchronous generator."""
        return is_async_generator(self.fn)

    @cached_property
    def awaits(self) -> bool:
        """Whether the function runs in the event loop, where it awaits the answers of engines."""
        is_async = self.is_async or self.is_async_generator
        return is_async or returns_awaitable(self.fn, hints_of(self.fn))

    @property
    def source(self) -> str:
        """The function's source code, or else its name, to detect changes."""
        try:
            return inspect.getsource(self.fn)
        except (OSError, TypeError):
            return getattr(self.fn, "__qualname__", type(self.fn).__qualname__)

    def _uses(self, aliases: set[str]) -> set[str]:
        """All joined branches if the function or a validator takes the names, else none."""
        return aliases if self.takes_context or self.validates_in_context else set()

    @property
    def makes_several(self) -> bool:
        """Whether its function certainly makes several items of one."""
        return self.kind == "apply" and self.batch is None and self.types.splits is True

    def __repr__(self) -> str:
        """The id and the types."""
        types = f"{type_name(self.input_model)} -> {type_name(self.output_model)}"
        return f"{type(self).__name__}({self.id!r}, {types})"


class SplitNode(ApplyNode[In, Out], Split[In, Out]):
    """A function that splits its item: it returns a list, or it is a generator."""

    def nodes(self) -> Iterator[Any]:
        """The node itself."""
        yield self


def is_pure(node: Node) -> bool:
    """Whether a node calls no function of the user's, and no engine."""
    return isinstance(node, ApplyNode) and node.is_pure


def sees_all(node: ApplyNode) -> str:
    """What makes a function see the items of all rows, for messages."""
    return "has batch='all'" if node.kind == "apply" else "compares the items of all rows"


class _Untyped:
    """A type that no function returns: only one that says nothing of its output fits it."""


class ApplyDecorator(Protocol):
    """The decorator that `apply` returns without a function."""

    @overload
    def __call__(self, fn: Callable[..., _Untyped]) -> ApplyNode[Any, Any]: ...
    @overload
    def __call__(self, fn: Function[I_, Awaitable[One | None]]) -> ApplyNode[I_, One]: ...
    @overload
    def __call__(self, fn: Function[I_, One | None]) -> ApplyNode[I_, One]: ...
    @overload
    def __call__(self, fn: Function[I_, Awaitable[Several[O_] | None]]) -> SplitNode[I_, O_]: ...
    @overload
    def __call__(self, fn: Function[I_, Several[O_] | None]) -> SplitNode[I_, O_]: ...
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
    fn: Function[I_, Awaitable[One | None]],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, One]: ...
@overload
def apply(
    fn: Function[I_, One | None],
    **options: Unpack[ApplyOptions],
) -> ApplyNode[I_, One]: ...
@overload
def apply(
    fn: Function[I_, Awaitable[Several[O_] | None]],
    **options: Unpack[ApplyOptions],
) -> SplitNode[I_, O_]: ...
@overload
def apply(
    fn: Function[I_, Several[O_] | None],
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
    node: ApplyNode = ApplyNode(fn, **options)
    return SplitNode(fn, **options) if node.types.splits and node.batch is None else node


def _check_function(fn: Any) -> None:
    """Check that a function is one.

    Raises:
        ChainError: It is a node already, its name, or what it returned.
    """
    if isinstance(fn, Node):
        raise ChainError(f"apply: {fn!r} is a {fn.kind} already; put it into the chain as it is")
    if not callable(fn):
        hint = "its name" if isinstance(fn, str) else "what it returned"
        shown = reprlib.repr(fn)
        raise ChainError(f"apply: {shown} is not a function; give the function itself, not {hint}")

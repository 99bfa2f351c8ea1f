"""`filter`: the items that go on, by an expression or a function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, overload

from chainette.errors import Drop
from chainette.pipeline.composites.composite import Scope
from chainette.pipeline.nodes.conditions import NOT_GIVEN, Condition, OnError
from chainette.pipeline.nodes.flow import I_, Passing, Same
from chainette.pipeline.nodes.options import NodeOptions
from chainette.pipeline.words.word import KEPT, Kept, PassingWord
from chainette.text import names_keywords

if TYPE_CHECKING:
    from typing_extensions import TypeForm, Unpack

Says = Callable[[I_], bool] | Callable[[I_, Mapping[str, Any]], bool]
"""A function of an item, or of the item and the names."""
AwaitsSay = Callable[[I_], Awaitable[bool]] | Callable[[I_, Mapping[str, Any]], Awaitable[bool]]


@names_keywords
class FilterNode(PassingWord[I_, I_], Passing[I_]):
    """Lets items go on as they are, and drops the others; see `filter`.

    Args:
        keeps: The function or the expression that says which go on.
        id: Name in templates and files.
        input_model: Type of the items, or `None` for that of what comes in.
        on_error: `none` to go on without an output where the function fails.
        otherwise: The output where `when` does not hold, in place of the input.
        **options: The options of every node.

    Attributes:
        keeps: The condition under which an item goes on.

    Raises:
        ChainError: The expression is not valid, or an option is wrong.
    """

    kind = "filter"

    def __init__(
        self,
        keeps: Any,
        *,
        id: str = "filter",
        input_model: Any = None,
        on_error: OnError = "fail",
        otherwise: Any = NOT_GIVEN,
        **options: Unpack[NodeOptions],
    ) -> None:
        self.keeps: Condition = Condition(keeps, f"filter {id!r}")
        reason = self.keeps.text if self.keeps.function is None else _name(keeps, id)
        super().__init__(
            _function(self.keeps, Drop(reason)),
            id=id,
            input_model=input_model,
            options={"yield_output": False, **options},
            on_error=on_error,
            otherwise=otherwise,
        )

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The function that says which items go on, if it is one."""
        return [] if self.keeps.function is None else [self.keeps.function]

    def says(self) -> dict[str, Any]:
        """The condition; see `Word.says`."""
        return {"filter": self.keeps.text}

    def _check_names(self, scope: Scope) -> None:
        self.keeps.check(self.input_model, scope.names, scope.elsewhere, scope.source)

    def _uses(self, aliases: set[str]) -> set[str]:
        return self.keeps.needs(aliases)


def _function(keeps: Condition, dropped: Drop) -> Callable[..., Any]:
    """What a filter does with an item."""
    expression = keeps.expression
    if expression is not None:
        return lambda item, names: KEPT if expression.value(item, names) else dropped

    def decided(said: Any) -> Kept | Drop:
        return KEPT if keeps.truth(said) else dropped

    async def awaited(said: Awaitable[Any]) -> Kept | Drop:
        return decided(await said)

    def ask(item: Any, names: Any) -> Any:
        said = keeps.called(item, names)
        return awaited(said) if isinstance(said, Awaitable) else decided(said)

    return ask


def _name(function: Any, id: str) -> str:
    """The name of a function, or that of its node where it has none."""
    name = str(getattr(function, "__name__", ""))
    return name if name.isidentifier() else id


@overload
def filter(
    keeps: str,
    *,
    id: str = ...,
    input_model: None = None,
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> Same: ...
@overload
def filter(
    keeps: str,
    *,
    id: str = ...,
    input_model: TypeForm[I_],
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> FilterNode[I_]: ...
@overload
def filter(
    keeps: AwaitsSay[I_] | Says[I_],
    *,
    id: str = ...,
    input_model: Any = ...,
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> FilterNode[I_]: ...
def filter(keeps: Any, **options: Any) -> Any:
    """Let items go on as they are, and drop the others.

    The reason of a dropped item is the expression, or the name of the function; a function may
    also raise `Drop` with another one.

    Args:
        keeps: Says which items go on: a template expression such as `score > 3`, or a function of
            the item, or of the item and the names, that returns `True` or `False`.
        **options: `id`, its name in templates and files, `filter` by default. `input_model`, the
            type of the items; by default that of what comes in. And `name`, `yield_output`, which
            is off by default, `emoji`, `when`, `otherwise`, `on_error` and `default`, as in `Step`.

    Raises:
        ChainError: The expression is not valid, or an option is wrong.
    """
    made: FilterNode[Any] = FilterNode(keeps, **options)
    return made

"""`distinct`: the first item of each key, and no other."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from pydantic import BaseModel

from chainette.errors import ApplyError, ChainError, Drop
from chainette.pipeline.composites.composite import Scope
from chainette.pipeline.nodes.conditions import NOT_GIVEN, Condition, OnError
from chainette.pipeline.nodes.flow import I_, Passing, Same
from chainette.pipeline.nodes.naming import fields_of
from chainette.pipeline.nodes.options import NodeOptions
from chainette.pipeline.words.word import KEPT, PassingWord, Raised
from chainette.text import names_keywords, with_article

if TYPE_CHECKING:
    from typing_extensions import TypeForm, Unpack

KeyOf: TypeAlias = Callable[[I_], Any] | Callable[[I_, Mapping[str, Any]], Any]
"""A function of an item, or of the item and the names."""


@names_keywords
class DistinctNode(PassingWord[I_, I_], Passing[I_]):
    """Lets the first item of each key go on, in the order of the inputs; see `distinct`.

    Args:
        by: What must differ; `None` for the whole item.
        id: Name in templates and files.
        input_model: Type of the items, or `None` for that of what comes in.
        on_error: `none` to go on without an output where the function fails.
        otherwise: The output where `when` does not hold, in place of the input.
        **options: The options of every node.

    Attributes:
        parts: The expressions and functions of the key; none for the whole item.

    Raises:
        ChainError: The key is not valid, or an option is wrong.
    """

    kind = "distinct"

    def __init__(
        self,
        by: Any = None,
        *,
        id: str = "distinct",
        input_model: Any = None,
        on_error: OnError = "fail",
        otherwise: Any = NOT_GIVEN,
        **options: Unpack[NodeOptions],
    ) -> None:
        where = f"distinct {id!r}, by"
        given = [*by] if isinstance(by, list | tuple) else [] if by is None else [by]
        if by is not None and not given:
            raise ChainError(f"{where} is empty; leave it out to compare whole items")
        self.parts: list[Condition] = [Condition(part, where) for part in given]
        self._fields: dict[str, Any] = {}
        super().__init__(
            self._first_ones,
            id=id,
            input_model=input_model,
            options={"yield_output": False, **options},
            on_error=on_error,
            otherwise=otherwise,
            batch="all",
        )
        # Only these may see more than the item, which then decides on the outputs.
        self.takes_context: bool = not all(part.expression is not None for part in self.parts)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The functions in its key."""
        return [part.function for part in self.parts if part.function is not None]

    def says(self) -> dict[str, Any]:
        """What must differ; see `Word.says`."""
        return {"by": [part.text for part in self.parts] or None}

    def _check_names(self, scope: Scope) -> None:
        for part in self.parts:
            part.check(self.input_model, scope.names, scope.elsewhere, scope.source)
        own = dict(fields_of(self.input_model))
        self._fields = {it: own[it] for it in own.keys() - scope.names.keys()}
        paths = [part.expression.names if part.expression else set() for part in self.parts]
        is_own = all(names <= self._fields.keys() for names in paths)
        self.takes_context = bool(self.functions) or not is_own

    def _uses(self, aliases: set[str]) -> set[str]:
        return {alias for part in self.parts for alias in part.needs(aliases)}

    async def _first_ones(self, items: list[Any], names: list[Any]) -> list[Any]:
        dropped = Drop(f"not distinct{f' by {self.text}' if self.parts else ''}")
        seen: set[Any] = set()
        found: list[Any] = []
        for item, seen_names in zip(items, names, strict=True):
            try:
                key = await self._key(item, seen_names)
            except Exception as error:
                found.append(Raised(error))
                continue
            found.append(dropped if key in seen else KEPT)
            seen.add(key)
        return found

    @property
    def text(self) -> str:
        """What must differ, for people."""
        return ", ".join(part.text for part in self.parts)

    async def _key(self, item: Any, names: Mapping[str, Any]) -> Any:
        if not self.parts:
            return self._exact(item)
        return tuple([self._exact(await self._part(part, item, names)) for part in self.parts])

    async def _part(self, part: Condition, item: Any, names: Mapping[str, Any]) -> Any:
        if part.expression is None:
            said = part.called(item, names)
            return await said if isinstance(said, Awaitable) else said
        if part.text in self._fields:
            return getattr(item, part.text)
        return part.expression.value(item, names)

    def _exact(self, value: Any) -> Any:
        """A value as it is compared: 1, 1.0, true and "1" are four, and so are models by class.

        Raises:
            ApplyError: It holds an object that cannot be compared.
        """
        if isinstance(value, BaseModel):
            fields = {**value.__dict__, **(value.__pydantic_extra__ or {})}
            return type(value), *((name, self._exact(it)) for name, it in sorted(fields.items()))
        if isinstance(value, Mapping):
            pairs = [(self._exact(name), self._exact(it)) for name, it in value.items()]
            return type(value), frozenset(pairs)
        if isinstance(value, list | tuple):
            return type(value), *map(self._exact, value)
        if isinstance(value, set | frozenset):
            return type(value), frozenset(map(self._exact, value))
        if isinstance(value, float) and math.isnan(value):
            return float, "nan"
        try:
            hash(value)
        except TypeError:
            kind = with_article(type(value).__name__)
            raise ApplyError(
                f"distinct {self.id!r}: the key holds {kind}, which cannot be compared; name "
                'fields or an expression, as in distinct("sku")'
            ) from None
        return type(value), value


@overload
def distinct(  # type: ignore[overload-overlap]
    by: str | Sequence[str] | None = None,
    *,
    id: str = ...,
    input_model: None = None,
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> Same: ...
@overload
def distinct(
    by: str | Sequence[str] | None = None,
    *,
    id: str = ...,
    input_model: TypeForm[I_],
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> DistinctNode[I_]: ...
@overload
def distinct(
    by: KeyOf[I_] | Sequence[str | KeyOf[I_]],
    *,
    id: str = ...,
    input_model: Any = ...,
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> DistinctNode[I_]: ...
def distinct(by: Any = None, **options: Any) -> Any:
    """Let the first item of each key go on, and drop the others.

    It sees the items of all rows, as a function with `batch="all"` does: what follows starts when
    every row has come here, and `run_one` refuses it. Keys are compared exactly. Memory: all items
    that come here are held until then, and a key of each.

    Args:
        by: What must differ: a field such as `sku` or another template expression, a function of
            the item, or of the item and the names; or a list of these. Without it, the whole item.
        **options: `id`, its name in templates and files, `distinct` by default. `input_model`, the
            type of the items; by default that of what comes in. And `name`, `yield_output`, which
            is off by default, `emoji`, `when`, `otherwise`, `on_error` and `default`, as in `Step`.

    Raises:
        ChainError: The key is not valid, or an option is wrong.
    """
    made: DistinctNode[Any] = DistinctNode(by, **options)
    return made

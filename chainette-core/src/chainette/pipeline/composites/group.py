"""Groups of rows: what the nodes of a `reduce` take."""

from __future__ import annotations

import typing
from copy import deepcopy
from typing import Any, ClassVar, Generic, get_args

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

Element = TypeVar("Element", default=Any)
_SCALARS = frozenset((str, int, float, bool, type(None)))


class Group(BaseModel, Generic[Element]):
    """All rows of a key, as the node in a `reduce` takes them.

    Attributes:
        key: The key; a tuple if `by` names several, `None` if it names nothing.
        items: The values of the rows before the `reduce`, in input order; with `fold`, a part.
        row_ids: The row id of each item. A row that was split can have several items.
        so_far: With `fold`, the output for the parts before this one; `None` for the first.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    key: Any
    items: list[Element]
    row_ids: list[int]
    so_far: Any = None

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        """A copy that shares nothing that can change."""
        memo = {} if memo is None else memo
        values = {name: deepcopy(value, memo) for name, value in self if name not in _LISTS}
        items = [_copied(item, memo) for item in self.items]
        return type(self).model_construct(**values, items=items, row_ids=[*self.row_ids])


class GroupName(BaseModel):
    """The group that a flow works on, as later nodes see it: the name `group`.

    Attributes:
        key: The key.
        row_ids: The row id of each of its items.
    """

    key: Any
    row_ids: list[int]


_LISTS = ("items", "row_ids")


def is_group(model: Any) -> bool:
    """Whether a type is that of a group."""
    return isinstance(model, type) and issubclass(model, Group)


def element_of(model: Any) -> Any:
    """The type of the items of a group; of another type, `Any`."""
    if not is_group(model):
        return Any
    (element,) = get_args(model.model_fields["items"].annotation) or (Any,)
    return Any if isinstance(element, typing.TypeVar) else element


def _copied(item: Any, memo: dict[int, Any]) -> Any:
    """A copy of an item; that of a model of texts and numbers takes a fraction of the time."""
    kind = type(item)
    if kind in _SCALARS:
        return item
    is_plain = (
        isinstance(item, BaseModel)
        and kind.__deepcopy__ is BaseModel.__deepcopy__
        and _SCALARS.issuperset(map(type, item.__dict__.values()))
        and not (item.__pydantic_extra__ or item.__pydantic_private__)
    )
    return item.__copy__() if is_plain else deepcopy(item, memo)

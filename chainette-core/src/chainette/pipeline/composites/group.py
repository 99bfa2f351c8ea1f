"""Groups of rows: what the nodes of a `reduce` take."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, get_args

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeVar

from chainette.messages.brief import brief
from chainette.pipeline.nodes.copies import copied

Element = TypeVar("Element", default=Any)


class Group(BaseModel, Generic[Element]):
    """All rows of a key, as the node in a `reduce` takes them.

    Attributes:
        key: The key; a tuple if `by` names several, `None` if it names nothing.
        items: The values of the rows before the `reduce`, in input order; with `fold`, a part.
        row_ids: The row id of each item; a row that was split can have several. Where the items
            are those of other groups, the row ids of these groups, each once.
        so_far: With `fold`, the output for the parts before this one; `None` for the first.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    key: Any
    items: list[Element]
    row_ids: list[int]
    so_far: Any = None

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """Show it in IPython; as text in prompts, a group is whole."""
        printer.text(f"{type(self).__name__}(key={brief(self.key)}, {len(self.items):,} items)")

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        """A copy that shares nothing that can change."""
        memo = {} if memo is None else memo
        values = {name: copied(value, memo) for name, value in self if name not in _LISTS}
        items = [copied(item, memo) for item in self.items]
        return type(self).model_construct(**values, items=items, row_ids=[*self.row_ids])


_MISSING = (
    ": only the first node of a reduce sees it; to give it a name for later ones, put a function "
    "that returns the group in front: reduce(apply(lines) >> …), and they see lines.items"
)


class GroupName(BaseModel):
    """The group that a flow works on, as later nodes see it: the name `group`.

    Attributes:
        key: The key.
        row_ids: The row id of each of its items; of a group that is made of other groups, their
            row ids, each once.
    """

    missing: ClassVar[Mapping[str, str]] = dict.fromkeys(("items", "so_far"), _MISSING)
    """What to do for a field that it does not have."""

    key: Any
    row_ids: list[int]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say what to do for what only a `Group` has."""
            if name in self.missing:
                raise AttributeError(f"the name 'group' has no field {name!r}{self.missing[name]}")
            return super().__getattr__(name)


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

"""`split`: a list of the item into items."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union, get_origin, overload

from pydantic import BaseModel

from chainette.errors import ApplyError, ChainError
from chainette.pipeline.nodes.annotations import FunctionTypes, element_of, is_several, members_of
from chainette.pipeline.nodes.apply import SplitNode
from chainette.pipeline.nodes.conditions import NOT_GIVEN, OnError
from chainette.pipeline.nodes.flow import I_, O_, In, Out
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.options import NodeOptions
from chainette.pipeline.words.word import Word
from chainette.text import did_you_mean, names_keywords, with_article

if TYPE_CHECKING:
    from typing_extensions import TypeForm, Unpack

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_ORDERED = (list, tuple)


@names_keywords
class ListSplit(Word[In, Out], SplitNode[In, Out]):
    """Makes items of a list; see `split`.

    Args:
        field: The field, or `None` for the item itself.
        id: Name in templates and files.
        input_model: Type of the input, or `None` for that of what comes in.
        output_model: Type of one item, or `None` for what the list holds.
        on_error: `none` to go on without an output where it fails.
        otherwise: The output where `when` does not hold, in place of the input.
        **options: The options of every node.

    Attributes:
        field: The field, or `None`.

    Raises:
        ChainError: The field is not a list, or an option is wrong.
    """

    kind = "split"
    splits: bool = True

    def __init__(
        self,
        field: str | None = None,
        *,
        id: str = "split",
        input_model: Any = None,
        output_model: Any = None,
        on_error: OnError = "fail",
        otherwise: Any = NOT_GIVEN,
        **options: Unpack[NodeOptions],
    ) -> None:
        if field is not None and not (isinstance(field, str) and _PATH.fullmatch(field)):
            raise ChainError(
                f"split {id!r}: {field!r} is not the name of a field, such as 'sentences' or "
                "'review.sentences'; for items of your own, use apply(fn) and return a list"
            )
        self.field: str | None = field
        self._path = [] if field is None else field.split(".")
        super().__init__(
            self._items,
            id=id,
            input_model=input_model,
            output_model=output_model,
            options=options,
            on_error=on_error,
            otherwise=otherwise,
        )

    def says(self) -> dict[str, Any]:
        """The field; see `Word.says`."""
        return {"field": self.field}

    def _types(self, model: Any) -> FunctionTypes:
        options = members_of(self._list_type(model))
        options = tuple(it for it in options if it is not type(None)) or options
        for option in options:
            if option in (Any, object) or self._is_list(option):
                continue
            what = f"the field {self.field!r} is" if self.field else "its input is"
            raise ChainError(
                f"split {self.id!r}: {what} {with_article(type_name(option))}, and a split takes a "
                f"list{_about(option)}"
            )
        elements = tuple(Any if it in (Any, object) else element_of(it) for it in options)
        element = Any if Any in elements else Union[elements]  # noqa: UP007
        given = self._output_model
        return FunctionTypes(model, element if given is None else given, True, is_open=False)

    def _list_type(self, model: Any) -> Any:
        """The type of the field.

        Raises:
            ChainError: There is none.
        """
        for name in self._path:
            options = [it for it in members_of(model) if it is not type(None)]
            known = options[0] if len(options) == 1 else Any
            if not (isinstance(known, type) and issubclass(known, BaseModel)):
                return Any
            if name not in known.model_fields:
                if known.model_config.get("extra") == "allow":
                    return Any
                fields = ", ".join(known.model_fields)
                hint = did_you_mean(name, known.model_fields)
                raise ChainError(
                    f"split {self.id!r}: {known.__name__} has no field {name!r}{hint}; it has: "
                    f"{fields}"
                )
            model = known.model_fields[name].annotation
        return model

    @staticmethod
    def _is_list(model: Any) -> bool:
        origin = get_origin(model) or model
        is_class = isinstance(origin, type)
        return is_several(model) and is_class and issubclass(origin, Sequence)

    def _items(self, item: Any) -> list[Any]:
        found = item
        for name in self._path:
            if found is None:
                break
            is_mapping = isinstance(found, Mapping)
            if not (name in found if is_mapping else hasattr(found, name)):
                raise ApplyError(f"split {self.id!r}: the item has no {self.field!r}")
            found = found[name] if is_mapping else getattr(found, name)
        if found is None:
            return []
        if not isinstance(found, Sequence) or isinstance(found, str | bytes | bytearray):
            kind = with_article(type(found).__name__)
            raise ApplyError(
                f"split {self.id!r}: {self.field or 'the item'} is {kind}, and a split takes a list"
            )
        return list(found)


def _about(model: Any) -> str:
    """The advice about a type that is not a list."""
    origin = get_origin(model) or model
    if origin in (set, frozenset):
        return "; a set has no order: sort it in a function, apply(fn)"
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        lists = [n for n, it in origin.model_fields.items() if is_several(it.annotation)]
        return f"; name one of its fields, as in split({lists[0]!r})" if lists else ""
    return ""


@overload
def split(
    field: str | None = None,
    *,
    id: str = ...,
    input_model: None = None,
    output_model: None = None,
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> ListSplit[Any, Any]: ...
@overload
def split(
    field: str | None = None,
    *,
    id: str = ...,
    input_model: TypeForm[I_],
    output_model: None = None,
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> ListSplit[I_, Any]: ...
@overload
def split(
    field: str | None = None,
    *,
    id: str = ...,
    input_model: None = None,
    output_model: TypeForm[O_],
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> ListSplit[Any, O_]: ...
@overload
def split(
    field: str | None = None,
    *,
    id: str = ...,
    input_model: TypeForm[I_],
    output_model: TypeForm[O_],
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[NodeOptions],
) -> ListSplit[I_, O_]: ...
def split(field: Any = None, **options: Any) -> Any:
    """Make items of a list, which continue separately.

    An empty list, or `None` in its place, drops the item, as in a function that returns no items.

    Args:
        field: The field that is a list, such as `sentences` or `review.sentences`. Without it, what
            comes in is the list, such as the answers of a step with `samples=`.
        **options: `id`, its name in templates and files, `split` by default. `input_model`, the
            type of what it takes; by default that of what comes in. `output_model`, the type of one
            item; by default what the list holds. And `name`, `yield_output`, `emoji`, `when`,
            `otherwise`, `on_error` and `default`, as in `Step`.

    Raises:
        ChainError: The field is not a list, or an option is wrong.
    """
    made: ListSplit[Any, Any] = ListSplit(field, **options)
    return made

"""`vote`: one of several answers, the one that most of them agree on."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Union

from pydantic import BaseModel, RootModel, create_model
from pydantic_core import to_jsonable_python

from chainette.errors import ApplyError, ChainError
from chainette.json_bytes import encode
from chainette.pipeline.nodes.annotations import FunctionTypes, element_of, is_several, members_of
from chainette.pipeline.nodes.conditions import NOT_GIVEN, OnError
from chainette.pipeline.nodes.flow import Choosing
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.options import NodeOptions
from chainette.pipeline.words.word import Recorded, Word
from chainette.text import did_you_mean, names_keywords, with_article

if TYPE_CHECKING:
    from typing_extensions import Unpack

AGREEMENT = "agreement"
"""The field, beside those of the item, that says how many agree."""


@names_keywords
class VoteNode(Word[list[Any], Any], Choosing):
    """Chooses one of a list by majority; see `vote`.

    Args:
        field: The field that is voted on; `None` for the whole item.
        id: Name in templates and files.
        input_model: Type of the input, a list, or `None` for that of what comes in.
        on_error: `none` to go on without an output where it fails.
        otherwise: The output where `when` does not hold, in place of the input.
        **options: The options of every node.

    Attributes:
        field: The field, or `None`.

    Raises:
        ChainError: The input is not a list, or has no such field.
    """

    kind = "vote"

    def __init__(
        self,
        field: str | None = None,
        *,
        id: str = "vote",
        input_model: Any = None,
        on_error: OnError = "fail",
        otherwise: Any = NOT_GIVEN,
        **options: Unpack[NodeOptions],
    ) -> None:
        if field is not None and not (isinstance(field, str) and field.isidentifier()):
            raise ChainError(f"vote {id!r}: {field!r} is not the name of a field, such as 'label'")
        self.field: str | None = field
        super().__init__(
            self._winner,
            id=id,
            input_model=input_model,
            options=options,
            on_error=on_error,
            otherwise=otherwise,
        )

    def says(self) -> dict[str, Any]:
        """The field; see `Word.says`."""
        return {"field": self.field}

    @property
    def recorded_model(self) -> Any:
        """The item with its agreement; see `Node.recorded_model`."""
        options = members_of(self.output_model)
        if Any in options:
            return Any
        return Union[tuple(_voted(it) for it in options)]  # noqa: UP007

    def _types(self, model: Any) -> FunctionTypes:
        options = [it for it in members_of(model) if it is not type(None)]
        if not all(it in (Any, object) or is_several(it) for it in options):
            raise ChainError(
                f"vote {self.id!r} takes a list, such as the answers of a step with samples=5, not "
                f"{with_article(type_name(model))}"
            )
        may_be_none = len(options) < len(members_of(model))
        if may_be_none and self.condition is None and self.tolerance is None:
            raise ChainError(
                f"vote {self.id!r} takes a list, and what comes in may be None; give the node in "
                "front of it default=…, or the vote when=… and otherwise=…"
            )
        elements = tuple(Any if it in (Any, object) else element_of(it) for it in options)
        element = Any if Any in elements else Union[elements]  # noqa: UP007
        for option in members_of(element):
            self._check(option)
        return FunctionTypes(model, element, False, is_open=False)

    def _check(self, model: Any) -> None:
        """Check that items of a type can be voted on.

        Raises:
            ChainError: They cannot.
        """
        fields = model.model_fields if _is_model(model) else {}
        where = f"vote {self.id!r}"
        if AGREEMENT in fields:
            raise ChainError(
                f"{where}: {type_name(model)} has a field {AGREEMENT!r}, the name under which the "
                "vote records how many agree; give the field another name"
            )
        if self.field is None or self.field in fields or model is Any:
            return
        if not fields:
            name = type_name(model)
            raise ChainError(
                f"{where}: {name} has no field {self.field!r}; vote on the whole of it with vote()"
            )
        hint = did_you_mean(self.field, fields)
        raise ChainError(
            f"{where}: {type_name(model)} has no field {self.field!r}{hint}; it has: "
            f"{', '.join(fields)}"
        )

    def _winner(self, items: Any) -> Recorded:
        if not isinstance(items, list | tuple) or not items:
            what = "is empty" if isinstance(items, list | tuple) else "is not a list"
            message = f"vote {self.id!r}: what comes in {what}: there is nothing to vote on"
            raise ApplyError(message) from ValueError(what)  # so that it can be tolerated
        counts: dict[bytes, int] = {}
        first: dict[bytes, Any] = {}
        winner, most = b"", 0
        for item in items:
            key = self._key(item)
            first.setdefault(key, item)
            counts[key] = count = counts.get(key, 0) + 1
            if count > most:
                winner, most = key, count
        return _recorded(first[winner], most / len(items))

    def _key(self, item: Any) -> bytes:
        if self.field is not None:
            item = item.get(self.field) if isinstance(item, dict) else getattr(item, self.field)
        return encode(to_jsonable_python(item, fallback=repr))


def _is_model(model: Any) -> bool:
    is_class = isinstance(model, type) and issubclass(model, BaseModel)
    return is_class and not issubclass(model, RootModel)


@lru_cache(maxsize=256)
def _voted(model: Any) -> Any:
    """The type of what is recorded of an item: its fields, or its value, and the agreement."""
    agreement: Any = (float, ...)
    if _is_model(model):
        name = f"{model.__name__}Vote"
        return create_model(name, __base__=model, __module__=model.__module__, agreement=agreement)
    return create_model("Vote", value=(model, ...), agreement=agreement)


def _recorded(item: Any, agreement: float) -> Recorded:
    if not _is_model(type(item)):
        made = _voted(Any)
        return Recorded(item, made.model_construct(value=item, agreement=agreement))
    values = {**item.__dict__, **(item.__pydantic_extra__ or {})}
    given = {*item.model_fields_set, AGREEMENT}
    made = _voted(item.__class__)
    return Recorded(item, made.model_construct(_fields_set=given, **values, agreement=agreement))


def vote(
    field: str | None = None,
    *,
    id: str = "vote",
    input_model: Any = None,
    on_error: OnError = "fail",
    otherwise: Any = NOT_GIVEN,
    **options: Unpack[NodeOptions],
) -> VoteNode:
    """Choose one of a list by majority, such as one of the answers of `Step(samples=5)`.

    What goes on is the first item with the value that most have; of values with as many votes, the
    one that reached that number first. The results have its fields under the node's id, and
    `agreement`, the share of the list that has the value: `when="vote.agreement < 0.6"`.

    Args:
        field: The field that is voted on, such as `label`; without it, the whole item.
        id: Name in templates and files.
        input_model: Type of the list; by default that of what comes in.
        on_error: `none` to go on without an output where it fails.
        otherwise: The output where `when` does not hold, in place of the input.
        **options: `name`, `yield_output`, `emoji`, `when` and `default`, as in `Step`.

    Raises:
        ChainError: The input is not a list, or has no such field.
    """
    return VoteNode(
        field, id=id, input_model=input_model, on_error=on_error, otherwise=otherwise, **options
    )

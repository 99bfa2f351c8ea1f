"""Conditions of nodes and branches, and what they give when they do not run or fail."""

from __future__ import annotations

import inspect
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from chainette.errors import ApplyError, ChainError
from chainette.pipeline.expression import Expression
from chainette.pipeline.nodes.naming import fields_of, has_extra, type_name
from chainette.text import with_article
from chainette.validation import is_valid_already, summary, type_adapter

OnError = Literal["fail", "none"]
NOT_GIVEN: Any = object()
"""The default of options for which `None` is a value."""
_TEMPLATE = re.compile(r"\{\{[-+]?\s*[A-Za-z_][^{}]*\}\}|\{%[-+]?\s*[a-z].*?%\}", re.DOTALL)
"""A value or a statement of a template, in a text that is not rendered."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """The value of a node that did not run, or failed.

    Attributes:
        value: The value.
    """

    value: Any


class Condition:
    """The condition under which a node or a branch runs.

    Args:
        when: A function of the item, or of the item and the names; or a template expression.
        where: Its name in messages, such as `step 'a', when`.

    Attributes:
        where: Its name in messages.
        function: The function, or `None`.
        expression: The expression, or `None`.
        takes_names: Whether the function takes the names, too.

    Raises:
        ChainError: It is something else, or not valid.
    """

    def __init__(self, when: Callable[..., Any] | str, where: str) -> None:
        self.where = where
        self.function: Callable[..., Any] | None = None
        self.expression: Expression | None = None
        self.takes_names: bool = False
        if isinstance(when, str):
            self.expression = Expression(when, where)
        elif callable(when) and not isinstance(when, type):
            self.function = when
            self.takes_names = takes_names(when, where)
        else:
            raise ChainError(
                f"{where} is {reprlib.repr(when)}; give a function of the item, or an expression "
                'such as "score > 3"'
            )

    @property
    def text(self) -> str:
        """The expression, or the name of the function."""
        if self.expression is not None:
            return self.expression.source
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that it may look at."""
        if self.expression is not None:
            return set(aliases) & self.expression.names
        return set(aliases) if self.takes_names else set()

    def called(self, item: Any, names: Mapping[str, Any]) -> Any:
        """What its function returns; of an asynchronous one, what is to be awaited."""
        assert self.function is not None
        return self.function(item, names) if self.takes_names else self.function(item)

    def truth(self, said: Any) -> bool:
        """What its function has said, which must be a truth value.

        Raises:
            ApplyError: It is something else.
        """
        if not is_bool(said):
            raise ApplyError(f"{self.where} returned {said!r}; it must return True or False")
        return bool(said)

    def check(
        self, model: Any, types: Mapping[str, Any], elsewhere: Mapping[str, str], source: str
    ) -> None:
        """Check the names of an expression.

        Args:
            model: Type of the item.
            types: Types of the visible values by name.
            elsewhere: Hints for names that cannot be seen.
            source: The one of these names whose value is the item.

        Raises:
            ChainError: A name or a field does not exist, or has two meanings.
        """
        if self.expression is not None:
            self.expression.check(
                dict(fields_of(model)),
                types,
                source=source,
                more_names=has_extra(model),
                elsewhere=elsewhere,
            )


def is_bool(value: Any) -> bool:
    """Whether a value is a truth value; that of NumPy is one, too."""
    return type(value).__name__ in ("bool", "bool_")


def takes_names(fn: Callable[..., Any], where: str) -> bool:
    """Whether a function takes the names beside the item.

    Raises:
        ChainError: It takes something else.
    """
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # of a builtin
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    only = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    has_any = bool(positional) or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(required) > 2 or only or not has_any:
        names = ", ".join(parameter.name for parameter in [*required, *only]) or "nothing"
        raise ChainError(f"{where}: the function takes {names}; it gets an item and the names")
    return len(required) == 2


def condition(when: Any, where: str) -> Condition | None:
    """The condition of an option; `None` without one."""
    return None if when is None else Condition(when, f"{where}, when")


def fallback(value: Any, model: Any, where: str) -> Fallback | None:
    """The fallback of an option; `None` without one.

    Args:
        value: The value, or `NOT_GIVEN`.
        model: The type that it must have; `None` is always allowed.
        where: Its name in messages.

    Raises:
        ChainError: It does not fit the type, or holds a template.
    """
    if value is NOT_GIVEN:
        return None
    for text in _texts(value):
        if found := _TEMPLATE.search(text):
            raise ChainError(
                f"{where} is a constant, the same for all items, and {found[0]!r} in it would stay "
                "as it is; leave the template out, or let a function that follows put the value in"
            )
    if value is None or is_valid_already(value, model):
        return Fallback(value)
    try:
        return Fallback(type_adapter(model).validate_python(value))
    except ValidationError as error:
        kind = with_article(type(value).__name__)
        wanted = with_article(type_name(model))
        raise ChainError(f"{where}: {kind} that is not {wanted}: {summary(error)}") from None


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, as far as it is made of models and collections."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        yield from _texts(dict(value))
    elif isinstance(value, Mapping):
        yield from _texts([*value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from _texts(inner)


def tolerance(on_error: Any, default: Any, model: Any, where: str) -> Fallback | None:
    """The value in the place of a failed output; `None` if the failure is not tolerated.

    Raises:
        ChainError: The options do not fit together.
    """
    if on_error not in ("fail", "none"):
        raise ChainError(
            f"{where}: on_error is {on_error!r}; give 'none' to go on without its output, or "
            "default=… for a value in its place"
        )
    if default is not NOT_GIVEN:
        return fallback(default, model, f"{where}, default")
    return Fallback(None) if on_error == "none" else None


def condition_fields(
    condition: Condition | None, tolerance: Fallback | None, skipped: Fallback | None = None
) -> dict[str, Any]:
    """The condition and the fallbacks of a node or a branch, as JSON values."""
    fields: dict[str, Any] = {"when": condition.text} if condition is not None else {}
    if skipped is not None:
        fields["otherwise"] = to_jsonable_python(skipped.value, fallback=repr)
    if tolerance is not None and tolerance.value is None:
        fields["on_error"] = "none"
    elif tolerance is not None:
        fields["default"] = to_jsonable_python(tolerance.value, fallback=repr)
    return fields

"""The keys by which a `reduce` groups rows."""

from __future__ import annotations

import reprlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import deepcopy
from datetime import date
from enum import Enum
from typing import Any
from uuid import UUID

from chainette.errors import ApplyError, ChainError
from chainette.pipeline.expression import Expression
from chainette.pipeline.nodes.conditions import takes_names
from chainette.pipeline.nodes.naming import fields_of, has_extra, values_of
from chainette.text import with_article

NO_KEY: Any = object()
"""In the place of a key that is not known yet."""
_KINDS = (str, int, date, UUID, Enum, type(None))


class Key:
    """The key of an item: what is the same for all items of a group.

    Args:
        by: What it is made of.
        where: Its name in messages, such as `reduce 'a', by`.

    Attributes:
        parts: Expressions and functions; none for one group of all rows.
        functions: The functions in it.
        is_single: Whether the key is one value, not a tuple.

    Raises:
        ChainError: It is something else, or not valid.
    """

    def __init__(self, by: Any, where: str) -> None:
        self._where = where
        self.is_single: bool = not isinstance(by, list | tuple)
        given = [by] if self.is_single else [*by]
        if not self.is_single and not given:
            raise ChainError(f"{where} is empty; for one group of all rows, leave it out")
        self.parts: list[Expression | Callable[..., Any]] = [
            self._part(part) for part in given if part is not None or not self.is_single
        ]
        self._takes_names = [
            not isinstance(part, Expression) and takes_names(part, where) for part in self.parts
        ]
        self._fields: frozenset[str] = frozenset()
        self._field: str | None = None
        self.functions: list[Callable[..., Any]] = [
            part for part in self.parts if not isinstance(part, Expression)
        ]

    def _part(self, part: Any) -> Expression | Callable[..., Any]:
        if isinstance(part, str):
            return Expression(part, self._where)
        if callable(part) and not isinstance(part, type):
            return part  # type: ignore[no-any-return]
        raise ChainError(
            f'{self._where} is {reprlib.repr(part)}; give a field such as "product", an '
            "expression, a function of the item, or a list of these"
        )

    @property
    def fields(self) -> list[str] | str | None:
        """What it is made of, as a JSON value."""
        texts = [
            part.source
            if isinstance(part, Expression)
            else str(getattr(part, "__qualname__", type(part).__qualname__))
            for part in self.parts
        ]
        return (texts[0] if texts else None) if self.is_single else texts

    @property
    def text(self) -> str:
        """What it is made of, for people."""
        fields = self.fields
        if fields is None:
            return "all rows"
        return fields if isinstance(fields, str) else ", ".join(fields)

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that it may look at."""
        known = set(aliases)
        if not known or any(self._takes_names):
            return known
        names = (part.names for part in self.parts if isinstance(part, Expression))
        return known.intersection(*[set().union(*names)])

    def check(
        self, model: Any, types: Mapping[str, Any], elsewhere: Mapping[str, str], source: str
    ) -> None:
        """Check the names of its expressions; the arguments are as in `Condition.check`.

        Raises:
            ChainError: A name or a field does not exist or has two meanings, or holds fractions.
        """
        own = dict(fields_of(model))
        for part in self.parts:
            if not isinstance(part, Expression):
                continue
            part.check(own, types, source=source, more_names=has_extra(model), elsewhere=elsewhere)
            if own.get(part.source) is float:
                raise ChainError(f"{self._where}: {part.source!r} is a float; {_ADVICE}")
        self._fields = frozenset(own.keys() - types.keys())
        first = self.parts[0] if self.parts else None
        if self.is_single and isinstance(first, Expression) and first.source in self._fields:
            self._field = first.source

    def plain(self, value: Any) -> Any:
        """The key of an item where it is one of its fields; `NO_KEY` where it takes more."""
        field = self._field
        return NO_KEY if field is None else checked(getattr(value, field), self._where)

    async def of(self, value: Any, names: Mapping[str, Any], view: Callable[[], Any]) -> Any:
        """The key of an item.

        Args:
            value: The item.
            names: The values that expressions see, by name.
            view: Makes the names that a function gets.

        Raises:
            ApplyError: It cannot be made, or cannot be a key.
            ChainError: An expression fails on these values.
        """
        found: list[Any] = []
        for part, with_names in zip(self.parts, self._takes_names, strict=True):
            if not isinstance(part, Expression):
                arguments = (_own(value), view()) if with_names else (_own(value),)
                found.append(checked(await self._called(part, arguments), self._where))
            elif part.source in self._fields:
                found.append(checked(getattr(value, part.source), self._where))
            else:
                values = {**values_of(value), **names}
                found.append(checked(part.value(values), self._where))
        return (found[0] if found else None) if self.is_single else tuple(found)

    async def _called(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        try:
            output = function(*arguments)
            return await output if isinstance(output, Awaitable) else output
        except Exception as error:
            message = f"{self._where} failed: {type(error).__name__}: {error}"
            raise ApplyError(message) from error


_ADVICE = (
    "a group needs keys that are the same or not: round it, or make a text of it, "
    "in an expression or a function"
)


def checked(key: Any, where: str) -> Any:
    """A key, or a part of one.

    Raises:
        ApplyError: It cannot be a key.
    """
    if type(key) in _KINDS or isinstance(key, Enum) or type(key) is bool:
        return key
    if type(key) is tuple:
        return tuple(checked(part, where) for part in key)
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, int):
        return int(key)
    if isinstance(key, float):
        raise ApplyError(f"{where}: the key is {key!r}, a float; {_ADVICE}")
    kind = with_article(type(key).__name__)
    raise ApplyError(
        f"{where}: the key is {kind}; a key is a text, a whole number, true or false, None, an "
        "Enum, a date, a UUID, or a tuple of these"
    )


def _own(value: Any) -> Any:
    """A copy that a function can change."""
    try:
        return deepcopy(value)
    except Exception:  # of an object that cannot be copied
        return value

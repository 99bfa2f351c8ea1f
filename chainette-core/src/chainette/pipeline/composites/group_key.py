"""The keys by which a `reduce` groups rows."""

from __future__ import annotations

import reprlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date
from enum import Enum
from functools import cached_property
from typing import Any
from uuid import UUID

from chainette.errors import ApplyError, ChainError
from chainette.pipeline.expression import UNKNOWN
from chainette.pipeline.nodes.conditions import Condition
from chainette.pipeline.nodes.naming import fields_of
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
        self.parts: list[Condition] = [
            self._part(part) for part in given if part is not None or not self.is_single
        ]
        self._fields: frozenset[str] = frozenset()
        self._field: str | None = None

    def _part(self, part: Any) -> Condition:
        if isinstance(part, str) or (callable(part) and not isinstance(part, type)):
            return Condition(part, self._where)
        raise ChainError(
            f'{self._where} is {reprlib.repr(part)}; give a field such as "product", an '
            "expression, a function of the item, or a list of these"
        )

    @cached_property
    def functions(self) -> list[Callable[..., Any]]:
        """The functions in it."""
        return [part.function for part in self.parts if part.function is not None]

    @property
    def fields(self) -> list[str] | str | None:
        """What it is made of, as a JSON value."""
        texts = [part.text for part in self.parts]
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
        return {alias for part in self.parts for alias in part.needs(known)}

    def check(
        self, model: Any, types: Mapping[str, Any], elsewhere: Mapping[str, str], source: str
    ) -> None:
        """Check the names of its expressions; the arguments are as in `Condition.check`.

        Raises:
            ChainError: A name or a field does not exist or has two meanings, or holds fractions.
        """
        own = dict(fields_of(model))
        for part in self.parts:
            part.check(model, types, elsewhere, source)
            if part.expression is not None and own.get(part.text) is float:
                raise ChainError(f"{self._where}: {part.text!r} is a float; {_ADVICE}")
        self._fields = frozenset(own.keys() - types.keys())
        first = self.parts[0] if self.parts else None
        if self.is_single and first is not None and self._is_field(first):
            self._field = first.text

    def _is_field(self, part: Condition) -> bool:
        """Whether a part is one of the item's fields, and nothing has to be evaluated."""
        return part.expression is not None and part.text in self._fields

    def plain(self, value: Any, names: Mapping[str, Any]) -> Any:
        """The key of an item where it is a field or a name; `NO_KEY` where it takes more."""
        if (field := self._field) is not None:
            return checked(getattr(value, field), self._where)
        expression = self.parts[0].expression if self.is_single and self.parts else None
        found = UNKNOWN if expression is None else expression.at_path(value, names)
        return NO_KEY if found is UNKNOWN else checked(found, self._where)

    async def of(self, value: Any, ask: Callable[[Condition], Awaitable[Any]]) -> Any:
        """The key of an item.

        Args:
            value: The item.
            ask: Evaluates an expression, or calls a function.

        Raises:
            ApplyError: It cannot be made, or cannot be a key.
            ChainError: An expression fails on these values.
        """
        found: list[Any] = []
        for part in self.parts:
            is_field = self._is_field(part)
            found.append(
                checked(getattr(value, part.text) if is_field else await ask(part), self._where)
            )
        return (found[0] if found else None) if self.is_single else tuple(found)


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

"""Values that are the same in every part."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import Any
from uuid import UUID

from pydantic import BaseModel

_COMPARED = frozenset({str, int, bool, NoneType})
_SHOWN = frozenset({float, Decimal, date, UUID})
"""Types of which equal values can differ, as 0.0 and -0.0 do, but not their texts."""


def are_same(first: Any, second: Any) -> bool:
    """Whether two values have the same types and contents, whatever their classes call equal.

    Only what is certain and quick to see counts: `False` says nothing.

    Args:
        first: A value.
        second: Another one.
    """
    kind = type(first)
    if kind is not type(second):
        return False
    if kind in _COMPARED:
        return bool(first == second)
    if kind in _SHOWN:
        return repr(first) == repr(second)
    if kind is list or kind is tuple:
        return len(first) == len(second) and all(map(are_same, first, second))
    if kind is dict:
        return _are_same_dicts(first, second)
    if issubclass(kind, Enum):
        return first is second
    return issubclass(kind, BaseModel) and _are_same_models(first, second)


def _are_same_dicts(first: dict[Any, Any], second: dict[Any, Any]) -> bool:
    return (
        all(map(are_same, first, second))  # their keys, in order
        and len(first) == len(second)
        and all(map(are_same, first.values(), second.values()))
    )


def _are_same_models(first: BaseModel, second: BaseModel) -> bool:
    """Whether two instances of a model without extra fields and private attributes are the same."""
    return (
        first.__pydantic_fields_set__ == second.__pydantic_fields_set__
        and first.__pydantic_extra__ is second.__pydantic_extra__ is None
        and first.__pydantic_private__ is second.__pydantic_private__ is None
        and _are_same_dicts(first.__dict__, second.__dict__)
    )

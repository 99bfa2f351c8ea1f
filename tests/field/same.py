"""Whether two values are the same in every part, whatever their classes call equal."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from pydantic import BaseModel


def same(one: Any, other: Any) -> bool:
    """Compare types, fields, extra fields and private attributes, NaN with NaN included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, BaseModel):
        return all(
            same(getattr(one, part), getattr(other, part))
            for part in ("__dict__", "__pydantic_extra__", "__pydantic_private__")
        )
    if dataclasses.is_dataclass(one):
        names = [field.name for field in dataclasses.fields(one)]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, set | frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    if isinstance(one, list | tuple) or hasattr(one, "popleft"):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one).__name__ == "lock":
        return True
    if isinstance(one, Enum):
        return one is other
    return repr(one) == repr(other)

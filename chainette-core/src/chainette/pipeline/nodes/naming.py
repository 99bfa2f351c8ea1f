"""Names of nodes and types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from chainette.errors import ChainError

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""An object's address in memory, as in the text of a validator."""
RESERVED = frozenset({"chain_input", "row_id", "item", "error", "dropped"})
"""Names that templates or output files use themselves."""


def check_name(name: str, what: str) -> None:
    """Check that a name can be used in templates and files.

    Raises:
        ChainError: It cannot.
    """
    if not _ID.fullmatch(name) or name in RESERVED:
        raise ChainError(
            f"{what} {name!r}: use letters, digits and underscores, "
            f"but not {', '.join(sorted(RESERVED))}"
        )


def fields_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Names and types of a model's fields; empty for other types."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            yield name, field.annotation


def type_name(model: Any) -> str:
    """The name of a type, for people; the same in every process."""
    text = model.__name__ if isinstance(model, type) else str(model).removeprefix("typing.")
    return _ADDRESS.sub("", text)

"""What inputs are, where they are not rows, and the advice how to give rows."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterable, Coroutine, Iterable, Mapping
from inspect import isroutine
from io import IOBase
from numbers import Number
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from chainette.errors import InputError
from chainette.run.inputs.formats.tables import is_frame
from chainette.run.inputs.paths import FORMATS


def kind_of(value: Any) -> str:
    """The kind of something that is not a row, for messages."""
    if value is None or value is ...:
        return str(value)
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    if isinstance(value, IOBase):
        return "an open file"
    return "a function" if isroutine(value) else type(value).__name__


def check_kind(inputs: Any, model: Any) -> None:
    """Refuse what is not rows, and say how to give them.

    Raises:
        InputError: It is something else.
    """
    if isinstance(inputs, Mapping):
        raise InputError(_about_mapping(inputs))
    if isinstance(inputs, Coroutine):
        inputs.close()
        raise InputError("expected rows, not a coroutine: await it first")
    if _is_one(inputs):
        name = type(inputs).__name__
        raise InputError(f"expected rows, not one ({name}): give [row], or run_one(row)")
    is_iterable = isinstance(inputs, Iterable | AsyncIterable) and not isinstance(inputs, type)
    is_text = isinstance(inputs, bytes | bytearray | memoryview | IOBase)
    is_scalar = getattr(inputs, "ndim", 1) == 0
    if is_frame(inputs) or (is_iterable and not is_text and not is_scalar):
        return
    raise InputError(f"expected rows, not {kind_of(inputs)}: {_next_step(inputs, model)}")


def _is_one(inputs: Any) -> bool:
    """Whether inputs are one row: a model, a dataclass or a named tuple."""
    if isinstance(inputs, type) or is_frame(inputs):
        return False
    is_named_tuple = isinstance(inputs, tuple) and hasattr(inputs, "_asdict")
    return isinstance(inputs, BaseModel) or dataclasses.is_dataclass(inputs) or is_named_tuple


def _next_step(inputs: Any, model: Any) -> str:
    """The way to give rows, in place of something else."""
    if isinstance(inputs, IOBase):
        return "give its path"
    if isinstance(inputs, type) and (
        issubclass(inputs, BaseModel) or dataclasses.is_dataclass(inputs)
    ):
        return f"give instances of it in a list, [{inputs.__name__}(…)]"
    if kind_of(inputs) == "a function":
        return "call it, and give what it returns"
    field = next(iter(getattr(model, "model_fields", ())), "field")
    return (
        f"give a list of dicts or models, such as [{{{field!r}: value}}], a data frame, or the "
        "path of a file"
    )


def _about_mapping(inputs: Mapping[Any, Any]) -> str:
    """The message about a dict in place of rows."""
    values = list(inputs.values())
    if values and all(
        hasattr(each, "_fingerprint") or hasattr(each, "n_shards") for each in values
    ):
        return f"expected rows, not splits: give one of them: {', '.join(map(str, inputs))}"
    if values and all(isinstance(value, Mapping | BaseModel) for value in values):
        return (
            f"expected rows, not a dict of them ({type(inputs).__name__}): give "
            "list(rows.values()); of a data frame, give the frame itself"
        )
    is_columns = all(hasattr(value, "__len__") and not isinstance(value, str) for value in values)
    if values and is_columns:
        return (
            "expected rows, not a dict of columns: give [row], or run_one(row), for one row; for "
            "columns, [dict(zip(columns, cells)) for cells in zip(*columns.values())]"
        )
    return f"expected rows, not one ({type(inputs).__name__}): give [row], or run_one(row)"


def conversion(value: Any, field: str) -> str:
    """The advice how to make rows of values of a kind; empty where none is known."""
    if isinstance(value, Path) or (isinstance(value, str) and value.endswith(FORMATS)):
        return "; of several files, give a pattern, such as 'data/*.jsonl'"
    if hasattr(value, "iloc") and hasattr(value, "columns"):
        return "; of several data frames, give pd.concat(frames)"
    if isinstance(value, tuple) and len(value) == 2 and hasattr(value[1], "iloc"):
        return "; give the data frame itself"
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return "; give the inner list itself"
    form = _as_dict(value, field)
    return form and f", for example [{form} for value in …]"


def _as_dict(value: Any, field: str) -> str:
    """The expression that makes a dict of a value; empty where none is known."""
    if isinstance(value, str) and value.lstrip()[:1] == "{":
        return "json.loads(value)"
    if isinstance(value, str | bytes | Number):
        return f"{{{field!r}: value}}"
    if hasattr(value, "_asdict"):
        return "value._asdict()"
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):  # sqlite3.Row, a Series
        return "dict(value)"
    if getattr(getattr(value, "dtype", None), "names", None):  # of a structured array
        return "dict(zip(value.dtype.names, value.tolist()))"
    is_cells = isinstance(value, list | tuple) or hasattr(value, "tolist")
    return "dict(zip(names, value))" if is_cells else ""

"""The errors of rows for what functions of a chain have raised."""

from __future__ import annotations

import traceback
from inspect import unwrap
from pathlib import Path
from typing import Any

from chainette.errors import ApplyError, ChainError
from chainette.pipeline.identity.origins import is_own_file

_OURS = str(Path(__file__).parents[2])


def failure(where: str, error: Exception, function: Any) -> ApplyError:
    """The error of a row whose function has failed; it says where in the user's own code.

    Args:
        where: The function, for messages, such as `apply 'a'`.
        error: What it has raised.
        function: The function.
    """
    inner = _innermost(error)
    if isinstance(inner, ChainError) and str(inner).startswith(f"{where}: "):
        return ApplyError(str(inner))  # an expression of ours says itself what it is
    what = f"{type(inner).__name__}: {_text(inner)}"
    return ApplyError(f"{where} failed{_place(inner, function)}: {what}")


def _innermost(error: Any) -> Any:
    """An error, or the only one in a group, such as that of a task."""
    parts: Any = getattr(error, "exceptions", ())
    return _innermost(parts[0]) if len(parts) == 1 else error


def _place(error: Exception, function: Any) -> str:
    """The last line of the user's own code that an error has passed; empty if there is none."""
    file = getattr(getattr(unwrap(function), "__code__", None), "co_filename", None)
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if name == file or _is_own(name):
            place = f" at {Path(name).name}:{line}"
    return place


def _is_own(name: str) -> bool:
    """Whether code belongs to the user; what is made on the fly has no line that can be read."""
    return not name.startswith(("<", _OURS)) and is_own_file(name)


def _text(error: Exception) -> str:
    """The message of an error; that of a `KeyError` is the key, or a sentence in quotes."""
    is_sentence = isinstance(error, KeyError) and len(error.args) == 1 and " " in str(error.args[0])
    return str(error.args[0] if is_sentence else error)

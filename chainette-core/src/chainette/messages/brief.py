"""Short texts of values of any size."""

from __future__ import annotations

import builtins
from functools import cache
from reprlib import Repr
from typing import Any

from chainette.text import printable


def brief(value: Any, most: int = 80) -> str:
    """The `repr` of a value, of which no more is made than is shown.

    Args:
        value: The value.
        most: Maximum number of characters.
    """
    return cut(_short_repr().repr(value), most)


def brief_error(error: Exception, most: int = 120) -> str:
    """The class of an error and the beginning of its message."""
    return cut(f"{kind_of_error(error)}({printable(str(error)[: 2 * most])!r})", most)


def kind_of_error(error: Exception) -> str:
    """The class of an error, of one that was read from a file the class that it had."""
    return str(getattr(error, "type", None) or type(error).__name__)


def brief_call(name: str, most: int = 280, /, **fields: Any) -> str:
    """The `repr` of an object by its fields; those that are `None` are left out.

    Args:
        name: Name of the class.
        most: Maximum number of characters, which its fields share.
        **fields: Their values; an error is shown by its message.
    """
    shown = {key: value for key, value in fields.items() if value is not None}
    each = max((most - len(name) - 2) // max(len(shown), 1) - 2, 12)
    texts = []
    for key, value in shown.items():
        room = max(each - len(key) - 1, 8)
        is_error = isinstance(value, Exception)
        texts.append(f"{key}={(brief_error if is_error else brief)(value, room)}")
    return cut(f"{name}({', '.join(texts)})", most)


def cut(text: str, most: int) -> str:
    """A text of at most so many characters; what is missing is an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


class _ShortRepr(Repr):
    """Short `repr`s, of Pydantic's models by their fields."""

    def repr_instance(self, x: Any, level: int) -> str:
        """The repr of an object that is no container of Python's."""
        names = getattr(type(x), "model_fields", None)
        if isinstance(names, dict) and hasattr(x, "model_fields_set"):
            first = [*names][: self.maxdict]
            texts = [f"{name}={self._field(x, name, level)}" for name in first]
            texts += ["…"] if len(names) > len(first) else []
            return f"{type(x).__name__}({', '.join(texts)})"
        if isinstance(x, bytes | bytearray):
            return builtins.repr(bytes(x[: self.maxstring]))
        if isinstance(x, str):  # a subclass
            return builtins.repr(str(x[: self.maxstring]))
        if isinstance(x, list | tuple | dict | set | frozenset):
            return f"<{type(x).__name__} of {len(x):,}>"
        return super().repr_instance(x, level)

    def _field(self, x: Any, name: str, level: int) -> str:
        return self.repr1(getattr(x, name, None), level - 1) if level > 0 else "…"


@cache
def _short_repr() -> _ShortRepr:
    short = _ShortRepr()
    short.maxstring = short.maxother = short.maxlong = 120
    short.maxlevel = 3
    return short

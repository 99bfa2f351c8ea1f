"""The dependencies of code: its text, and the functions, classes and values that it uses."""

from __future__ import annotations

import builtins
import dataclasses
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from uuid import UUID

from pydantic import BaseModel, SecretBytes, SecretStr

from chainette.pipeline.identity import names, origins
from chainette.pipeline.nodes.naming import type_name

_EXACT = (date, time, timedelta, tzinfo, Decimal, Fraction, UUID, PurePath, range, slice)
_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray)
_SECRET = re.compile(r"(^|_)(api_?key|secret|password|passwd|access_token|auth_token)(_|$)", re.I)
"""Names of values that are not looked at, not even for a digest."""
_CONSTANT = (*_PLAIN, *_EXACT, re.Pattern, tuple, frozenset, Enum)


class Uses:
    """The dependencies of functions, classes and values.

    Attributes:
        parts: The text of everything that was found, by words for people such as `global RATE`.
    """

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self._home = ""
        self._seen: set[int] = set()
        self._inside: set[int] = set()
        self._texts: dict[int, tuple[Any, str]] = {}

    def text(self, value: Any) -> str:
        """A value as a text that is the same in every process; what it uses becomes a part."""
        if id(value) in self._texts:
            return self._texts[id(value)][1]
        if id(value) in self._inside:
            return "…"
        self._inside.add(id(value))
        try:
            text = self._text(value)
        except Exception:  # of a class of the user's
            text = f"{type(value).__module__}.{type(value).__qualname__}"
        finally:
            self._inside.discard(id(value))
        if type(value) not in _PLAIN:
            self._texts[id(value)] = value, text
        return text

    def function(self, fn: FunctionType) -> None:
        """Find what a function uses, but not its own text."""
        if id(fn.__code__) in self._seen and not fn.__closure__:
            return
        self._seen.add(id(fn.__code__))
        self._home = self._home or fn.__module__
        state = names.stored(fn.__code__)
        defaults = (*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values())
        if defaults:
            self._put("defaults of", "", fn.__name__, self.text(defaults))
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            with suppress(ValueError):  # it is not set yet
                if name not in state:
                    self._variable(fn, name, cell.cell_contents, is_global=False)
        for path in names.loaded(fn.__code__):
            if path[0] in fn.__globals__ and path[0] not in state:
                with suppress(Exception):  # of a module that imports what is asked for
                    self._global(fn, path)
        for level, module in names.imported(fn.__code__):
            self._import(fn, level, module)

    def source(self, fn: FunctionType) -> str:
        """A function's own text."""
        return names.source_of(fn) or self._code(fn.__code__)

    def classes(self, cls: type, skip: Iterable[str] = ()) -> str:
        """The text of the methods and values of one of the user's classes and its bases.

        Args:
            cls: The class.
            skip: Names of what does not count.
        """
        texts = []
        for base in cls.__mro__:
            for name, value in [*vars(base).items()] if origins.is_own(base.__module__) else ():
                if name in skip:
                    continue
                for fn in _functions(value):
                    if fn.__code__.co_filename.startswith("<string"):  # of `dataclass`
                        continue
                    texts.append(f"{name}: {self.source(fn)}")
                    self.function(fn)
                if isinstance(value, _CONSTANT) and not name.startswith("__"):
                    texts.append(f"{name} = {self.text(value)}")
        return "\n".join(sorted(texts))

    def _text(self, value: Any) -> str:
        if type(value) in _PLAIN:
            return repr(value)
        if isinstance(value, FunctionType | MethodType | BuiltinFunctionType | type | ModuleType):
            return self._code_object(value)
        if isinstance(value, partial):
            return self._all("partial", (value.func, value.args, value.keywords))
        if callable(getattr(value, "__wrapped__", None)):  # of `functools.cache`
            return self.text(value.__wrapped__)
        if isinstance(value, SecretStr | SecretBytes):
            return "secret"
        if isinstance(value, Enum):
            return f"{self._kind(value)}.{value.name}={self.text(value.value)}"
        if isinstance(value, re.Pattern):
            return f"pattern {value.pattern!r} {value.flags}"
        if isinstance(value, _EXACT):
            return f"{self._kind(value)} {value!r}"
        if isinstance(value, CodeType):
            return self._code(value)
        return self._collection(value)

    def _collection(self, value: Any) -> str:
        if isinstance(value, Mapping):
            pairs = (f"{self.text(key)}: {self.text(item)}" for key, item in value.items())
            return f"{self._kind(value)}{{{', '.join(sorted(pairs))}}}"
        if isinstance(value, Set):
            return f"{self._kind(value)}{{{', '.join(sorted(map(self.text, value)))}}}"
        if isinstance(value, list | tuple | deque):
            return self._all(self._kind(value), value)
        if type(value).__module__ == "numpy" and hasattr(value, "tobytes"):
            return f"{value.dtype} {value.shape} {value.tobytes().hex()}"
        is_data = isinstance(value, BaseModel) or dataclasses.is_dataclass(value)
        if is_data or origins.is_own(type(value).__module__):
            return f"{self._kind(value)} {self.text(dict(vars(value)))}"
        return self._kind(value)

    def _all(self, kind: str, values: Iterable[Any]) -> str:
        return f"{kind}({', '.join(map(self.text, values))})"

    def _kind(self, value: Any) -> str:
        """The name of a value's class, which becomes a part."""
        return self._class(type(value))

    def _code_object(self, value: Any) -> str:
        """The name of a function, class or module, which becomes a part."""
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, MethodType):
            return self._all("method", (value.__func__, value.__self__))
        if isinstance(value, BuiltinFunctionType) or not (
            origins.is_own_file(value.__code__.co_filename) and origins.is_own(value.__module__)
        ):
            return self._package(value.__module__ or "builtins", value.__qualname__)
        if id(value.__code__) not in self._seen:
            self._put("helper", value.__module__, value.__name__, self.source(value))
        self.function(value)
        return f"{value.__module__}.{value.__qualname__}"

    def _class(self, cls: type) -> str:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if not origins.is_own(cls.__module__):
            return self._package(cls.__module__, cls.__qualname__)
        if id(cls) not in self._seen:
            self._seen.add(id(cls))
            fields = getattr(cls, "__annotations__", {})
            text = f"{ {key: type_name(it) for key, it in fields.items()} }\n{self.classes(cls)}"
            if issubclass(cls, Enum):
                text += repr({key: self.text(it.value) for key, it in cls.__members__.items()})
            if issubclass(cls, BaseModel):
                text += self.schema(cls.__pydantic_core_schema__)
            self._put("class", cls.__module__, cls.__name__, text)
        return name

    def schema(self, schema: Any) -> str:
        """The text of a schema of Pydantic's core; its functions become parts."""
        if isinstance(schema, dict):
            pairs = sorted((str(key), it) for key, it in schema.items() if key not in _UNSTABLE)
            return f"{{{', '.join(f'{key}: {self.schema(it)}' for key, it in pairs)}}}"
        if isinstance(schema, list | tuple):
            return f"[{', '.join(map(self.schema, schema))}]"
        return re.sub(r":\d{6,}", "", schema) if isinstance(schema, str) else self.text(schema)

    def _module(self, module: ModuleType) -> str:
        path = origins.file_of(module)
        if path is None:
            return self._package(module.__name__, "")
        self.parts[f"module {module.__name__}"] = names.normal(path.read_text(encoding="utf-8"))
        return module.__name__

    def _package(self, module: str, name: str) -> str:
        """A name of what is installed; the version of its package becomes a part."""
        version = None if module == "__main__" else origins.version(module)
        if version and not origins.is_own(module):
            self.parts[f"package {module.partition('.')[0]}"] = version
        return f"{module}.{name}"

    def _put(self, kind: str, module: str, name: str, text: str) -> None:
        here = "" if module in ("", self._home) else f"{module}."
        label = f"{kind} {here}{name}"
        texts = {text, *self.parts.get(label, text).split("\0")}  # of several of that name
        self.parts[label] = "\0".join(sorted(texts))

    def _global(self, fn: FunctionType, path: tuple[str, ...]) -> None:
        value = fn.__globals__[path[0]]
        name, module = path[0], fn.__module__
        for attribute in path[1:]:
            if not isinstance(value, ModuleType) or origins.file_of(value) is None:
                break
            module, name = value.__name__, attribute
            value = getattr(value, attribute, None)
        if value is not getattr(builtins, name, ...):
            self._variable(fn, name, value, is_global=True, module=module)

    def _variable(
        self, fn: FunctionType, name: str, value: Any, *, is_global: bool, module: str = ""
    ) -> None:
        """Find what a variable depends on that a function reads."""
        if _SECRET.search(name) and isinstance(value, str | bytes):
            return
        kind = "global" if is_global else "closure"
        is_value = not _is_code(type(value)) and not hasattr(type(value), "__wrapped__")
        if is_value and not issubclass(type(value), _CONSTANT):
            written = names.as_written(fn, name, module, is_global=is_global)
            if written is not None:  # what it holds by now is the state of a run
                self._put(kind, module, name, written)
                return
        text = self.text(value)
        if is_value or not _has_part(value):
            self._put(kind, module, name, text)

    def _import(self, fn: FunctionType, level: int, name: str) -> None:
        relative = "." * level + name
        path = origins.file_of(relative, fn.__globals__.get("__package__"))
        if path is not None:
            with suppress(OSError, UnicodeDecodeError):
                self.parts[f"module {name}"] = names.normal(path.read_text(encoding="utf-8"))

    def _code(self, code: CodeType) -> str:
        """Compiled code, where there is no source."""
        return f"{code.co_code.hex()} {code.co_names} {self._all('', code.co_consts)}"


_UNSTABLE = frozenset({"metadata", "cls"})
"""Keys of core schemas: hooks of Pydantic's own, and classes, which are looked at apart."""


def _is_code(cls: type) -> bool:
    return issubclass(cls, (FunctionType, MethodType, BuiltinFunctionType, type, ModuleType))


def _has_part(value: Any) -> bool:
    """Whether a function or a class is a part of its own, being the user's."""
    return isinstance(value, FunctionType | type) and origins.is_own(value.__module__)


def _functions(value: Any) -> list[FunctionType]:
    """The functions of an attribute of a class."""
    found: list[Callable[..., Any] | None] = [
        value,
        getattr(value, "__func__", None),
        *(getattr(value, name, None) for name in ("fget", "fset", "fdel", "func", "__wrapped__")),
    ]
    return [it for it in found if isinstance(it, FunctionType)]

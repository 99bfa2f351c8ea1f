"""Jinja2 for prompts: sandboxed, bounded in time and memory, with JSON for whole values."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, cast

from jinja2 import StrictUndefined, Undefined, nodes, pass_environment
from jinja2.exceptions import SecurityError, TemplateRuntimeError
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from pydantic import BaseModel
from pydantic_core import to_json

from chainette.pipeline.bounds import MAX_BITS, MAX_LOOPS, MAX_PROMPT

_PLAIN = frozenset({str, int, float, bool, type(None)})
_CONTAINERS = (list, tuple, dict, set, frozenset)
_PADDING = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})
_DICT_METHODS = frozenset(name for name in dir(dict) if not name.startswith("_"))
_WIDTHS = re.compile(r"\d{7,}|\*|\{[^}]*\{")
"""Widths of formats that are too large, or come from the arguments."""


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The environment of all prompts."""

    intercepted_binops: frozenset[str] = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            finalize=as_text,
            keep_trailing_newline=True,
        )
        del self.globals["lipsum"]  # random texts, as many as it is asked for
        self.filters.update(tojson=_tojson, join=_join)
        self.filters.update(_counted=_counted, _concatenated=_concatenated)
        for name in ("format", "center", "indent", "replace"):
            self.filters[name] = _bounded(name, self.filters[name])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator, unless its result would be too large."""
        if operator == "%" and isinstance(left, str):
            _check_format(left)
        elif operator == "+" and isinstance(left, str) and isinstance(right, str):
            check_size(len(left) + len(right))
        elif operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(times, int) and isinstance(one, str | bytes | list | tuple):
                    check_size(len(one) * times)
        if operator in ("*", "**") and isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length()
            most = bits * right if operator == "**" else bits + right.bit_length()
            if most > MAX_BITS:
                raise SecurityError(f"it makes a number of more than {MAX_BITS:,} bits")
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Call a method or function, unless its result would be too large."""
        text = getattr(__obj, "__self__", None)
        if isinstance(text, str):
            _check_call(__obj.__name__, text, args)
        elif getattr(__obj, "__wrapped__", None) is not None and __obj.__name__ == "format":
            _check_call("format", __obj.__wrapped__.__self__, args)
        return super().call(__context, __obj, *args, **kwargs)


def bounded(tree: nodes.Template) -> nodes.Template:
    """A template whose loops are counted and whose texts do not grow without a limit."""
    return cast(nodes.Template, _Bounding().visit(tree))


class _Bounding(NodeTransformer):
    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802
        """Leave the name of a method that is called as it is."""
        if isinstance(node.node, nodes.Getattr):
            node.node.node = self.visit(node.node.node)
            node.args = [self.visit(it) for it in node.args]
            node.kwargs = [self.visit(it) for it in node.kwargs]
            return node
        return self.generic_visit(node)

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Node:  # noqa: N802
        """Take the key `items` of a dict in `row.items`, not its method."""
        self.generic_visit(node)
        if node.attr not in _DICT_METHODS or node.ctx != "load":
            return node
        key = nodes.Const(node.attr, lineno=node.lineno)
        return nodes.Getitem(node.node, key, "load", lineno=node.lineno).set_environment(
            cast(Any, node.environment)
        )

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Count the rounds of a loop."""
        self.generic_visit(node)
        node.iter = _filter(node.iter, "_counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Check the size of `a ~ b`."""
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "_concatenated")


def _filter(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno).set_environment(
        cast(Any, node.environment)
    )  # type: ignore[return-value]


class _Left(threading.local):
    """The bounds of the prompt that the thread renders."""

    characters: int = MAX_PROMPT
    rounds: int = MAX_LOOPS


_left = _Left()


class Bounds:
    """The bounds within which one prompt is rendered.

    Args:
        max_chars: Maximum characters of the prompt, and of any text that is made on the way.
    """

    __slots__ = ("_before", "_max_chars")

    def __init__(self, max_chars: int) -> None:
        self._max_chars = max_chars

    def __enter__(self) -> None:
        self._before = _left.characters, _left.rounds
        _left.characters, _left.rounds = self._max_chars, MAX_LOOPS

    def __exit__(self, *_: object) -> None:
        _left.characters, _left.rounds = self._before


def joined(chunks: Iterable[str]) -> str:
    """The prompt, unless it is too long."""
    parts: list[str] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        check_size(size)
        parts.append(chunk)
    return "".join(parts)


def _counted(values: Any) -> Any:
    """The values of a loop, its rounds subtracted from those that are left."""
    try:
        count = len(values)
    except TypeError:
        return _one_by_one(values)
    _spend(count)
    return values


def _one_by_one(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _spend(1)
        yield value


def _spend(count: int) -> None:
    left = _left.rounds - count
    if left < 0:
        raise SecurityError(f"its loops take more than {MAX_LOOPS:,} rounds")
    _left.rounds = left


def _concatenated(values: list[Any]) -> str:
    return joined(str(as_text(value)) for value in values)


@pass_environment
def _join(
    environment: PromptEnvironment, values: Iterable[Any], d: str = "", attribute: Any = None
) -> str:
    """The filter `join`, which writes values as prompts do."""
    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    parts = [str(as_text(value)) for value in values]
    check_size(sum(map(len, parts)) + len(d) * len(parts))
    return d.join(parts)


def check_size(size: int) -> None:
    """Refuse a text that is too long for the prompt that is rendered.

    Raises:
        SecurityError: It is.
    """
    if size > (most := _left.characters):
        raise SecurityError(
            f"it makes a text of more than {most:,} characters "
            f"(max_prompt_chars={most}): shorten it, or raise the limit"
        )


def _check_format(text: str) -> None:
    if _WIDTHS.search(text):
        raise SecurityError("a width in a format is too large, or comes from a value")


def _check_call(name: str, text: str, args: tuple[Any, ...]) -> None:
    """Check a call of a text's method."""
    if name in _PADDING:
        tabs = text.count("\t") if name == "expandtabs" else 1
        check_size(max((arg for arg in args if isinstance(arg, int)), default=0) * tabs)
    elif name in ("format", "format_map"):
        _check_format(text)
    elif name == "replace" and len(args) > 1 and isinstance(args[1], str):
        check_size(len(text) + (text.count(args[0]) if args[0] else len(text) + 1) * len(args[1]))


def _bounded(name: str, function: Any) -> Any:
    """A filter of Jinja's, unless its result would be too large."""
    first = next(iter(function.__code__.co_varnames), "")
    skipped = 1 if first in ("eval_ctx", "environment") else 0

    def checked(*args: Any, **kwargs: Any) -> Any:
        text, *rest = args[skipped:]
        sizes = [it for it in (*rest, *kwargs.values()) if isinstance(it, int)]
        if name == "indent":
            check_size(max(sizes, default=0) * (str(text).count("\n") + 1))
        else:
            _check_call(name, str(text), tuple(rest if name != "center" else sizes))
        return function(*args, **kwargs)

    checked.__dict__.update(vars(function))
    return checked


def as_text(value: Any) -> Any:
    """A value as it is written into a prompt: an Enum as its value, models and the like as JSON."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if isinstance(value, Enum):
        return as_text(value.value)
    if isinstance(value, _CONTAINERS):
        return _in_order(value) if _is_plain(value) else _as_json(value)
    if isinstance(value, bytes | bytearray):
        return _decoded(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _as_json(value)
    _check_text(value)
    return value


def _in_order(value: Any) -> Any:
    """A set in an order that is the same in every process; another container as it is."""
    if isinstance(value, set | frozenset) and value:
        try:
            return "{" + ", ".join(map(repr, sorted(value))) + "}"
        except TypeError:  # of several types
            return "{" + ", ".join(sorted(map(repr, value))) + "}"
    return dict(value) if isinstance(value, dict) and type(value) is not dict else value


def _decoded(value: bytes | bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise TemplateRuntimeError("a value is bytes that are not UTF-8 text") from None


def _check_text(value: Any) -> None:
    """Refuse a value whose text would be the place where it is in memory."""
    kind: Any = type(value)
    if kind.__str__ is not object.__str__ or isinstance(value, Undefined):
        return
    if callable(value):
        name = getattr(value, "name" if isinstance(value, Macro) else "__name__", kind.__name__)
        raise TemplateRuntimeError(f"{name!r} is a function, not a text: call it, as {name}()")
    if isinstance(value, Iterator):
        raise TemplateRuntimeError("a sequence that was not made yet: add | list, or | join(', ')")
    if kind.__repr__ is object.__repr__:
        raise TemplateRuntimeError(f"a value of the type {kind.__name__} has no text")


def _is_plain(value: Any) -> bool:
    """Whether a value holds nothing but texts, numbers and the like, at any depth."""
    if type(value) in _PLAIN:
        return True
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values())) and all(map(_is_plain, value))
    return isinstance(value, _CONTAINERS) and all(map(_is_plain, value))


def _as_json(value: Any, indent: int | None = None) -> str:
    return to_json(value, indent=indent, by_alias=False, fallback=str, inf_nan_mode="null").decode()


def _tojson(value: Any, indent: int | None = None) -> str:
    """The filter `tojson`, for every value that a row can have."""
    if isinstance(value, StrictUndefined):
        str(value)  # raises
    return _as_json(value, indent)

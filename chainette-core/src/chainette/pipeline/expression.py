"""Bare Jinja2 expressions, as conditions and keys have them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.runtime import Context
from pydantic import BaseModel

from chainette.errors import ChainError
from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.nodes.naming import values_of
from chainette.pipeline.prompt import PromptTemplate, environment
from chainette.pipeline.sandbox import Bounds

UNKNOWN = object()
"""In the place of a value that takes Jinja."""
_SCALARS = frozenset({str, int, float, bool})
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}
"""The comparisons by the names that Jinja has for them."""


class _Comparison(NamedTuple):
    """A comparison of a text or number with another one.

    Attributes:
        path: The name on its left side, and the fields of its value.
        compare: The operator.
        other: The value on its right side.
        is_equality: Whether it can compare texts with numbers.
    """

    path: list[str]
    compare: Callable[[Any, Any], bool]
    other: Any
    is_equality: bool

    def value(self, item: Any, names: Mapping[str, Any]) -> Any:
        """Whether it holds; `UNKNOWN` if only Jinja can tell."""
        value = _at(self.path, item, names)
        if value is UNKNOWN:
            return value
        is_alike = self.is_equality or (type(value) is str) is (type(self.other) is str)
        return self.compare(value, self.other) if is_alike else UNKNOWN


class Expression:
    """A Jinja2 expression without braces, such as `label == "refund" and score > 3`.

    Args:
        source: The expression.
        where: Its name in messages, such as `step 'a', when`.

    Raises:
        ChainError: It is not valid.
    """

    def __init__(self, source: str, where: str) -> None:
        self.source = source
        self._where = where
        if "{{" in source or "{%" in source:
            raise ChainError(f"{where}: {source!r} has braces; give the bare expression")
        try:
            self._compiled = environment().compile_expression(source)._template
        except TemplateSyntaxError as error:
            raise ChainError(f"{where}: {source!r}: {error.message}") from None
        # Every evaluation copies the globals; Jinja's own chain of mappings is slow to copy.
        self._globals = dict(self._compiled.globals)
        self._template = PromptTemplate("{{ (" + source + ") }}", where)

    @cached_property
    def path(self) -> list[str]:
        """The name that it consists of, and the fields of its value; empty for others."""
        return _path(self._node)

    @cached_property
    def names(self) -> set[str]:
        """The variables that it reads."""
        return self._template.names

    def check(
        self,
        own: Mapping[str, Any],
        types: Mapping[str, Any],
        *,
        source: str,
        more_names: bool = False,
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Check that every name, and every field of a model, exists and has one meaning.

        Args:
            own: Types of the input's fields by name.
            types: Types of the chain's values by name.
            source: The one of the chain's names whose value is the input.
            more_names: Whether rows may have further names.
            elsewhere: Hints for names that exist where it cannot see them.

        Raises:
            ChainError: A name or a field does not exist, or a name has two meanings.
        """
        self._template.check_meanings(own, types, source)
        self._template.check({**own, **types}, more_names=more_names, elsewhere=elsewhere)

    def value(self, item: Any, names: Mapping[str, Any]) -> Any:
        """The value of the expression.

        Args:
            item: The item, whose fields it can read.
            names: The values that it can read by name, before the fields.

        Raises:
            ChainError: It fails on these values.
        """
        comparison = self._comparison
        if comparison is not None:
            value = comparison.value(item, names)
        else:
            value = self.at_path(item, names)
        return self._evaluated(item, names) if value is UNKNOWN else value

    def at_path(self, item: Any, names: Mapping[str, Any]) -> Any:
        """The text or number that it names; `UNKNOWN` if only Jinja can tell."""
        return _at(self.path, item, names) if self.path else UNKNOWN

    @cached_property
    def _node(self) -> nodes.Node:
        """The expression as Jinja reads it; `true` is a value there, not a name."""
        (output,) = environment().parse("{{ (" + self.source + ") }}").body
        assert isinstance(output, nodes.Output)
        return output.nodes[0]

    @cached_property
    def _comparison(self) -> _Comparison | None:
        """The comparison that it consists of, if one without Jinja gives the same."""
        node = self._node
        if not isinstance(node, nodes.Compare) or len(node.ops) != 1:
            return None
        (operand,) = node.ops
        path, other = _path(node.expr), operand.expr
        if not (path and isinstance(other, nodes.Const) and type(other.value) in _SCALARS):
            return None
        compare = _OPERATORS.get(operand.op)
        is_equality = operand.op in ("eq", "ne")
        return None if compare is None else _Comparison(path, compare, other.value, is_equality)

    def _evaluated(self, item: Any, names: Mapping[str, Any]) -> Any:
        values = {**self._globals, **values_of(item), **names}
        context = Context(self._compiled.environment, values, None, {})
        try:
            with Bounds(MAX_PROMPT):
                for _ in self._compiled.root_render_func(context):
                    pass
                value = context.vars["result"]
                bool(value)  # what is undefined says so
                return value
        except TemplateError as error:
            raise ChainError(f"{self._where}: {error}") from None
        except Exception as error:  # an expression can raise anything
            raise ChainError(f"{self._where}: {type(error).__name__}: {error}") from None


def _at(path: list[str], item: Any, names: Mapping[str, Any]) -> Any:
    """The text or number at a path; `UNKNOWN` if only Jinja can tell."""
    value, fields = (names[path[0]], path[1:]) if path[0] in names else (item, path)
    for name in fields:
        if not isinstance(value, BaseModel) or name not in type(value).__pydantic_fields__:
            return UNKNOWN
        value = getattr(value, name, UNKNOWN)
    return value if type(value) in _SCALARS else UNKNOWN


def _path(node: nodes.Node) -> list[str]:
    """A name and the fields of its value; empty for another expression."""
    if isinstance(node, nodes.Name):
        return [node.name]
    if isinstance(node, nodes.Getattr) and (path := _path(node.node)):
        return [*path, node.attr]
    return []

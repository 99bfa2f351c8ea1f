"""Prompt templates: Jinja2, sandboxed, with every name checked before a row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel

from chainette.errors import ChainError
from chainette.text import did_you_mean


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        finalize=_as_text,
        keep_trailing_newline=True,
    )


def _as_text(value: object) -> object:
    """Show a whole model in a prompt as JSON."""
    return value.model_dump_json() if isinstance(value, BaseModel) else value


class PromptTemplate:
    """A Jinja2 template of a prompt.

    Args:
        source: The template.
        where: Name of the template in messages, such as `step 'a', user_prompt`.

    Raises:
        ChainError: The template is not valid Jinja2.
    """

    def __init__(self, source: str, where: str) -> None:
        self.where = where
        try:
            self._constant = source if "{" not in source else None
            self._tree = _environment().parse(source)
            self._template = _environment().from_string(source)
            # Every rendering copies them, and Jinja's own chain of mappings is slow to copy.
            self._template.globals = dict(self._template.globals)
        except TemplateSyntaxError as error:
            raise ChainError(f"{where}, line {error.lineno}: {error.message}") from None

    @cached_property
    def names(self) -> set[str]:
        """The variables that it reads."""
        return meta.find_undeclared_variables(self._tree)

    def check(
        self,
        types: Mapping[str, Any],
        *,
        more_names: bool = False,
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Check that every name, and every field of a model, exists.

        Args:
            types: The names that the template may use, and the types of their values.
            more_names: Whether rows may have further names.
            elsewhere: Hints for names that exist where the template cannot see them.

        Raises:
            ChainError: A name or a field does not exist.
        """
        for name in sorted(self.names):
            if name not in types and not more_names:
                known = ", ".join(sorted(types))
                hint = elsewhere.get(name) or did_you_mean(name, types)
                raise ChainError(
                    f"{self.where}: unknown variable {name!r}{hint}; the variables are: {known}"
                )
        for name, field in self._fields():
            model = types.get(name)
            if isinstance(model, type) and issubclass(model, BaseModel):
                self._check_field(name, field, model)

    def _fields(self) -> Iterator[tuple[str, str]]:
        """Pairs of name and field, for every `name.field` in the template."""
        assigned = {
            node.name for node in self._tree.find_all(nodes.Name) if node.ctx in ("store", "param")
        }
        for node in self._tree.find_all(nodes.Getattr):
            if isinstance(node.node, nodes.Name) and node.node.name not in assigned:
                yield node.node.name, node.attr

    def _check_field(self, name: str, field: str, model: type[BaseModel]) -> None:
        if field in model.model_fields or hasattr(model, field):
            return
        if model.model_config.get("extra") == "allow":
            return
        known = ", ".join(model.model_fields)
        raise ChainError(
            f"{self.where}: {name!r} has no field {field!r}"
            f"{did_you_mean(field, model.model_fields)}; {model.__name__} has: {known}"
        )

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill the template in.

        Raises:
            ChainError: The template fails on these values.
        """
        if self._constant is not None:
            return self._constant
        try:
            return self._template.render(values)
        except TemplateError as error:
            raise ChainError(f"{self.where}: {error}") from None
        except Exception as error:  # an expression in the template can raise anything
            raise ChainError(f"{self.where}: {type(error).__name__}: {error}") from None

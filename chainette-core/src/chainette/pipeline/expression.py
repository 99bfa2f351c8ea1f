"""Bare Jinja2 expressions, as conditions and keys have them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from chainette.errors import ChainError
from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.prompt import PromptTemplate, environment
from chainette.pipeline.sandbox import bounds


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
            self._value = environment().compile_expression(source, undefined_to_none=False)
        except TemplateSyntaxError as error:
            raise ChainError(f"{where}: {source!r}: {error.message}") from None
        # Every evaluation copies the globals; Jinja's own chain of mappings is slow to copy.
        template = self._value._template
        template.globals = dict(template.globals)
        self._template = PromptTemplate("{{ (" + source + ") }}", where)

    @property
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

    def value(self, values: Mapping[str, Any]) -> Any:
        """The value of the expression.

        Args:
            values: The values by name.

        Raises:
            ChainError: It fails on these values.
        """
        try:
            with bounds(MAX_PROMPT):
                value = self._value(**values)
                bool(value)  # what is undefined says so
                return value
        except TemplateError as error:
            raise ChainError(f"{self._where}: {error}") from None
        except Exception as error:  # an expression can raise anything
            raise ChainError(f"{self._where}: {type(error).__name__}: {error}") from None

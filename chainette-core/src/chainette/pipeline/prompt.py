"""Prompt templates: Jinja2, sandboxed, with every name checked before a row is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import PurePath
from types import MappingProxyType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jinja2 import Template, TemplateError, TemplateSyntaxError, meta, nodes

from chainette.errors import ChainError
from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.nodes.fields import check_fields, items, meant_field
from chainette.pipeline.nodes.naming import CHAINS_OWN
from chainette.pipeline.reasoning import REASONING, ReasoningType
from chainette.pipeline.sandbox import Bounds, PromptEnvironment, bounded, check_size, joined
from chainette.text import did_you_mean, with_article

_BRACES = re.compile(
    r"(?<![{\w$])\$?\{\s*((?P<name>[A-Za-z_]\w*)[\w.]*)\s*(![rsa])?(:[^{}]*)?\}(?!\})"
)
"""A name in single braces, as in an f-string."""


@cache
def environment() -> PromptEnvironment:
    """The one environment of all templates, made when it is first used."""
    return PromptEnvironment()


_SCALARS = (str, int, float, bool, type(None))
_GROWING = (nodes.For, nodes.Macro, nodes.CallBlock)
_FROM_ELSEWHERE = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class PromptTemplate:
    """A Jinja2 template of a prompt.

    Args:
        source: The template.
        where: Name of the template in messages, such as `step 'a', user_prompt`.

    Attributes:
        source: The template.

    Raises:
        ChainError: The template is not a text, or not valid Jinja2.
    """

    def __init__(self, source: str, where: str) -> None:
        check_text(source, where)
        self.where = where
        self.source: str = source
        try:
            self._constant = source if "{" not in source else None
            jinja = environment()
            self._tree = jinja.parse(source)
            if (other := next(self._tree.find_all(_FROM_ELSEWHERE), None)) is not None:
                raise TemplateSyntaxError("a prompt cannot include other templates", other.lineno)
            code = jinja.compile(bounded(jinja.parse(source)))
            # Every rendering copies the globals; Jinja's own chain of mappings is slow to copy.
            self._template = Template.from_code(jinja, code, dict(jinja.globals))
            self._grows = any(True for _ in self._tree.find_all(_GROWING))
        except TemplateSyntaxError as error:
            raise ChainError(f"{where}, line {error.lineno}: {error.message}") from None

    @cached_property
    def names(self) -> set[str]:
        """The variables that it reads."""
        return meta.find_undeclared_variables(self._tree) - self._template.globals.keys()

    def suggestion(self, names: Iterable[str]) -> str | None:
        """The template that was probably meant, where single braces hold one of these names."""
        known = set(names)

        def repair(match: re.Match[str]) -> str:
            return f"{{{{ {match[1]} }}}}" if match["name"] in known else match[0]

        repaired = _BRACES.sub(repair, self.source)
        return repaired if repaired != self.source else None

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
                hint = elsewhere.get(name) or meant_field(name, types) or did_you_mean(name, types)
                raise ChainError(
                    f"{self.where}: unknown variable {name!r}{hint}; the variables are: {known}"
                )
        assigned = Counter(
            node.name for node in self._tree.find_all(nodes.Name) if node.ctx in ("store", "param")
        )
        seen = {name: model for name, model in types.items() if name not in assigned}
        for name, model in items(self._tree, seen):
            if assigned[name] == 1:
                seen[name] = model
        check_fields(self._tree, seen, self.where)
        if isinstance(model := seen.get(REASONING), ReasoningType):
            self._check_reasoning(model, elsewhere)

    def _check_reasoning(self, model: ReasoningType, elsewhere: Mapping[str, str]) -> None:
        """Check that `reasoning.draft` and `reasoning["draft"]` name an earlier step."""
        for key in self._keys(REASONING):
            if key not in model.steps:
                hint = elsewhere.get(key) or did_you_mean(key, model.steps)
                raise ChainError(
                    f"{self.where}: no earlier step {key!r} has reasoning to show{hint}; "
                    f"the steps are: {', '.join(model.steps)}"
                )

    def check_meanings(self, own: Mapping[str, Any], types: Mapping[str, Any], source: str) -> None:
        """Check that no name can be a field of the input as well as one of the chain's.

        `label.label` is clear where only the chain's `label` can have a field: then it is that.

        Args:
            own: Types of the input's fields by name.
            types: Types of the chain's values by name.
            source: The one of the chain's names whose value is the input.

        Raises:
            ChainError: One can.
        """
        for name in sorted(self.names & own.keys() & types.keys()):
            uses = sum(it.name == name for it in self._tree.find_all(nodes.Name))
            fields = [
                it.attr
                for it in self._tree.find_all(nodes.Getattr)
                if isinstance(it.node, nodes.Name) and it.node.name == name
            ]
            if len(fields) == uses and all(_cannot_have(own[name], field) for field in fields):
                continue
            is_clear = name != source or _cannot_have(own[name], name)
            field = f"write {{{{ {source}.{name} }}}}" if is_clear else "give it another name"
            other = "rename the field" if name in CHAINS_OWN else "give that another id or alias"
            raise ChainError(
                f"{self.where}: {name!r} is a field of its input, and the chain has another "
                f"{name!r}; for the field, {field}; for the chain's, {other}"
            )

    def _keys(self, name: str) -> Iterator[str]:
        """The keys that are taken from a mapping, as `a.key` or `a["key"]`."""
        called = [it.node for it in self._tree.find_all(nodes.Call)]
        for it in self._tree.find_all(nodes.Getattr):
            is_method = any(it is method for method in called) and hasattr(dict, it.attr)
            if isinstance(it.node, nodes.Name) and it.node.name == name and not is_method:
                yield it.attr
        for item in self._tree.find_all(nodes.Getitem):
            key = getattr(item.arg, "value", None)
            if isinstance(item.node, nodes.Name) and item.node.name == name and key is not None:
                yield str(key)

    def render(self, values: Mapping[str, Any], max_chars: int = MAX_PROMPT) -> str:
        """Fill the template in.

        Args:
            values: The values by name.
            max_chars: Maximum characters of the prompt, and of any text that is made on the way.

        Raises:
            ChainError: The template fails on these values.
        """
        if self._constant is not None:
            return self._constant
        try:
            with Bounds(max_chars):
                text = self._grown(values) if self._grows else self._template.render(values)
                check_size(len(text))
        except TemplateError as error:
            raise ChainError(f"{self.where}: {error}") from None
        except Exception as error:  # an expression in the template can raise anything
            raise ChainError(f"{self.where}: {type(error).__name__}: {error}") from None
        if not text.isascii():
            self._check_encoding(text)
        return text

    def _grown(self, values: Mapping[str, Any]) -> str:
        """The text of a template whose length depends on more than its values."""
        return joined(self._template.root_render_func(self._template.new_context(dict(values))))

    def _check_encoding(self, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ChainError(
                f"{self.where}: a value holds half a surrogate pair, which UTF-8 cannot encode"
            ) from None


def check_text(source: object, where: str) -> None:
    """Check that a prompt is a text.

    Raises:
        ChainError: It is something else.
    """
    if isinstance(source, str):
        return
    hint = ""
    if isinstance(source, list | tuple) and where.endswith("_prompt"):
        hint = "; a conversation goes into messages=[{'role': 'user', 'content': '…'}, …]"
    elif isinstance(source, PurePath):
        hint = "; read the file: path.read_text()"
    elif source is None and not where.endswith("user_prompt"):
        hint = "; for no text, leave it out"
    raise ChainError(f"{where}: give a text, not {with_article(type(source).__name__)}{hint}")


def _cannot_have(model: Any, field: str) -> bool:
    """Whether it is certain that no value of a type has a field."""
    options = get_args(model) if get_origin(model) in (Union, UnionType, Literal) else (model,)
    classes = [type(it) if get_origin(model) is Literal else it for it in options]
    return all(it in _SCALARS and not hasattr(it, field) for it in classes)

"""The prompts of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from chainette.errors import ChainError
from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.conversation import Conversation, Turns, conversation
from chainette.pipeline.examples import Example, Examples, View, read_examples
from chainette.pipeline.nodes.flow import In, Out
from chainette.pipeline.nodes.naming import fields_of, has_extra, values_of
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.prompt import PromptTemplate, check_text
from chainette.text import with_article
from chainette.types import Message


class Prompted(Node[In, Out]):
    """A node that prompts an engine.

    Attributes:
        answer_model: Type of one answer.
        system_prompt: Template of the system message.
        user_prompt: Template of the user message.
        turns: The turns of a conversation, or `None`.
        prefill: Template of the start of the answer.
        output_format_instruction: Text at the end of the system message.
        constant_prompt: Whether prompts may be the same for all rows.
    """

    answer_model: Any
    system_prompt: str
    user_prompt: str
    turns: Turns | None
    prefill: str
    output_format_instruction: str | None
    constant_prompt: bool
    _examples: Sequence[Example]
    _system: PromptTemplate
    _user: PromptTemplate
    _talk: Conversation | None
    _templates: list[PromptTemplate]

    def _read_prompts(self, examples: Examples, *, is_single: bool) -> None:
        """Read the templates and the examples.

        Raises:
            ChainError: One of them is not valid.
        """
        where = f"step {self.id!r}"
        self._examples = read_examples(examples, where)
        self._system = PromptTemplate(self.system_prompt, f"{where}, system_prompt")
        self._user = PromptTemplate(self.user_prompt, f"{where}, user_prompt")
        self._talk = self._conversation(is_single=is_single)
        plain = [self._user, self._system]
        self._templates = plain if self._talk is None else self._talk.templates

    def _conversation(self, *, is_single: bool) -> Conversation | None:
        """Its turns; `None` where they are only a system and a user message."""
        return conversation(
            f"step {self.id!r}",
            self.turns,
            system=self._system if self.system_prompt else None,
            user=self._user if is_single else None,
            prefill=self.prefill,
            has_examples=bool(self._examples),
        )

    def outline(self) -> list[tuple[str, str]]:
        """The turns of a conversation, for people: a role and its text; empty without one."""
        return [] if self._talk is None else [*self._shown(self._talk).outline()]

    def _shown(self, talk: Conversation) -> Conversation:
        """The conversation with its examples, also where the step is in no chain."""
        if self._examples and not talk.examples:
            names = {"chain_input": self.input_model}
            view = View(self.input_model, self.answer_model, names, "chain_input")
            talk.show(self._examples, view)
        return talk

    def check_prompts(
        self,
        types: Mapping[str, Any],
        elsewhere: Mapping[str, str] = MappingProxyType({}),
        *,
        source: str = "chain_input",
    ) -> None:
        """Check the templates' names against those that earlier steps provide.

        Args:
            types: Types of the visible values by name.
            elsewhere: Hints for names that exist where this step cannot see them.
            source: The one of these names whose value is the step's input.

        Raises:
            ChainError: A name or a field does not exist, or a name has two meanings.
        """
        own = dict(fields_of(self.input_model))
        for template in reversed(self._templates):
            template.check_meanings(own, types, source)
            template.check(
                {**own, **types},
                more_names=has_extra(self.input_model),
                elsewhere=elsewhere,
            )
        if not (self.constant_prompt or self._names):
            raise ChainError(self._about_constant([*own, *types]))
        if self._talk is not None:
            self._talk.check_types({**own, **types})
            view = View(self.input_model, self.answer_model, types, source)
            self._talk.show(self._examples, view)

    def reads(self, name: str) -> bool:
        """Whether its prompts name a value."""
        return name in self._names

    @cached_property
    def _names(self) -> set[str]:
        """The variables of all its templates."""
        return {name for template in self._templates for name in template.names}

    def _about_constant(self, names: list[str]) -> str:
        """The message about prompts that are the same for every row."""
        message = f"step {self.id!r}: its prompts use no value of the row, and are the same for all"
        for template in self._templates:
            if (meant := template.suggestion(names)) is not None:
                return f"{message}; values are in double braces: {meant[:500]!r}"
        example = f", as {{{{ {names[0]} }}}}" if names else ""
        return f"{message}; use one{example}, or allow it with constant_prompt=True"

    def _uses(self, aliases: set[str]) -> set[str]:
        """The joined branches that its prompts name; all of them if its validators may do so."""
        if self.validates_in_context:
            return aliases
        return aliases & self._names

    def messages(
        self, values: Mapping[str, Any], direct_input: Any, max_chars: int = MAX_PROMPT
    ) -> list[Message]:
        """Render the prompts of one row.

        Args:
            values: `chain_input` and the outputs of earlier steps.
            direct_input: The step's input; templates see its fields by name.
            max_chars: Maximum characters of a prompt.

        Raises:
            ChainError: A template fails on these values.
        """
        names = {**values_of(direct_input), **values}
        try:
            if self._talk is not None:
                talk = self._shown(self._talk)
                return talk.render(names, max_chars, self.output_format_instruction)
            system = self._system.render(names, max_chars)
            if self.output_format_instruction:
                system = f"{system}\n\n{self.output_format_instruction}".strip()
            user: Message = {"role": "user", "content": self._user.render(names, max_chars)}
        except ChainError as error:
            raise ChainError(f"{error}{self._misfit(direct_input)}") from None
        return [{"role": "system", "content": system}, user] if system else [user]

    def _misfit(self, direct_input: Any) -> str:
        """The advice about an input that is a mapping in place of a model, or nothing."""
        model = self.input_model
        is_model = isinstance(model, type) and issubclass(model, BaseModel)
        if not (is_model and isinstance(direct_input, Mapping)):
            return ""
        kind, wanted = type(direct_input).__name__, model.__name__
        return (
            f"; its input is {with_article(kind)}, not {with_article(wanted)}: give the node in "
            f"front of it output_model={wanted}"
        )


def checked_engine_name(id: str, engine_name: Any) -> str:
    """The name of an engine.

    Raises:
        ChainError: It is the engine itself, or something else.
    """
    if isinstance(engine_name, str):
        return engine_name
    name = getattr(getattr(engine_name, "config", engine_name), "name", None)
    if not isinstance(name, str):
        raise ChainError(f"step {id!r}: engine_name is {engine_name!r}; give the name of an engine")
    hint = f": engine_name={name!r}"
    kind = type(engine_name).__name__
    raise ChainError(f"step {id!r}: give the name of the engine, not the {kind} itself{hint}")


def checked_instruction(id: str, instruction: str | None) -> str | None:
    """The text at the end of the system message.

    Raises:
        ChainError: It is something else.
    """
    if instruction is not None:
        check_text(instruction, f"step {id!r}, output_format_instruction")
    return instruction

"""A step: Pydantic object in, prompt, Pydantic object out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from pydantic import PydanticUserError

from chainette.engine.client.asking import Asks, checked_reasks
from chainette.engine.sampling import of_step
from chainette.engine.structured.answer import answer_form
from chainette.engine.structured.text import TextOutput, check_answer, is_text
from chainette.errors import ChainError
from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.conversation import Conversation, Turns, conversation
from chainette.pipeline.examples import View, read_examples
from chainette.pipeline.nodes.conditions import NOT_GIVEN, OnError
from chainette.pipeline.nodes.flow import I_, O_, In, Out
from chainette.pipeline.nodes.naming import fields_of, has_extra, type_name, values_of
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.options import StepOptions
from chainette.pipeline.prompt import PromptTemplate, check_text
from chainette.text import names_keywords
from chainette.types import Message, SamplingParams

if TYPE_CHECKING:
    from typing_extensions import TypeForm, Unpack


@names_keywords
class Step(Node[In, Out]):
    """Turns one Pydantic object into another by prompting an engine.

    Prompts are Jinja2 templates. They see `chain_input` (the input row), the output of every
    earlier step under its id, and the fields of the step's own input.

    Args:
        id: Name in templates and files; letters, digits and underscores.
        name: Title for people; the id by default.
        input_model: Type of the input: the row, or the previous step's output.
        output_model: Type of the answer; by default `str`, the plain text.
        engine_name: Name of the engine.
        sampling: The sampling parameters, or a mapping of them. A list in the mapping, such as
            `{"temperature": [0, 0.4]}`, has a value for each attempt, and the last repeats; so does
            a list of parameters.
        reasks: Number of times that an invalid answer is put back to the model; 0 for never.
        system_prompt: Template of the system message; empty for no system message.
        user_prompt: Template of the user message; or give `messages`.
        messages: The turns of a conversation, each a `role` and the template of its `content`, or
            a `history`: an expression, such as a field's name, for a list of messages.
        examples: Pairs of an input and its output, or the path of a JSONL, JSON or YAML file of
            them, which are shown to the model in front of the row's own turn.
        prefill: Template of the start of the answer, which the model continues; only for backends
            that can do so.
        output_format_instruction: Text at the end of the system message; not a template.
        keep_reasoning: Whether the model's reasoning gets a column, `reasoning.<id>`.
        constant_prompt: Allow prompts that use no value of the row, and are the same for all.
        when: The condition under which it runs: a function of the item, or of the item and the
            names; or a template expression such as `score > 3`. Otherwise the input goes on.
        otherwise: The output where the condition does not hold, in place of the input.
        on_error: `none` to go on without an output where the step fails.
        default: The output where it fails.
        accept_truncated: Keep a text that was cut at `max_tokens` as the answer.
        yield_output: Whether the output belongs to the run's results.
        emoji: Shown in front of the name.

    Raises:
        ChainError: The id, a template, the engine's name, the sampling or `reasks` is wrong.
    """

    kind = "step"

    @overload
    def __init__(
        self: Step[I_, str | None],
        *,
        id: str,
        input_model: TypeForm[I_],
        output_model: None = None,
        engine_name: str,
        user_prompt: str | None = ...,
        on_error: Literal["none"],
        otherwise: Any = ...,
        **options: Unpack[StepOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, str | None],
        *,
        id: str,
        input_model: TypeForm[I_],
        output_model: None = None,
        engine_name: str,
        user_prompt: str | None = ...,
        on_error: Literal["fail"] = ...,
        otherwise: None,
        **options: Unpack[StepOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, str],
        *,
        id: str,
        input_model: TypeForm[I_],
        output_model: None = None,
        engine_name: str,
        user_prompt: str | None = ...,
        on_error: Literal["fail"] = ...,
        otherwise: Any = ...,
        **options: Unpack[StepOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, O_ | None],
        *,
        id: str,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        engine_name: str,
        user_prompt: str | None = ...,
        on_error: Literal["none"],
        otherwise: Any = ...,
        **options: Unpack[StepOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, O_ | None],
        *,
        id: str,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        engine_name: str,
        user_prompt: str | None = ...,
        on_error: Literal["fail"] = ...,
        otherwise: None,
        **options: Unpack[StepOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, O_],
        *,
        id: str,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        engine_name: str,
        user_prompt: str | None = ...,
        on_error: Literal["fail"] = ...,
        otherwise: Any = ...,
        **options: Unpack[StepOptions],
    ) -> None: ...
    def __init__(
        self,
        *,
        id: str,
        input_model: Any,
        output_model: Any = None,
        engine_name: str,
        user_prompt: str | None = None,
        on_error: OnError = "fail",
        otherwise: Any = NOT_GIVEN,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(
            id=id,
            input_model=input_model,
            output_model=str if output_model is None else output_model,  # what is paid for is kept
            options=options,
            otherwise=otherwise,
            on_error=on_error,
        )
        instruction = options.get("output_format_instruction")
        self.engine_name: str = _checked_name(id, engine_name)
        self.samplings: tuple[SamplingParams, ...] = of_step(id, options.get("sampling"))
        self.sampling: SamplingParams = self.samplings[0]
        self.reasks: int = checked_reasks(f"step {id!r}", options.get("reasks", 1))
        self.keep_reasoning: bool = options.get("keep_reasoning", False)
        self.system_prompt: str = options.get("system_prompt", "")
        self.user_prompt: str = user_prompt if user_prompt is not None else ""
        self.turns: Turns | None = options.get("messages")
        self.prefill: str = options.get("prefill", "")
        self.output_format_instruction: str | None = _checked_text(id, instruction)
        self.constant_prompt: bool = options.get("constant_prompt", False)
        self.accept_truncated: bool = options.get("accept_truncated", False)
        check_answer(self.output_model, f"step {id!r}", accept_truncated=self.accept_truncated)
        self._examples = read_examples(options.get("examples", ()), f"step {id!r}")
        self._system = PromptTemplate(self.system_prompt, f"step {id!r}, system_prompt")
        self._user = PromptTemplate(self.user_prompt, f"step {id!r}, user_prompt")
        self._talk = self._conversation(is_single=user_prompt is not None)
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

    @property
    def is_text(self) -> bool:
        """Whether its answers are plain text."""
        return is_text(self.output_model)

    @cached_property
    def asks(self) -> Asks:
        """The requests that an answer may take."""
        return Asks(self.reasks, self.samplings if len(self.samplings) > 1 else ())

    @cached_property
    def answer_type(self) -> Any:
        """What its engine is asked for: the output model or, of a text, how it is read."""
        if not self.accept_truncated:
            return self.output_model
        return TextOutput(self.output_model, accept_truncated=True)

    @property
    def engines(self) -> tuple[str, ...]:
        """The name of its engine."""
        return (self.engine_name,)

    def request_fields(self) -> dict[str, Any]:
        """The fields that shape its requests beside the row, as JSON values."""
        samplings = [it.model_dump(mode="json", exclude_none=True) for it in self.samplings]
        fields = {
            "sampling": samplings if self.asks.sampling else samplings[0],
            "system_prompt": self.system_prompt,
            "user_prompt": self.user_prompt,
            "output_format_instruction": self.output_format_instruction,
        }
        if self._talk is None:
            return fields
        shown = self._shown(self._talk).examples
        more = {"messages": self.turns, "examples": shown, "prefill": self.prefill}
        return fields | {name: value for name, value in more.items() if value}

    def outline(self) -> list[tuple[str, str]]:
        """The turns of a conversation, for people: a role and its text; empty without one."""
        return [] if self._talk is None else [*self._shown(self._talk).outline()]

    def _shown(self, talk: Conversation) -> Conversation:
        """The conversation with its examples, also where the step is in no chain."""
        if self._examples and not talk.examples:
            names = {"chain_input": self.input_model}
            view = View(self.input_model, self.output_model, names, "chain_input")
            talk.show(self._examples, view)
        return talk

    def answer_fields(self) -> dict[str, Any]:
        """The options about its answers that are not the default, as JSON values.

        They decide on no answer that there is, so that a run can be resumed with others.
        """
        fields: dict[str, Any] = {} if self.reasks == 1 else {"reasks": self.reasks}
        fields |= {"accept_truncated": True} if self.accept_truncated else {}
        return fields | ({"keep_reasoning": True} if self.keep_reasoning else {})

    def check_output(self) -> None:
        """Check that answers of the output type can be asked for: most have a JSON schema.

        Raises:
            ChainError: It does not.
        """
        try:
            answer_form(self.output_model)
        except PydanticUserError as error:
            reason = str(error).partition("\n")[0]
            what = "cannot be validated" if self.is_text else "has no JSON schema"
            raise ChainError(f"step {self.id!r}: output_model {what}: {reason}") from None

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
            view = View(self.input_model, self.output_model, types, source)
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
        if self._talk is not None:
            return self._shown(self._talk).render(names, max_chars, self.output_format_instruction)
        system = self._system.render(names, max_chars)
        if self.output_format_instruction:
            system = f"{system}\n\n{self.output_format_instruction}".strip()
        user: Message = {"role": "user", "content": self._user.render(names, max_chars)}
        return [{"role": "system", "content": system}, user] if system else [user]

    def __repr__(self) -> str:
        """The id and the types."""
        types = f"{type_name(self.input_model)} -> {type_name(self.output_model)}"
        return f"Step({self.id!r}, {types})"


def _checked_name(id: str, engine_name: Any) -> str:
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


def _checked_text(id: str, instruction: str | None) -> str | None:
    """The text at the end of the system message.

    Raises:
        ChainError: It is something else.
    """
    if instruction is not None:
        check_text(instruction, f"step {id!r}, output_format_instruction")
    return instruction

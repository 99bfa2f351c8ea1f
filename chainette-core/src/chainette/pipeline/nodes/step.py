"""A step: Pydantic object in, prompt, Pydantic object out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, PydanticUserError

from chainette.engine.structured.schema import output_schema
from chainette.errors import ChainError, ConfigError
from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.nodes.flow import I_, O_, In, Out
from chainette.pipeline.nodes.naming import fields_of, type_name
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
        output_model: Type of the answer.
        engine_name: Name of the engine.
        sampling: The sampling parameters, or a mapping of them.
        system_prompt: Template of the system message; empty for no system message.
        user_prompt: Template of the user message.
        output_format_instruction: Text at the end of the system message; not a template.
        constant_prompt: Allow prompts that use no value of the row, and are the same for all.
        yield_output: Whether the output belongs to the run's results.
        emoji: Shown in front of the name.

    Raises:
        ChainError: The id, a template, the engine's name or the sampling is wrong.
    """

    kind = "step"

    def __init__(
        self: Step[I_, O_],
        *,
        id: str,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        engine_name: str,
        user_prompt: str,
        **options: Unpack[StepOptions],
    ) -> None:
        super().__init__(id=id, input_model=input_model, output_model=output_model, options=options)
        instruction = options.get("output_format_instruction")
        self.engine_name: str = _checked_name(id, engine_name)
        self.sampling: SamplingParams = _checked_sampling(id, options.get("sampling"))
        self.system_prompt: str = options.get("system_prompt", "")
        self.user_prompt = user_prompt
        self.output_format_instruction: str | None = _checked_text(id, instruction)
        self.constant_prompt: bool = options.get("constant_prompt", False)
        self._system = PromptTemplate(self.system_prompt, f"step {id!r}, system_prompt")
        self._user = PromptTemplate(user_prompt, f"step {id!r}, user_prompt")

    @property
    def engines(self) -> tuple[str, ...]:
        """The name of its engine."""
        return (self.engine_name,)

    def request_fields(self) -> dict[str, Any]:
        """The fields that shape its requests beside the row, as JSON values."""
        return {
            "sampling": self.sampling.model_dump(mode="json", exclude_none=True),
            "system_prompt": self.system_prompt,
            "user_prompt": self.user_prompt,
            "output_format_instruction": self.output_format_instruction,
        }

    def check_output(self) -> None:
        """Check that the output type has a JSON schema.

        Raises:
            ChainError: It does not.
        """
        try:
            output_schema(self.output_model)
        except PydanticUserError as error:
            reason = str(error).partition("\n")[0]
            message = f"step {self.id!r}: output_model has no JSON schema: {reason}"
            raise ChainError(message) from None

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
        for template in (self._system, self._user):
            template.check_meanings(own, types, source)
            template.check(
                {**own, **types},
                more_names=_has_extra(self.input_model),
                elsewhere=elsewhere,
            )
        if not (self.constant_prompt or self._system.names | self._user.names):
            raise ChainError(self._about_constant([*own, *types]))

    def _about_constant(self, names: list[str]) -> str:
        """The message about prompts that are the same for every row."""
        message = f"step {self.id!r}: its prompts use no value of the row, and are the same for all"
        for template in (self._user, self._system):
            if (meant := template.suggestion(names)) is not None:
                return f"{message}; values are in double braces: {meant[:500]!r}"
        example = f", as {{{{ {names[0]} }}}}" if names else ""
        return f"{message}; use one{example}, or allow it with constant_prompt=True"

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that its prompts name; all of them if its validators may do so."""
        known = set(aliases)
        if known and self.validates_in_context:
            return known
        return known & (self._system.names | self._user.names)

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
        names = {**_values_of(direct_input), **values}
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


def _checked_sampling(id: str, sampling: Any) -> SamplingParams:
    """The sampling parameters of a step.

    Raises:
        ChainError: They are of another type, or ask for several completions.
    """
    if sampling is None:
        return SamplingParams()
    if isinstance(sampling, Mapping):
        try:
            sampling = SamplingParams(**{str(name): value for name, value in sampling.items()})
        except ConfigError as error:
            raise ChainError(f"step {id!r}, sampling: {error}") from None
    if not isinstance(sampling, SamplingParams):
        kind = "class" if isinstance(sampling, type) else type(sampling).__name__
        example = '{"temperature": 0}'
        raise ChainError(
            f"step {id!r}: sampling is a {kind}; give SamplingParams(temperature=0) or {example}"
        )
    if sampling.n > 1:
        raise ChainError(
            f"step {id!r}: n={sampling.n} would pay for {sampling.n} completions and keep one; "
            "for several, call get_engine(name).generate(prompts, SamplingParams(n=…))"
        )
    return sampling


def _values_of(value: Any) -> dict[str, Any]:
    """Values of a model's fields by name; empty for other objects."""
    if not isinstance(value, BaseModel):
        return {}
    own = {name: getattr(value, name) for name in type(value).model_fields}
    return own | (value.model_extra or {})


def _has_extra(model: Any) -> bool:
    """Whether rows of a model may have fields that it does not declare."""
    is_model = isinstance(model, type) and issubclass(model, BaseModel)
    return is_model and model.model_config.get("extra") == "allow"

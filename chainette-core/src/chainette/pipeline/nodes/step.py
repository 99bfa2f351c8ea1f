"""A step: Pydantic object in, prompt, Pydantic object out."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from pydantic import PydanticUserError

from chainette.engine.client.asking import Asks, checked_reasks
from chainette.engine.sampling import of_step
from chainette.engine.structured.answer import answer_form
from chainette.engine.structured.text import TextOutput, check_answer, is_text
from chainette.errors import ChainError
from chainette.pipeline.conversation import Turns
from chainette.pipeline.nodes.conditions import NOT_GIVEN, OnError
from chainette.pipeline.nodes.flow import I_, O_, In, Out
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.options import StepOptions
from chainette.pipeline.steps.prompted import (
    Prompted,
    checked_engine_name,
    checked_instruction,
)
from chainette.pipeline.steps.samples import SampleParams, checked_samples
from chainette.text import names_keywords
from chainette.types import SamplingParams

if TYPE_CHECKING:
    from typing_extensions import TypeForm, Unpack

    from chainette.pipeline.nodes.options import StepArguments


@names_keywords
class Step(Prompted[In, Out]):
    """Turns one Pydantic object into another by prompting an engine.

    Prompts are Jinja2 templates. They see `chain_input` (the input row), the output of every
    earlier step under its id, and the fields of the step's own input.

    Args:
        id: Name in templates and files; letters, digits and underscores.
        name: Title for people; the id by default.
        input_model: Type of the input: the row, or the previous step's output.
        output_model: Type of the answer; by default `str`, the plain text.
        engine_name: Name of the engine.
        samples: Number of answers for each item; the output is the list of them. Without it, one.
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
        self: Step[I_, list[str] | None],
        *,
        input_model: TypeForm[I_],
        output_model: None = None,
        samples: int,
        on_error: Literal["none"],
        otherwise: Any = ...,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, list[str] | None],
        *,
        input_model: TypeForm[I_],
        output_model: None = None,
        samples: int,
        on_error: Literal["fail"] = ...,
        otherwise: None,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, list[str]],
        *,
        input_model: TypeForm[I_],
        output_model: None = None,
        samples: int,
        on_error: Literal["fail"] = ...,
        otherwise: Any = ...,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, list[O_] | None],
        *,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        samples: int,
        on_error: Literal["none"],
        otherwise: Any = ...,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, list[O_] | None],
        *,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        samples: int,
        on_error: Literal["fail"] = ...,
        otherwise: None,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, list[O_]],
        *,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        samples: int,
        on_error: Literal["fail"] = ...,
        otherwise: Any = ...,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, str | None],
        *,
        input_model: TypeForm[I_],
        output_model: None = None,
        samples: None = None,
        on_error: Literal["none"],
        otherwise: Any = ...,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, str | None],
        *,
        input_model: TypeForm[I_],
        output_model: None = None,
        samples: None = None,
        on_error: Literal["fail"] = ...,
        otherwise: None,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, str],
        *,
        input_model: TypeForm[I_],
        output_model: None = None,
        samples: None = None,
        on_error: Literal["fail"] = ...,
        otherwise: Any = ...,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, O_ | None],
        *,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        samples: None = None,
        on_error: Literal["none"],
        otherwise: Any = ...,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, O_ | None],
        *,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        samples: None = None,
        on_error: Literal["fail"] = ...,
        otherwise: None,
        **options: Unpack[StepArguments],
    ) -> None: ...
    @overload
    def __init__(
        self: Step[I_, O_],
        *,
        input_model: TypeForm[I_],
        output_model: TypeForm[O_],
        samples: None = None,
        on_error: Literal["fail"] = ...,
        otherwise: Any = ...,
        **options: Unpack[StepArguments],
    ) -> None: ...
    def __init__(
        self,
        *,
        id: str,
        input_model: Any,
        output_model: Any = None,
        engine_name: str,
        user_prompt: str | None = None,
        samples: int | None = None,
        on_error: OnError = "fail",
        otherwise: Any = NOT_GIVEN,
        **options: Unpack[StepOptions],
    ) -> None:
        answer: Any = str if output_model is None else output_model  # what is paid for is kept
        super().__init__(
            id=id,
            input_model=input_model,
            output_model=answer if samples is None else list[answer],
            options=options,
            otherwise=otherwise,
            on_error=on_error,
        )
        instruction = options.get("output_format_instruction")
        self.answer_model = answer
        self.engine_name: str = checked_engine_name(id, engine_name)
        self.samplings: tuple[SamplingParams, ...] = of_step(id, options.get("sampling"))
        self.sampling: SamplingParams = self.samplings[0]
        self.reasks: int = checked_reasks(f"step {id!r}", options.get("reasks", 1))
        self.keep_reasoning: bool = options.get("keep_reasoning", False)
        self.samples: int | None = checked_samples(id, samples, self.samplings, options)
        self.system_prompt: str = options.get("system_prompt", "")
        self.user_prompt: str = user_prompt if user_prompt is not None else ""
        self.turns: Turns | None = options.get("messages")
        self.prefill: str = options.get("prefill", "")
        self.output_format_instruction: str | None = checked_instruction(id, instruction)
        self.constant_prompt: bool = options.get("constant_prompt", False)
        self.accept_truncated: bool = options.get("accept_truncated", False)
        check_answer(answer, f"step {id!r}", accept_truncated=self.accept_truncated)
        self._read_prompts(options.get("examples", ()), is_single=user_prompt is not None)

    @property
    def is_text(self) -> bool:
        """Whether its answers are plain text."""
        return is_text(self.answer_model)

    @cached_property
    def asks(self) -> Asks:
        """The requests that an answer may take."""
        return Asks(self.reasks, self.samplings if len(self.samplings) > 1 else ())

    @cached_property
    def sampled(self) -> SampleParams:
        """The sampling parameters of each of its samples."""
        return SampleParams(self.samples or 1, self.samplings)

    @cached_property
    def answer_type(self) -> Any:
        """What its engine is asked for: the output model or, of a text, how it is read."""
        if not self.accept_truncated:
            return self.answer_model
        return TextOutput(self.answer_model, accept_truncated=True)

    @property
    def engines(self) -> tuple[str, ...]:
        """The name of its engine."""
        return (self.engine_name,)

    def request_fields(self) -> dict[str, Any]:
        """The fields that shape its requests beside the row, as JSON values."""
        samplings = [it.model_dump(mode="json", exclude_none=True) for it in self.samplings]
        fields: dict[str, Any] = {
            "sampling": samplings if self.asks.sampling else samplings[0],
            "system_prompt": self.system_prompt,
            "user_prompt": self.user_prompt,
            "output_format_instruction": self.output_format_instruction,
        }
        fields |= {} if self.samples is None else {"samples": self.samples}
        if self._talk is None:
            return fields
        shown = self._shown(self._talk).examples
        more = {"messages": self.turns, "examples": shown, "prefill": self.prefill}
        return fields | {name: value for name, value in more.items() if value}

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
            answer_form(self.answer_model)
        except PydanticUserError as error:
            reason = str(error).partition("\n")[0]
            what = "cannot be validated" if self.is_text else "has no JSON schema"
            raise ChainError(f"step {self.id!r}: output_model {what}: {reason}") from None

    def __repr__(self) -> str:
        """The id and the types."""
        types = f"{type_name(self.input_model)} -> {type_name(self.output_model)}"
        return f"Step({self.id!r}, {types})"

"""The values that travel between steps and engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Generic, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass as validated_dataclass
from typing_extensions import TypedDict, TypeVar

from chainette.errors import EngineError
from chainette.messages.brief import brief_call
from chainette.usage import Usage
from chainette.validation import OneMessage, no_truth, one_message

Parsed = TypeVar("Parsed", default=Any)
"""The output type that was asked for."""


class Message(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


Prompt: TypeAlias = str | list[Message]
"""A user's text, or a whole conversation."""


@one_message
@validated_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GuidedDecodingParams:
    """A constraint on the completion's text, for backends that can enforce it.

    Exactly one of the attributes is set.

    Attributes:
        json: A JSON schema.
        regex: A regular expression for the whole text.
        choice: The texts to choose from.
        grammar: A grammar in the backend's own notation.

    Raises:
        ConfigError: A constraint is unknown, wrong, or not the only one.
    """

    json: dict[str, Any] | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None

    def __post_init__(self) -> None:
        """Check that exactly one attribute is set."""
        names = [name for name in ("json", "regex", "choice", "grammar") if getattr(self, name)]
        if len(names) != 1:
            got = ", ".join(names) or "none"
            raise ValueError(f"give exactly one of json, regex, choice, grammar (got: {got})")


class SamplingParams(BaseModel, metaclass=OneMessage):
    """The parameters for sampling a completion; `None` leaves one to the server's default.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus sampling, a probability mass.
        top_k: Sample from the k most likely tokens.
        min_p: Drop tokens less likely than this share of the most likely one.
        max_tokens: Maximum tokens of the completion.
        stop: Texts that end the completion.
        seed: Seed of the random numbers, for servers that accept one.
        presence_penalty: Penalty for tokens seen before, from -2 to 2.
        frequency_penalty: Penalty that grows with a token's count, from -2 to 2.
        repetition_penalty: Factor on tokens seen before; 1 has no effect.
        n: Number of completions for each prompt.
        guided_decoding: A constraint on the text; an output model sets its own.

    Raises:
        ConfigError: A parameter is unknown or out of range.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    stop: list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0)
    n: int = Field(default=1, ge=1)
    guided_decoding: GuidedDecodingParams | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop_text(cls, value: object) -> object:
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and "" in texts:
            raise ValueError("an empty text would end each answer before it begins")
        return texts

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: object, info: ValidationInfo) -> object:
        return no_truth(value, cls.model_fields[str(info.field_name)].annotation)


@dataclass(slots=True)
class Completion(Generic[Parsed]):
    """One completion of a prompt.

    Attributes:
        text: The text as the model wrote it.
        parsed: The instance of the output type, if one was requested and the text is valid. A
            backend may set a value that it has parsed already.
        reasoning_content: The model's reasoning, if the backend reports it separately.
        finish_reason: `stop`, `length`, `content_filter`, `refusal`, or `error`.
        tool_arguments: The arguments of a tool call, where the text is empty and there is one.
        json_text: The part of the text that `parsed` was validated from: JSON, or plain text.
        error: The reason why it cannot be used, or `None`; the core sets it.
        cut_by: What has cut it, in words, where `finish_reason` is `length` and that is not the
            limit of the request.
    """

    text: str
    parsed: Parsed | None = None
    reasoning_content: str | None = None
    finish_reason: str | None = None
    tool_arguments: str | None = field(default=None, repr=False)
    json_text: str | None = field(default=None, repr=False)
    cut_by: str | None = field(default=None, repr=False)
    error: EngineError | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """The beginnings of its texts."""
        return brief_call(
            "Completion",
            text=self.text,
            parsed=self.parsed,
            reasoning_content=self.reasoning_content,
            finish_reason=self.finish_reason,
        )


@dataclass(slots=True)
class LLMOutput(Generic[Parsed]):
    """The output of an engine for one prompt.

    Attributes:
        outputs: The completions; never empty, a failed request has one without text.
        usage: Tokens, or `None` if the server does not report them. The core adds those of earlier
            attempts that were answered.
        error: The reason why there is not a usable answer, or `None`.
        latency: Seconds from sending the request to the end of the answer.
        cost: US dollars for all attempts, or `None` if they are unknown; the core sets it.
        model: Name of the model that answered, where the answer says so.
        service_tier: Name of the service tier that answered, where the answer says so.
        reported_cost: US dollars, where the answer itself reports what it cost.
        requests: Requests that were answered: more than 1 where an answer was not valid, and asked
            for again.
        prompt_cut: Whether the server has read a part of the prompt only, as the engine allows.
        cached: Whether it comes from the cache; `requests` are those that it took once.
    """

    outputs: list[Completion[Parsed]]
    usage: Usage | None = None
    error: EngineError | None = None
    latency: float = 0.0
    cost: Decimal | None = None
    model: str | None = None
    service_tier: str | None = None
    reported_cost: Decimal | None = None
    requests: int = 1
    cached: bool = False
    prompt_cut: bool = False

    def __repr__(self) -> str:
        """The first completion, and what it took."""
        first, more = self.outputs[:1], len(self.outputs) - 1
        usage = self.usage
        return brief_call(
            "LLMOutput",
            text=first[0].text if first else None,
            error=self.error,
            more=f"{more} more" if more > 0 else None,
            tokens=None if usage is None else (usage.prompt_tokens, usage.completion_tokens),
            cost=None if self.cost is None else float(self.cost),
        )

    @classmethod
    def failed(cls, error: EngineError, latency: float = 0.0) -> LLMOutput[Any]:
        """The output of a request that failed with `error`."""
        empty: Completion[Any] = Completion(text=error.raw_text or "", finish_reason="error")
        return cls(outputs=[empty], error=error, latency=latency)

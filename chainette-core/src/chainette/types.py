"""The values that travel between steps and engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass as validated_dataclass
from typing_extensions import TypedDict

from chainette.errors import EngineError

T = TypeVar("T")


class Message(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


Prompt: TypeAlias = str | list[Message]
"""A user's text, or a whole conversation."""


@validated_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class GuidedDecodingParams:
    """A constraint on the completion's text, for backends that can enforce one.

    Exactly one of them is set.

    Attributes:
        json: A JSON schema.
        regex: A regular expression for the whole text.
        choice: The texts to choose from.
        grammar: A grammar in the backend's own notation.
    """

    json: dict[str, Any] | None = None
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None

    def __post_init__(self) -> None:
        """Refuse none and more than one."""
        given = [name for name in ("json", "regex", "choice", "grammar") if getattr(self, name)]
        if len(given) != 1:
            found = ", ".join(given) or "none"
            raise ValueError(f"give exactly one of json, regex, choice, grammar (found: {found})")


class SamplingParams(BaseModel):
    """How an engine samples a completion; `None` leaves a parameter to the server's default.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus sampling, a probability mass.
        top_k: Sample among the k likeliest tokens.
        min_p: Drop tokens less likely than this share of the likeliest one.
        max_tokens: Most tokens of the completion.
        stop: Texts that end the completion.
        seed: Seed of the random numbers, for servers that take one.
        presence_penalty: Penalty for tokens seen before, from -2 to 2.
        frequency_penalty: Penalty that grows with a token's count, from -2 to 2.
        repetition_penalty: Factor on tokens seen before; 1 is none.
        n: Completions for each prompt.
        guided_decoding: A constraint on the text; an output model sets its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
        return [value] if isinstance(value, str) else value


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a request, or many, took.

    Attributes:
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written, those of reasoning included.
        reasoning_tokens: Tokens of reasoning among them.
        cached_tokens: Prompt tokens that the server had in its cache.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by their names."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cached_tokens": self.cached_tokens,
        }

    def __add__(self, other: Usage) -> Usage:
        """Sum of two usages."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(slots=True)
class Completion:
    """One completion of a prompt.

    Attributes:
        text: The text as the model wrote it.
        parsed: The instance of the output model, when one was asked for and the text is valid.
        reasoning_content: The model's reasoning, when the backend reports it apart.
        finish_reason: `stop`, `length`, `content_filter`, `refusal`, or `error`.
    """

    text: str
    parsed: Any = None
    reasoning_content: str | None = None
    finish_reason: str | None = None


@dataclass(slots=True)
class LLMOutput:
    """What came of one prompt.

    Attributes:
        outputs: The completions; never empty, a failed request has one without text.
        usage: Tokens, or `None` when the server does not say.
        error: Why there is no usable answer, or `None`.
        latency: Seconds from sending to the whole answer.
    """

    outputs: list[Completion]
    usage: Usage | None = None
    error: EngineError | None = None
    latency: float = 0.0

    @classmethod
    def failed(cls, error: EngineError, latency: float = 0.0) -> LLMOutput:
        """The output of a request that failed with `error`."""
        empty = Completion(text=error.raw_text or "", finish_reason="error")
        return cls(outputs=[empty], error=error, latency=latency)


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """What came of one input row.

    Attributes:
        row_id: 0-based index of the input row.
        value: Output of the chain's last step, or `None` when the row failed.
        error: Why the row failed, or `None`.
        outputs: Outputs of the steps that yield one and succeeded, by step id.
    """

    row_id: int
    value: T | None = None
    error: Exception | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether the row succeeded."""
        return self.error is None

    def unwrap(self) -> T:
        """Return the value.

        Raises:
            Exception: The row's error, if it failed.
        """
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]

"""One request, as a backend gets it."""

from __future__ import annotations

from dataclasses import dataclass

from chainette.engine.structured.schema import OutputSchema
from chainette.types import Message, SamplingParams


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as a backend gets it.

    Attributes:
        messages: The conversation.
        sampling: How to sample; the parameters that the backend has not are already gone.
        output: The type of the answer, or `None` for plain text.
        mode: How a typed answer is asked for: `json_schema`, `json_object` or `prompt`.
    """

    messages: list[Message]
    sampling: SamplingParams
    output: OutputSchema | None = None
    mode: str = "json_schema"


def with_instruction(messages: list[Message], instruction: str) -> list[Message]:
    """The conversation with an instruction at the end of its system message."""
    if messages and messages[0]["role"] == "system":
        system = f"{messages[0]['content']}\n\n{instruction}"
        return [{"role": "system", "content": system}, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]

"""Changes to conversations."""

from __future__ import annotations

from chainette.types import Message


def with_instruction(messages: list[Message], instruction: str) -> list[Message]:
    """The conversation with an instruction at the end of its system message."""
    if messages and messages[0]["role"] == "system":
        system = f"{messages[0]['content']}\n\n{instruction}"
        return [{"role": "system", "content": system}, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]

"""Scripts of answers: in turn, by words of the prompt, from a function, or made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from pydantic import BaseModel

from chainette.testing.sample import sample
from chainette.types import LLMOutput, Message


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a fake server, whole or broken; `chainette.testing.faults` names the usual ones.

    Attributes:
        text: The model's text; `None` is a valid value for the schema of the request.
        reasoning: The model's reasoning.
        finish_reason: `stop`, `length`, `content_filter` or `refusal`.
        status: HTTP status.
        message: The server's message where `status` is an error.
        headers: Further HTTP headers.
        body: Body to send instead of the protocol's own.
        delay: Seconds until the first byte.
        send: Share of the body that is sent before `then`.
        then: After that share, send nothing more (`stall`) or close the connection (`drop`); `end`
            is a regular answer.
    """

    text: str | None = None
    reasoning: str | None = None
    finish_reason: str = "stop"
    status: int = 200
    message: str = "scripted"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay: float = 0.0
    send: float = 1.0
    then: str = "end"


class InTurn:
    """Answers of a script in turn, of which the last repeats; see `in_turn`.

    Args:
        answers: The answers.
    """

    def __init__(self, *answers: Any) -> None:
        if not answers:
            raise TypeError("in_turn needs at least one answer")
        self._answers = answers
        self._given = 0

    def __repr__(self) -> str:
        """The answers."""
        return f"in_turn({', '.join(map(repr, self._answers))})"

    def next(self) -> Any:
        """The next answer."""
        answer = self._answers[min(self._given, len(self._answers) - 1)]
        self._given += 1
        return answer


def in_turn(*answers: Answer) -> InTurn:
    """Several answers to what one key of a script matches, such as a bad one and then a good one.

    Args:
        *answers: The answers in turn, of which the last repeats.

    Raises:
        TypeError: There is none.
    """
    return InTurn(*answers)


Answer: TypeAlias = (
    str | BaseModel | dict[str, Any] | list[Any] | Reply | LLMOutput | Exception | None
)
"""A text, a value that becomes JSON, or a `Reply` of a server; for a fake engine, also a whole
output or an exception to raise. `None` is a made-up value that is valid for the type."""
Answers: TypeAlias = (
    Sequence[Answer] | Mapping[str, Answer | InTurn] | Callable[[list[Message]], Answer] | None
)
"""Answers in turn, by a text that the user's last message contains, from a function, or made up."""


_CORRECTIONS = ("the answer is ", "engine '")
"""Beginnings of what the core says about an invalid answer."""


class Script:
    """A choice of answers to conversations.

    Args:
        answers: The script.
    """

    def __init__(self, answers: Answers = None) -> None:
        self._answers: Any = answers
        if isinstance(answers, Sequence):
            self._turns: Iterator[Any] = iter(answers)

    def answer(self, messages: Sequence[Message]) -> Any:
        """The answer to a conversation.

        Raises:
            LookupError: The script has none.
        """
        answer = self._found(messages)
        return answer.next() if isinstance(answer, InTurn) else answer

    def _found(self, messages: Sequence[Message]) -> Any:
        if self._answers is None:
            return None
        if callable(self._answers):
            return self._answers(messages)
        prompt = own_turn(messages)
        if isinstance(self._answers, Mapping):
            for words, answer in self._answers.items():
                if words and words in prompt:
                    return answer
            if "" in self._answers:
                return self._answers[""]
            raise LookupError(f"the script has no answer to: {prompt[:200]}")
        for answer in self._turns:
            return answer
        raise LookupError(f"the script has no more answers; the prompt is: {prompt[:200]}")


def own_turn(messages: Sequence[Message]) -> str:
    """The turn of the user that asks for the answer.

    It is the last one that is not about an invalid answer; earlier ones are examples and history.
    """
    for place, message in reversed([*enumerate(messages)]):
        answers = place > 0 and messages[place - 1]["role"] == "assistant"
        is_correction = answers and message["content"].startswith(_CORRECTIONS)
        if message["role"] == "user" and not is_correction:
            return message["content"]
    return messages[-1]["content"]


def text_of(answer: Any, schema: Mapping[str, Any] | None) -> str:
    """The text of an answer; for `None`, a made-up one that is valid for the schema."""
    if answer is None:
        return "text" if schema is None else json.dumps(sample(schema))
    if isinstance(answer, BaseModel):
        return answer.model_dump_json(by_alias=True)
    return answer if isinstance(answer, str) else json.dumps(answer)

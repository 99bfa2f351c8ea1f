"""The requests that functions of a chain make, from the arguments of `ask`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from chainette.engine.client.asking import checked_reasks
from chainette.engine.client.request import check_last
from chainette.engine.sampling import by_attempt, check_attempts
from chainette.engine.structured.schema import output_schema
from chainette.engine.structured.text import fence_of, is_text
from chainette.errors import ChainError
from chainette.types import Message, SamplingParams

_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Question:
    """A request that a function makes.

    Attributes:
        engine: Name of the engine.
        messages: The conversation; with a prefill, its last turn is the start of the answer.
        samplings: The sampling parameters by attempt, of which the last repeat.
        output_model: The type of the answer.
        reasks: Number of times that an invalid answer is put back to the model.
        has_prefill: Whether the last turn is the start of the answer.
    """

    engine: str
    messages: list[Message]
    samplings: tuple[SamplingParams, ...]
    output_model: Any
    reasks: int = 1
    has_prefill: bool = False

    @cached_property
    def digest(self) -> str:
        """A digest of all that shapes the answer."""
        samplings = [it.model_dump(mode="json", exclude_none=True) for it in self.samplings]
        shaping = {
            "engine": self.engine,
            "messages": self.messages,
            "sampling": samplings if len(samplings) > 1 else samplings[0],
            "answer": _form(self.output_model),
        }
        text = json.dumps(shaping, sort_keys=True, default=str)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def question(
    engine: str, prompt: Any, output_model: Any, sampling: Any, reasks: Any, prefill: Any
) -> Question:
    """The request for some arguments, which may be changed afterwards.

    Raises:
        TypeError: The prompt or the prefill is of another type.
        ChainError: The conversation cannot be sent, or the sampling or `reasks` is wrong.
    """
    where = f"calls[{engine!r}].ask"
    samplings = by_attempt(where, sampling)
    if (count := max(it.n for it in samplings)) > 1:
        raise ChainError(f"{where}: n={count} gives one answer; ask {count} times")
    messages = _messages(where, prompt)
    check_last(where, messages)
    if not isinstance(prefill, str):
        raise TypeError(f"{where}: prefill is a {type(prefill).__name__}; give a text")
    # Templates of models cut white space at the end, which the model then writes itself.
    if start := prefill.rstrip():
        messages.append({"role": "assistant", "content": start})
    tries = checked_reasks(where, reasks)
    check_attempts(where, len(samplings), tries)
    return Question(engine, messages, samplings, output_model or str, tries, bool(start))


def _form(output_model: Any) -> Any:
    """The form of an answer: a schema, or the kind of text."""
    if is_text(output_model):
        return ["text", repr(fence_of(output_model))]
    return output_schema(output_model).schema


def _messages(where: str, prompt: Any) -> list[Message]:
    """The conversation of a prompt, as a copy.

    Raises:
        TypeError: It is something else.
        ChainError: A turn is empty.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ChainError(f"{where}: the prompt is empty; give it a text")
        return [{"role": "user", "content": prompt}]
    if not isinstance(prompt, list | tuple) or not prompt:
        kind = "an empty list" if prompt in ([], ()) else f"a {type(prompt).__name__}"
        raise TypeError(f"{where}: the prompt is {kind}; give a text, or a list of messages")
    messages: list[Message] = []
    for index, message in enumerate(prompt):
        is_message = isinstance(message, Mapping) and {*message} == {"role", "content"}
        if not (is_message and message["role"] in _ROLES and isinstance(message["content"], str)):
            raise TypeError(
                f"{where}: a message is a dict of a role ({', '.join(_ROLES)}) and a text as its "
                f"content, not {message!r:.100}"
            )
        if not message["content"].strip():
            about = f"message {index}, of the {message['role']}, is empty"
            raise ChainError(f"{where}: {about}; leave it out, or give it a text")
        messages.append({"role": message["role"], "content": message["content"]})
    return messages

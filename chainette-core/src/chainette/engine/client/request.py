"""The request that a backend receives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from chainette.capabilities import Capabilities
from chainette.engine.config import EngineConfig
from chainette.engine.structured.extract import after_thoughts
from chainette.engine.structured.fallback import Form
from chainette.engine.structured.schema import OutputSchema
from chainette.engine.structured.text import TextOutput
from chainette.errors import ChainError, RequestError
from chainette.events import RequestStarted
from chainette.types import LLMOutput, Message, SamplingParams

LONGEST_ECHO = 8_000
"""Characters of an answer that the model is shown again."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as a backend receives it.

    Attributes:
        messages: The conversation.
        sampling: The sampling parameters; those that the backend does not know are left out.
        output: The type of the answer, or `None` for plain text.
        mode: The output mode of a typed answer: `json_schema` (send the schema), `json_object`
            (ask for any JSON) or `prompt` (ask in words); the last two need the instruction.
        context: What validators of the answer see as `info.context`; not sent.
        text: How a plain text is read, for the core; `None` where it is taken as it is.
        prefill: The start of the answer, which is the last message and is continued, for backends
            with the capability; else empty.
    """

    messages: list[Message]
    sampling: SamplingParams
    output: OutputSchema | None = None
    mode: str = "json_schema"
    context: Mapping[str, Any] | None = field(default=None, repr=False)
    text: TextOutput | None = field(default=None, repr=False)
    prefill: str = ""

    @property
    def way(self) -> Form | None:
        """The way to ask for a typed answer, where the server decides on its form."""
        return None if self.output is None or self.prefill else Form(self.output, self.mode)

    @property
    def most_tokens(self) -> int | None:
        """Maximum tokens of all its completions, if there is a limit."""
        limit = self.sampling.max_tokens
        return None if limit is None else limit * self.sampling.n

    @property
    def form(self) -> OutputSchema | TextOutput | None:
        """How the answer is read; `None` where it is taken as it is."""
        return self.text or self.output


def check_last(where: str, messages: Sequence[Message]) -> None:
    """Check that a conversation ends with the turn of the user.

    Args:
        where: Its step or call, for messages, such as `step 'a'`.
        messages: The conversation, without the start of an answer.

    Raises:
        ChainError: It ends with another, or is empty.
    """
    role = messages[-1]["role"] if messages else None
    if role != "user":
        what = f"the last message is that of the {role}" if role else "there is no message"
        raise ChainError(
            f"{where}: {what}; a conversation ends with the turn of the user"
            + ("; for the start of the answer, use prefill=" if role == "assistant" else "")
        )


def conversation(prompt: str | list[Message]) -> list[Message]:
    """The messages of a prompt; a text is the turn of the user."""
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def prefill_of(messages: list[Message], capabilities: Capabilities) -> str:
    """The start of the answer, where a conversation ends with the turn of the assistant."""
    last = messages[-1] if capabilities.prefill and messages else None
    return last["content"] if last is not None and last["role"] == "assistant" else ""


def refused_end(request: Request, capabilities: Capabilities, backend: str) -> RequestError | None:
    """The error of a conversation that ends as the backend cannot continue it, or `None`.

    Args:
        request: The request.
        capabilities: What the backend can do.
        backend: Its name.
    """
    messages = request.messages
    if capabilities.prefill or not messages or messages[-1]["role"] != "assistant":
        return None
    return RequestError(
        "the last message is that of the assistant; a conversation ends with the turn of the user, "
        f"since the backend {backend!r} cannot continue an answer"
    )


def with_prefill(output: LLMOutput, request: Request) -> LLMOutput:
    """Put the start of the answer in front of what continues it.

    Some servers repeat the start: llama.cpp, and vLLM in some versions
    (https://github.com/vllm-project/vllm/issues/10111). What begins with the start is the whole
    answer, unless JSON was asked for and only the two together are JSON.

    Args:
        output: The output; its completions are changed.
        request: The request.
    """
    if not (start := request.prefill):
        return output
    for completion in output.outputs:
        is_other = completion.finish_reason in ("refusal", "content_filter")
        is_elsewhere = not completion.text and completion.tool_arguments
        if is_other or is_elsewhere:
            continue
        text = completion.text
        is_repeated = text.startswith(start)
        if not is_repeated or (request.output is not None and is_json(start + text)):
            completion.text = start + text
    return output


def is_json(text: str) -> bool:
    """Whether a text is one whole JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def with_instruction(messages: list[Message], instruction: str) -> list[Message]:
    """Add an instruction to the end of a conversation's system message.

    Args:
        messages: The conversation; it is not changed.
        instruction: The text, such as `request.output.instruction`; empty for none.

    Returns:
        The new conversation, with a system message in front where there was none.
    """
    if not instruction:
        return messages
    if messages and messages[0]["role"] == "system":
        if messages[0]["content"].endswith(instruction):
            return messages  # of a second try
        system = f"{messages[0]['content']}\n\n{instruction}"
        return [{"role": "system", "content": system}, *messages[1:]]
    return [{"role": "system", "content": instruction}, *messages]


def with_correction(messages: list[Message], answer: str, problem: str) -> list[Message]:
    """Add the model's own answer to a conversation, and what is wrong with it.

    Args:
        messages: The conversation; it is not changed.
        answer: The answer, which may have thoughts in front; of a long one, both ends are shown.
        problem: The problem.

    Returns:
        The new conversation. Where there is no answer, the last message has the problem, since
        templates of models want turns to alternate. The start of an answer stays the last one.
    """
    if len(messages) > 1 and messages[-1]["role"] == "assistant":
        return [*with_correction(messages[:-1], answer, problem), messages[-1]]
    answer = after_thoughts(answer).strip() or answer.strip()
    if len(answer) > LONGEST_ECHO:
        half = LONGEST_ECHO // 2
        answer = f"{answer[:half]}\n[…]\n{answer[-half:]}"
    if answer:
        turns: list[Message] = [
            {"role": "assistant", "content": answer},
            {"role": "user", "content": problem},
        ]
        return [*messages, *turns]
    last = messages[-1]
    return [*messages[:-1], {"role": last["role"], "content": f"{last['content']}\n\n{problem}"}]


def supported(sampling: SamplingParams, known: Set[str]) -> tuple[SamplingParams, set[str]]:
    """Split sampling parameters into those that a backend knows and the others.

    Args:
        sampling: The parameters.
        known: Names of those that the backend knows.

    Returns:
        The parameters that are known, and the names of the others.
    """
    missing = sampling.model_fields_set - known - {"n"}
    dropped = {name for name in missing if getattr(sampling, name) is not None}
    if sampling.n > 1 and "n" not in known:
        dropped.add("n")
    if not dropped:
        return sampling, dropped
    fields = {name: getattr(sampling, name) for name in sampling.model_fields_set - dropped}
    return SamplingParams.model_construct(**fields), dropped


def started(
    config: EngineConfig, model: str | None, address: str, request: Request
) -> RequestStarted:
    """The event of a request that is about to be sent.

    Args:
        config: The engine.
        model: The model that is asked for, if it has a name.
        address: The start of the server's URLs.
        request: The request.
    """
    return RequestStarted(
        engine=config.name,
        backend=config.backend,
        model=model or config.name,
        address=address,
        messages=request.messages,
        sampling=request.sampling,
        is_typed=request.output is not None,
    )

"""Engines without a network, for tests of chains."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

from pydantic import BaseModel

from chainette.engine import client as engine_client
from chainette.engine import registry
from chainette.engine.client import BaseClient, Request
from chainette.engine.config import EngineConfig
from chainette.errors import EngineError
from chainette.plugins.backend import Capabilities
from chainette.testing.sample import sample
from chainette.types import Completion, LLMOutput, Message, SamplingParams, Usage

Answer: TypeAlias = str | BaseModel | dict[str, Any] | list[Any] | LLMOutput | Exception
"""A text, a value that becomes JSON, a whole output, or an exception to fail with."""
Answers: TypeAlias = (
    Sequence[Answer] | Mapping[str, Answer] | Callable[[list[Message]], Answer] | None
)
"""Answers in turn; by a text that the user's message contains; by a function; or made up."""


class FakeClient(BaseClient):
    """An engine that answers by script, or with a valid value of whatever type is asked for.

    Args:
        config: The engine's configuration.
        answers: The script.

    Attributes:
        requests: The messages of every request so far.
    """

    offline = True

    def __init__(self, config: EngineConfig, answers: Answers = None) -> None:
        sampling = frozenset(SamplingParams.model_fields)
        super().__init__(config, Capabilities(json_schema=True, sampling=sampling))
        self._answers: Any = answers
        if isinstance(answers, Sequence):
            self._answers = iter(answers)
        self.requests: list[list[Message]] = []

    async def _chat(self, request: Request) -> LLMOutput:
        self.requests.append(request.messages)
        answer = self._answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, LLMOutput):
            return answer
        text = _text(answer)
        words = sum(len(message["content"].split()) for message in request.messages)
        completion = Completion(text, finish_reason="stop")
        return LLMOutput([completion], usage=Usage(words, len(text.split())))

    def _answer(self, request: Request) -> Answer:
        if self._answers is None:
            return "text" if request.output is None else json.dumps(sample(request.output.schema))
        if callable(self._answers):
            return cast("Answer", self._answers(request.messages))
        asked = request.messages[-1]["content"]
        if isinstance(self._answers, Mapping):
            for words, answer in self._answers.items():
                if words in asked:
                    return cast("Answer", answer)
            raise EngineError(f"the script has no answer to: {asked[:200]}")
        for answer in self._answers:
            return cast("Answer", answer)
        raise EngineError(f"the script has no more answers; asked was: {asked[:200]}")


def _text(answer: Any) -> str:
    if isinstance(answer, BaseModel):
        return answer.model_dump_json(by_alias=True)
    return answer if isinstance(answer, str) else json.dumps(answer)


@contextmanager
def fake_engine(name: str, answers: Any = None, **fields: Any) -> Iterator[FakeClient]:
    """Put a fake in the place of an engine.

    Args:
        name: Name of the engine that steps refer to.
        answers: `None` for made-up valid answers, a list of answers in turn, a dict from words of
            the prompt to answers, or a function of the messages. An answer is a text, a model, a
            JSON value, an `LLMOutput`, or an exception to fail with.
        **fields: Further fields of `EngineConfig`, such as `max_concurrency`.

    Yields:
        The fake; its `requests` are what it was asked.
    """
    client = FakeClient(EngineConfig(name=name, backend="fake", **fields), answers)
    with registry.replaced(client):
        yield client


@contextmanager
def forbid_requests() -> Iterator[None]:
    """Forbid every request of a real engine, in all threads, until the block ends."""
    before = engine_client.requests_are_forbidden
    engine_client.requests_are_forbidden = True
    try:
        yield
    finally:
        engine_client.requests_are_forbidden = before

"""Engines without a network, for tests of chains."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import _GeneratorContextManager, contextmanager
from typing import Any

from chainette.capabilities import Capabilities
from chainette.engine.client import base as engine_client
from chainette.engine.client.base import BaseClient
from chainette.engine.client.request import Request
from chainette.engine.config import EngineConfig
from chainette.errors import EngineError
from chainette.registry import engines as registry
from chainette.testing.sample import sample
from chainette.testing.script import Answers, Reply, Script, text_of
from chainette.types import Completion, LLMOutput, Message, SamplingParams
from chainette.usage import Usage

_logger = logging.getLogger(__name__)


class FakeClient(BaseClient):
    """The client of an engine that answers from a script, or with valid made-up values.

    Args:
        config: The engine's configuration.
        answers: The script.

    Attributes:
        requests: The messages of every request so far.
        samplings: The sampling parameters of every request so far.
    """

    offline = True

    def __init__(self, config: EngineConfig, answers: Answers = None) -> None:
        sampling = frozenset(SamplingParams.model_fields)
        super().__init__(config, Capabilities(json_schema=True, prefill=True, sampling=sampling))
        self._script = Script(answers)
        self._is_spent = False
        self.requests: list[list[Message]] = []
        self.samplings: list[SamplingParams] = []

    async def _chat(self, request: Request) -> LLMOutput:
        self.requests.append(request.messages)
        self.samplings.append(request.sampling)
        outputs = [self._answer(request) for _ in range(request.sampling.n)]
        if len(outputs) == 1:
            return outputs[0]
        usages = [it.usage or Usage() for it in outputs]
        tokens = sum(it.completion_tokens for it in usages)
        completions = [it.outputs[0] for it in outputs]
        return LLMOutput(completions, usage=Usage(usages[0].prompt_tokens, tokens))

    def _answer(self, request: Request) -> LLMOutput:
        try:
            answer = self._script.answer(request.messages)
        except LookupError as error:
            if not self._is_spent:  # a chain may tolerate the error without a word
                self._is_spent = True
                _logger.warning("fake engine %r: %s", self.config.name, error)
            raise EngineError(str(error)) from None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, LLMOutput):
            return answer
        if isinstance(answer, Reply) and answer != Reply():
            return _output_of(answer)
        answer = None if isinstance(answer, Reply) else answer
        if answer is None and request.text is not None:
            answer = sample(request.text.schema)
        text = text_of(answer, request.output.schema if request.output else None)
        words = sum(len(message["content"].split()) for message in request.messages)
        completion = Completion(text, finish_reason="stop")
        return LLMOutput([completion], usage=Usage(words, len(text.split())))


def _output_of(reply: Reply) -> LLMOutput:
    """The output that a reply of a server stands for, without the server.

    Raises:
        EngineError: It needs a server.
    """
    whole = Reply(reply.text, reply.reasoning, reply.finish_reason)
    if reply != whole or reply.text is None:
        raise EngineError(
            f"a fake engine has no connection for {reply!r:.200}: use a server of "
            "chainette.testing.servers, or an exception of chainette.errors as the answer"
        )
    completion: Completion[Any] = Completion(reply.text, None, reply.reasoning, reply.finish_reason)
    return LLMOutput([completion], usage=Usage(0, len(reply.text.split())))


def fake_engine(
    name: str, answers: Any = None, **fields: Any
) -> _GeneratorContextManager[FakeClient]:
    """Replace an engine with a fake one, inside the block of a `with`.

    Args:
        name: Name of the engine in steps.
        answers: A list of answers in turn, a dict from words of the user's last turn to answers (or
            several, with `in_turn`), a function of the messages, or `None` for made-up answers that
            are valid. An answer is a text, a model, a JSON value, an `LLMOutput`, an exception to
            raise, or one of `faults` that needs no server, such as `faults.cut()`.
        **fields: Further fields of `EngineConfig`, such as `max_concurrency`.

    Returns:
        The block's manager, which gives the fake engine; its `requests` are the messages of every
        request.
    """
    registry.made(name)
    return _fake_engine(name, answers, fields)


@contextmanager
def _fake_engine(name: str, answers: Any, fields: dict[str, Any]) -> Iterator[FakeClient]:
    fields = {"max_retries": 0, **fields}  # an exception in the script is the answer
    client = FakeClient(EngineConfig(name=name, backend="fake", **fields), answers)
    with registry.replaced(client):
        yield client


@contextmanager
def forbid_requests() -> Iterator[None]:
    """Forbid the requests of real engines, in all threads, until the block ends."""
    before = engine_client.requests_are_forbidden
    engine_client.requests_are_forbidden = True
    try:
        yield
    finally:
        engine_client.requests_are_forbidden = before

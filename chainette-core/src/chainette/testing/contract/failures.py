"""Checks of failures: each stays with its prompt, has the right class, and ends."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from pydantic import BaseModel

from chainette.engine.client.base import BaseClient
from chainette.errors import (
    AuthenticationError,
    ContextLengthError,
    EngineConnectionError,
    EngineError,
    EngineTimeoutError,
    NotFoundError,
    RateLimitError,
    RequestError,
    ServerError,
)
from chainette.testing import faults
from chainette.testing.contract.checks import PATIENCE, Checks, MakeEngine
from chainette.testing.script import Reply
from chainette.types import LLMOutput

FAULTS: dict[str, tuple[Reply, type[EngineError]]] = {
    "400": (faults.status(400), RequestError),
    "401": (faults.status(401), AuthenticationError),
    "403": (faults.status(403), AuthenticationError),
    "404": (faults.status(404), NotFoundError),
    "422": (faults.status(422), RequestError),
    "429": (faults.status(429, retry_after="0"), RateLimitError),
    "500": (faults.status(500), ServerError),
    "503": (faults.status(503), ServerError),
    "redirect": (faults.status(307), RequestError),
    "html page": (faults.html_page(), ServerError),
    "html page with status 200": (faults.html_page(200), ServerError),
    "truncated json": (faults.truncated_json(), ServerError),
    "json of another kind": (Reply(body=b'["what"]'), ServerError),
    "empty body": (Reply(body=b""), ServerError),
    "connection dropped": (faults.dropped(), EngineConnectionError),
    "connection dropped before the body": (faults.dropped(0.0), EngineConnectionError),
    "slow first byte": (faults.slow(PATIENCE), EngineTimeoutError),
    "stalled body": (faults.stalled(), EngineTimeoutError),
}
"""The faults of a connection, and the classes of their errors."""


class Number(BaseModel):
    """A type of answers."""

    n: int


class FailureChecks(Checks):
    """Checks of failures."""

    def test_a_failing_prompt_fails_alone(self, engine: BaseClient, server: Any) -> None:
        """The other prompts are answered; the error names the engine."""
        self.needs_script(server)
        server.set_answers({"bad": self.failure, "": "fine"})
        outputs = engine.generate(["row 1", "bad row", "row 3"])
        assert [output.error is None for output in outputs] == [True, False, True]
        assert [output.outputs[0].text for output in outputs[::2]] == ["fine", "fine"]
        assert isinstance(outputs[1].error, EngineError)
        assert engine.config.name in str(outputs[1].error)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_of_the_connection_becomes_its_error(
        self, fault: str, make_engine: MakeEngine, server: Any
    ) -> None:
        """It does so in finite time, and the other prompts are answered."""
        self.needs_http(server)
        reply, error = FAULTS[fault]
        server.set_answers({"bad": reply, "": "fine"})
        is_silent = error is EngineTimeoutError
        engine = make_engine(max_retries=0, timeout=1.0 if is_silent else 2 * PATIENCE)
        outputs = _within_patience(engine, ["row 1", "bad row", "row 3"])
        assert [output.error is None for output in outputs] == [True, False, True]
        assert type(outputs[1].error) is error
        assert outputs[1].outputs, "a failed output has one empty completion"

    @pytest.mark.parametrize("fault", ["429", "503", "truncated json", "connection dropped"])
    def test_a_transient_failure_is_sent_again(
        self, fault: str, make_engine: MakeEngine, server: Any
    ) -> None:
        """The second answer is the output."""
        self.needs_http(server)
        server.set_answers([FAULTS[fault][0], "fine"])
        output = _within_patience(make_engine(max_retries=2), ["row 1"])[0]
        assert output.error is None
        assert output.outputs[0].text == "fine"
        assert len(server.requests) == 2

    @pytest.mark.parametrize("fault", ["400", "401", "404", "422", "redirect"])
    def test_a_permanent_failure_is_sent_once(
        self, fault: str, make_engine: MakeEngine, server: Any
    ) -> None:
        """A wrong request, key or model does not improve."""
        self.needs_http(server)
        server.set_answers([FAULTS[fault][0], "fine"])
        output = _within_patience(make_engine(max_retries=2), ["row 1"])[0]
        assert type(output.error) is FAULTS[fault][1]
        assert len(server.requests) == 1

    @pytest.mark.parametrize("output_model", [None, Number], ids=["text", "typed"])
    def test_a_prompt_that_is_too_long_is_not_cut(
        self, output_model: Any, make_engine: MakeEngine, server: Any
    ) -> None:
        """It is an error of its row, sent once, and never taken for a refused schema."""
        self.needs_http(server)
        server.set_answers({"long": faults.too_long(), "": '{"n": 1}'})
        engine = make_engine(max_retries=2)
        long, short = engine.generate(["long row", "row 2"], output_model=output_model)
        assert type(long.error) is ContextLengthError
        assert (long.error.prompt_tokens, long.error.context_tokens) == (9000, 4096)
        assert short.error is None
        assert len(server.requests) == 2

    def test_a_huge_answer_arrives_whole(self, engine: BaseClient, server: Any) -> None:
        """It has five million characters."""
        self.needs_http(server)
        server.set_answers(lambda _: faults.huge())
        output = engine.generate(["row 1"])[0]
        assert output.error is None
        assert len(output.outputs[0].text) == 5_000_000

    def test_a_server_that_is_down_is_unreachable(
        self, make_engine: MakeEngine, server: Any
    ) -> None:
        """The error stops the run, since every row would fail."""
        self.needs_http(server)
        engine = make_engine(max_retries=0)
        server.close()
        output = _within_patience(engine, ["row 1"])[0]
        assert output.error is not None
        assert output.error.unusable


def _within_patience(engine: BaseClient, prompts: list[str]) -> list[LLMOutput]:
    async def call() -> list[LLMOutput]:
        with anyio.fail_after(PATIENCE):
            try:
                return await engine.agenerate(prompts)
            finally:
                await engine.aclose()

    return anyio.run(call)

"""Concurrency: caps, threads, event loops and cancellation."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio

from chainette.engine.client.base import BaseClient
from chainette.testing import faults
from chainette.testing.contract.checks import PATIENCE, Checks, MakeEngine, eventually
from chainette.testing.script import Reply
from chainette.types import LLMOutput, Message, SamplingParams

BRIEF = SamplingParams(max_tokens=8)


def echo(messages: list[Message]) -> Reply:
    """Repeat the prompt, a little later."""
    return Reply(messages[-1]["content"], delay=0.02)


class ConcurrencyChecks(Checks):
    """Checks of engines that tasks, threads and event loops share."""

    def test_no_more_requests_are_in_flight_than_max_concurrency(
        self, make_engine: MakeEngine, server: Any
    ) -> None:
        """The limit is reached when there are enough prompts."""
        self.needs_script(server)
        server.set_answers(lambda _: Reply("fine", delay=0.1))
        outputs = make_engine(max_concurrency=3).generate(["row"] * 12)
        assert [output.error for output in outputs] == [None] * 12
        assert server.peak == 3

    def test_a_long_queue_in_front_of_the_server_fails_no_prompt(
        self, make_engine: MakeEngine, server: Any
    ) -> None:
        """What the server does not answer in time is not sent again all at once."""
        self.needs_http(server)
        server.slots = 1
        server.set_answers(lambda _: Reply("fine", delay=0.04))
        engine = make_engine(max_concurrency=64, timeout=0.5)
        engine.generate(["row"])  # imports take time, too
        outputs = engine.generate(["row"] * 64)
        assert [output.error for output in outputs] == [None] * 64
        assert len(server.requests) <= 150, "204 if all that is late is sent again at once"

    def test_generate_works_inside_a_running_event_loop(
        self, engine: BaseClient, server: Any
    ) -> None:
        """A notebook cell does so."""

        async def cell() -> list[LLMOutput]:
            return engine.generate(["row 1", "row 2"], BRIEF)

        assert [output.error for output in asyncio.run(cell())] == [None, None]

    def test_an_engine_serves_several_threads(self, engine: BaseClient, server: Any) -> None:
        """Each thread receives its own answers."""
        if server is not None:
            server.set_answers(echo)

        def work(thread: int) -> list[LLMOutput]:
            return engine.generate([f"thread {thread} row {row}" for row in range(4)], BRIEF)

        with ThreadPoolExecutor(6) as threads:
            batches = list(threads.map(work, range(6)))
        assert [output.error for batch in batches for output in batch] == [None] * 24
        if server is not None:
            texts = [[output.outputs[0].text for output in batch] for batch in batches]
            assert texts == [[f"thread {t} row {row}" for row in range(4)] for t in range(6)]

    def test_an_engine_serves_one_event_loop_after_another(self, engine: BaseClient) -> None:
        """The first loop may end without closing anything."""

        async def call() -> LLMOutput:
            output = await engine.complete("row 1", BRIEF)
            await engine.aclose()
            return output

        assert [anyio.run(call).error for _ in range(3)] == [None] * 3

    def test_cancelled_requests_leave_nothing_behind(
        self, make_engine: MakeEngine, server: Any
    ) -> None:
        """No task and no connection is left, and the engine works as before."""
        self.needs_script(server)
        engine = make_engine(max_concurrency=4)

        async def cancel_some() -> list[LLMOutput]:
            with anyio.move_on_after(0.3):
                await engine.agenerate(["slow row"] * 8)
            task = asyncio.ensure_future(engine.complete("slow row"))
            await anyio.sleep(0.1)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled(), "the cancellation was swallowed"
            await anyio.sleep(0.05)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            with anyio.fail_after(PATIENCE):
                outputs = await engine.agenerate(["row"] * 8)
            await engine.aclose()
            return outputs

        server.set_answers({"slow": faults.slow(60), "": "fine"})
        outputs = anyio.run(cancel_some)
        assert [output.error for output in outputs] == [None] * 8
        assert eventually(lambda: server.connections == 0), "connections were left open"

    def test_a_closed_engine_leaves_no_connection_and_can_be_used_again(
        self, engine: BaseClient, server: Any
    ) -> None:
        """`generate` closes its connections."""
        self.needs_script(server)
        for _ in range(2):
            assert engine.generate(["row 1"])[0].error is None
            assert eventually(lambda: server.connections == 0), "connections were left open"

"""Steps that take several answers for an item, each of them durable."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from chainette.engine.client.asking import Asks
from chainette.errors import ContextLengthError, EngineError, RequestError
from chainette.events import CallFinished
from chainette.pipeline.functions.questions import Question
from chainette.pipeline.nodes.step import Step
from chainette.run.item import Item
from chainette.run.output.calls import Replay, answer_of
from chainette.run.output.lines import Sample
from chainette.run.schedule.flow.asking import Engines
from chainette.types import LLMOutput, Message, SamplingParams
from chainette.usage import FREE, Spending


class Samples:
    """Takes the answers of steps with `samples`, and writes each down as soon as it is there.

    The lines are those of calls of functions, in `steps/<id>.calls`: a run that is resumed asks
    for those alone that are missing.

    Args:
        engines: The engines.
    """

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._one_by_one: set[str] = set()  # engines that take no `n`, whatever they say

    async def take(
        self, step: Step, item: Item, messages: list[Message], names: Mapping[str, Any]
    ) -> tuple[list[Sample], Spending, Spending]:
        """The answers of a step for an item, in their order, and what they took.

        Args:
            step: The step.
            item: The item.
            messages: Its prompt.
            names: The values that validators of the answers see.

        Returns:
            The answers, what all of them took, and what those of this run took.

        Raises:
            EngineError: The run cannot go on, or no answer can be used.
        """
        work = _Work(self._engines, self._one_by_one, step, item, messages, names)
        await work.run()
        found = [work.samples[it] for it in range(step.samples or 1)]
        errors = [it.error for it in found if it.error is not None]
        final = next((it for it in errors if isinstance(it, EngineError) and it.final), None)
        if final is not None or len(errors) == len(found):
            raise _whole(final or errors[0], len(found), work.paid)
        return found, work.paid, work.spent


def _may_be_n(error: EngineError | None) -> bool:
    """Whether a request may have been refused since it asks for several completions."""
    return isinstance(error, RequestError) and not isinstance(error, ContextLengthError)


def _whole(error: Exception, count: int, paid: Spending) -> Exception:
    """The error of a step that has no answer, with what all of them took."""
    if isinstance(error, EngineError):
        error.usage, error.cost, error.calls = paid.usage, paid.cost, count
    return error


class _Work:
    """The answers for one item."""

    def __init__(
        self,
        engines: Engines,
        one_by_one: set[str],
        step: Step,
        item: Item,
        messages: list[Message],
        names: Mapping[str, Any],
    ) -> None:
        self._engines = engines
        self._one_by_one = one_by_one
        self._step = step
        self._item = item
        self._names = names
        self._client = engines.clients[step.engine_name]
        more = step.samplings, step.answer_model, step.reasks
        self._question = Question(step.engine_name, messages, *more)
        self._attempt = engines.journal.calls.attempt(step.id, item)
        self.samples: dict[int, Sample] = {}
        self.paid = Spending()
        self.spent = Spending()

    async def run(self) -> None:
        """Take those that an earlier run has, and ask for the others."""
        for sample in range(self._step.samples or 1):
            if (replay := self._earlier(sample)) is not None:
                self.samples[sample] = Sample(replay.value, replay.error)
                self.paid.add(replay.usage, replay.cost)
        missing = [it for it in range(self._step.samples or 1) if it not in self.samples]
        if len(missing) > 1 and self._can_be_together:
            missing = await self._together(missing)
        await asyncio.gather(*map(self._alone, missing))

    @property
    def _can_be_together(self) -> bool:
        can_do_so = "n" in self._client.capabilities.sampling
        is_known = self._step.engine_name not in self._one_by_one
        return can_do_so and is_known and self._step.sampled.can_be_together

    def _earlier(self, sample: int) -> Replay | None:
        """What an earlier run has of a sample: a valid answer, or a failure that still counts."""
        for attempt in range(self._attempt, -1, -1):
            place = self._place(sample, attempt)
            found = self._engines.journal.calls.find(
                self._step.id, self._item, self._question, place, self._names
            )
            if found is not None and (found.error is None or attempt == self._attempt):
                return found
        return None

    def _place(self, sample: int, attempt: int) -> dict[str, Any]:
        first = {"attempt": attempt} if attempt else {}
        return {**first, "call": self._question.digest, "nth": sample}

    async def _together(self, missing: list[int]) -> list[int]:
        """Ask for several at once, and return those that are still missing."""
        sampling = self._step.sampled.together(len(missing))
        output, fields = await self._asked(sampling, self._asks(()))
        has_failed = output.error is not None and not any(it.error for it in output.outputs)
        if has_failed and _may_be_n(output.error):
            await self._alone(missing[0])
            if self.samples[missing[0]].error is None:  # it was `n` that was refused
                self._one_by_one.add(self._step.engine_name)
                return missing[1:]
            return self._all_failed(missing[1:], output)
        if has_failed:
            return self._all_failed(missing, output, is_paid=True)
        if len(output.outputs) < len(missing):
            self._one_by_one.add(self._step.engine_name)
        for sample, completion in zip(missing, output.outputs, strict=False):
            part: LLMOutput[Any] = replace(output, outputs=[completion], error=completion.error)
            if sample != missing[0]:  # the first one has what all of them took
                part.usage, part.cost, part.requests = None, FREE, 0
            self._done(sample, part, fields if sample == missing[0] else {})
        return missing[len(output.outputs) :]

    def _all_failed(
        self, missing: list[int], output: LLMOutput, *, is_paid: bool = False
    ) -> list[int]:
        unpaid = replace(output, usage=None, cost=FREE, requests=0)
        for sample in missing:
            self._done(sample, output if is_paid and sample == missing[0] else unpaid, {})
        return []

    async def _alone(self, sample: int) -> None:
        samplings = self._step.sampled.of(sample)
        later = samplings if len(samplings) > 1 else ()
        output, fields = await self._asked(samplings[0], self._asks(later))
        self._done(sample, output, fields)

    def _asks(self, samplings: Sequence[SamplingParams]) -> Asks:
        accounts = self._engines.accounts
        bound = accounts.of(self._item.owner) if accounts.is_limited else None
        return Asks(self._step.reasks, samplings, bound=bound)

    async def _asked(
        self, sampling: SamplingParams, asks: Asks
    ) -> tuple[LLMOutput, dict[str, Any]]:
        turn = self._engines.turn(self._step)
        output = await self._client.complete(
            self._question.messages,
            sampling,
            output_model=self._step.answer_type,
            context=self._names,
            cache=turn,
            asks=asks,
            on_retry=partial(self._engines.retried, self._step, self._item),
        )
        return output, {**turn.fields} if turn is not None else {}

    def _done(self, sample: int, output: LLMOutput, fields: Mapping[str, Any]) -> None:
        """Count a sample and write it down; one that ended the run is asked for again."""
        step, engines = self._step, self._engines
        is_end = engines.watch.check(step.engine_name, output.error)
        place = {} if is_end else self._place(sample, self._attempt)
        engines.journal.ledger.add(step.id, output.usage, output.cost)
        engines.journal.calls.done(step.id, self._item, self._question, output, {**fields, **place})
        for spending in (self.paid, self.spent):
            spending.add(output.usage, output.cost)
        took, row = (output.usage, output.latency, output.cost), self._item.event_row
        name = self._item.name
        engines.emit(CallFinished(step.id, row, name, step.engine_name, *took, output.error))
        value = answer_of(output) if output.error is None else None
        self.samples[sample] = Sample(value, output.error)

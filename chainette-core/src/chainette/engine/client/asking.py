"""Asking again: how often an invalid answer is put back to the model, and within which bound."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol, TypeAlias

from chainette.engine.client.request import Request, with_correction, with_instruction
from chainette.engine.client.retry import OnRetry
from chainette.errors import EngineError, RowBudgetError, StructuredOutputError
from chainette.types import LLMOutput, Message, SamplingParams
from chainette.usage import Spending

Ask: TypeAlias = Callable[[Request, Spending, OnRetry], Awaitable[LLMOutput]]
"""Asks once, and validates the answer."""


class Bound(Protocol):
    """The bound of what requests that belong together may take, such as those of one row."""

    def check(self) -> None:
        """Check that one more request may be sent.

        Raises:
            RowBudgetError: None may.
        """

    def before(self) -> None:
        """Count a request that is about to be sent.

        Raises:
            RowBudgetError: None may be sent.
        """

    def after(self, requests: int, cost: Decimal | None) -> None:
        """Count what came of it.

        Args:
            requests: Requests that were answered; 0 where it failed.
            cost: US dollars, or `None` if they are unknown.
        """


@dataclass(frozen=True, slots=True)
class Asks:
    """The requests that one answer may take.

    Attributes:
        reasks: Number of times that an invalid answer is put back to the model.
        sampling: The sampling parameters by attempt, of which the last repeat; where it is empty,
            those of the first request serve all.
        first: Number of attempts before the first request.
        bound: The bound of the row's requests, or `None`.
    """

    reasks: int = 1
    sampling: Sequence[SamplingParams] = ()
    first: int = 0
    bound: Bound | None = None

    @property
    def later(self) -> Sequence[SamplingParams]:
        """The sampling parameters after those of the first request, where there are others."""
        return self.sampling[self.first + 1 : self.first + 1 + self.reasks]

    def at(self, tries: int) -> SamplingParams | None:
        """The sampling parameters after a number of invalid answers; `None` for the same again."""
        if not self.sampling:
            return None
        return self.sampling[min(self.first + tries, len(self.sampling) - 1)]


ONE_MORE = Asks()
"""An invalid answer is put back once."""


def within(bound: Bound, ask: Ask) -> Ask:
    """Asking that keeps a bound."""

    async def asked(request: Request, spending: Spending, on_retry: OnRetry) -> LLMOutput:
        bound.before()
        requests, cost = spending.requests, spending.cost
        try:
            return await ask(request, spending, on_retry)
        finally:
            now = spending.cost
            paid = None if now is None or cost is None else now - cost
            bound.after(spending.requests - requests, paid)

    return asked


async def ask_again(
    ask: Ask,
    request: Request,
    output: LLMOutput,
    asks: Asks,
    spending: Spending,
    on_retry: OnRetry,
    supported: Callable[[SamplingParams], SamplingParams],
) -> LLMOutput:
    """Put an invalid answer back to the model, until one is valid or all tries are used up.

    The conversation is the prompt, the last answer and its problem. Earlier tries are left out: the
    prompt would grow with each, and models repeat the mistakes that they see.

    Args:
        ask: Asks once.
        request: The first request.
        output: The invalid answer to it.
        asks: The number of tries and their sampling.
        spending: The tokens and the cost so far.
        on_retry: Called before every further request.
        supported: Drops the sampling parameters that the backend does not know.
    """
    instruction = request.output.instruction if request.output else ""
    base = replace(request, messages=with_instruction(request.messages, instruction))
    for tries in range(1, asks.reasks + 1):
        invalid = output.error
        if not isinstance(invalid, StructuredOutputError):
            break
        again = replace(request, messages=_corrected(base, invalid, asks.bound))
        if (sampling := asks.at(tries)) is not None:
            again = replace(again, sampling=supported(sampling))
        on_retry(invalid, 0.0)
        try:
            output = await ask(again, spending, on_retry)
        except EngineError as error:
            if error.final:
                raise
            break
    return output


def _corrected(
    request: Request, invalid: StructuredOutputError, bound: Bound | None
) -> list[Message]:
    """The conversation with an invalid answer and its problem.

    Raises:
        RowBudgetError: The answer may not be put back; the message has the problem, too.
    """
    answer, problem = invalid.raw_text or "", invalid.problem or str(invalid)
    try:
        if bound is not None:
            bound.check()
    except RowBudgetError as error:
        message = f"the last answer was not accepted ({problem}), and {error}"
        raise RowBudgetError(message, raw_text=invalid.raw_text) from None
    said = request.text.spoken(answer) if request.text else answer
    return with_correction(request.messages, said, problem)

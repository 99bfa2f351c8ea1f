"""Asking again for answers that are invalid or cut: how often, and within which bound."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

from chainette.engine.client.request import Request, with_correction, with_instruction
from chainette.engine.client.retry import OnRetry
from chainette.errors import (
    ChainError,
    EngineError,
    OutputError,
    OutputTruncatedError,
    RowBudgetError,
    StructuredOutputError,
)
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
        reasks: Number of times that an answer that is invalid, or was cut, is asked for again.
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


def checked_reasks(owner: str, reasks: Any) -> int:
    """The number of times that an invalid answer is put back to the model.

    Args:
        owner: The step or call, for messages, such as `step 'a'`.
        reasks: The number.

    Raises:
        ChainError: It is something else.
    """
    if isinstance(reasks, int) and not isinstance(reasks, bool) and reasks >= 0:
        return reasks
    raise ChainError(
        f"{owner}: reasks is {reasks!r}; give the number of times that an invalid answer is "
        "asked for again, from 0"
    )


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
    """Ask again for an answer that cannot be used, until one can or all tries are used up.

    An answer that was cut is asked for only with other sampling: the same may be cut again.

    Args:
        ask: Asks once.
        request: The first request.
        output: The answer to it that cannot be used.
        asks: The number of tries and their sampling.
        spending: The tokens and the cost so far.
        on_retry: Called before every further request.
        supported: Drops the sampling parameters that the backend does not know.
    """
    again = _each_again if request.sampling.n > 1 else _one_again
    return await again(ask, request, output, asks, spending, on_retry, supported)


async def _one_again(
    ask: Ask,
    request: Request,
    output: LLMOutput,
    asks: Asks,
    spending: Spending,
    on_retry: OnRetry,
    supported: Callable[[SamplingParams], SamplingParams],
) -> LLMOutput:
    """Ask again for one answer; see `ask_again`."""
    sampling = request.sampling
    for tries in range(1, asks.reasks + 1):
        unusable, given = output.error, asks.at(tries)
        later = sampling if given is None else supported(given)
        if not isinstance(unusable, StructuredOutputError | OutputTruncatedError):
            break
        if isinstance(unusable, OutputTruncatedError) and not _gives_more(sampling, later):
            continue
        sampling, messages = later, _messages(request, unusable, asks.bound)
        on_retry(unusable, 0.0)
        try:
            again = replace(request, messages=messages, sampling=sampling)
            output = await ask(again, spending, on_retry)
        except EngineError as error:
            if error.final:
                raise
            break
    return output


async def _each_again(
    ask: Ask,
    request: Request,
    output: LLMOutput,
    asks: Asks,
    spending: Spending,
    on_retry: OnRetry,
    supported: Callable[[SamplingParams], SamplingParams],
) -> LLMOutput:
    """Ask again for those of several completions that cannot be used; see `ask_again`."""
    alone = replace(request, sampling=request.sampling.model_copy(update={"n": 1}))
    for index, completion in enumerate(output.outputs):
        if not isinstance(completion.error, OutputError):
            continue
        one: LLMOutput = LLMOutput([completion], error=completion.error)
        try:
            one = await _one_again(ask, alone, one, asks, spending, on_retry, supported)
        except EngineError as error:  # the end of the run; the others are paid for
            completion.error = error
            break
        output.outputs[index] = one.outputs[0]
        output.outputs[index].error = one.error
    errors = [it.error for it in output.outputs if it.error is not None]
    output.error = next((it for it in errors if it.final), next(iter(errors), None))
    return output


def _gives_more(before: SamplingParams, later: SamplingParams) -> bool:
    """Whether an answer that was cut may be whole with other sampling parameters."""
    differing = {
        name for name in SamplingParams.model_fields if _at(before, name) != _at(later, name)
    }
    if differing != {"max_tokens"}:
        return bool(differing)
    return before.max_tokens is not None and (later.max_tokens or math.inf) > before.max_tokens


def _at(sampling: SamplingParams, name: str) -> Any:
    return getattr(sampling, name, None)  # those that the backend does not know are missing


def _messages(request: Request, unusable: OutputError, bound: Bound | None) -> list[Message]:
    """The conversation after an answer that cannot be used.

    It is the prompt, the last answer and its problem; and the schema in words, where the answer
    does not have its form: the server may not enforce it. Earlier tries are left out: the prompt
    would grow with each, and models repeat the mistakes that they see. So is an answer that was
    cut.

    Raises:
        RowBudgetError: It may not be asked for again; the message has the problem, too.
    """
    if not isinstance(unusable, StructuredOutputError):
        _check_bound(bound, "was cut", unusable)
        return request.messages
    answer, problem = unusable.raw_text or "", unusable.problem or str(unusable)
    _check_bound(bound, f"was not accepted ({problem})", unusable)
    messages = request.messages
    if request.output and not (unusable.has_form and request.mode == "json_schema"):
        messages = with_instruction(messages, request.output.instruction)
    said = request.text.spoken(answer) if request.text else answer
    return with_correction(messages, said, problem)


def _check_bound(bound: Bound | None, what: str, unusable: OutputError) -> None:
    """Check that an answer may be asked for again.

    Raises:
        RowBudgetError: It may not; the message says, too, what the last answer was.
    """
    try:
        if bound is not None:
            bound.check()
    except RowBudgetError as error:
        message = f"the last answer {what}, and {error}"
        raise RowBudgetError(message, raw_text=unusable.raw_text) from None

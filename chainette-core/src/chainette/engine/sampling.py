"""The sampling parameters of a step or a call, which can differ by attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from chainette.errors import ChainError, ConfigError
from chainette.messages.numbers import plural
from chainette.types import SamplingParams

Sampling: TypeAlias = (
    SamplingParams | Mapping[str, Any] | Sequence[SamplingParams | Mapping[str, Any]]
)
"""What a step or a call takes as its sampling."""
BY_ATTEMPT = frozenset(SamplingParams.model_fields) - {"stop", "n", "guided_decoding"}
"""The parameters that a list gives a value for each attempt; `stop` is a list already."""


def of_step(id: str, sampling: Any) -> tuple[SamplingParams, ...]:
    """The sampling parameters of a step; see `by_attempt`.

    Raises:
        ChainError: They are something else, out of range, or ask for several completions.
    """
    samplings = by_attempt(f"step {id!r}", sampling)
    if (count := max(it.n for it in samplings)) > 1:
        raise ChainError(
            f"step {id!r}: n={count} would pay for {count} completions and keep one; "
            f"for several, give the step samples={count}, and its output is a list"
        )
    return samplings


def by_attempt(owner: str, sampling: Any) -> tuple[SamplingParams, ...]:
    """The sampling parameters of a request: one for each attempt, of which the last repeats.

    Args:
        owner: The step or call, for messages, such as `step 'a'`.
        sampling: The parameters, a mapping of them whose values can be lists, a list of either, or
            `None`.

    Raises:
        ChainError: They are something else, or out of range.
    """
    if sampling is None:
        return (SamplingParams(),)
    where = f"{owner}, sampling"
    if isinstance(sampling, Mapping):
        given = _unfolded(where, sampling)
    elif isinstance(sampling, list | tuple):
        given = list(sampling)
    else:
        given = [sampling]
    if not given:
        raise ChainError(f"{where}: the list is empty; give the parameters of each attempt")
    return tuple(
        _checked(where if len(given) == 1 else f"{where}, attempt {number}", it)
        for number, it in enumerate(given, 1)
    )


def check_attempts(owner: str, count: int, reasks: int, rounds: int = 1) -> None:
    """Check that each of the sampling parameters by attempt can have its turn.

    Args:
        owner: The step or call, for messages.
        count: The number of sampling parameters.
        reasks: How often an invalid answer is asked for again.
        rounds: The most rounds, each of which asks.

    Raises:
        ChainError: There are more than requests.
    """
    most = rounds * (reasks + 1)
    if count > most:
        needed = -(-count // rounds) - 1
        each = f"an item: {rounds} rounds with" if rounds > 1 else "an answer:"
        raise ChainError(
            f"{owner}, sampling: there are values for {count} attempts, and at most "
            f"{plural(most, 'request')} for {each} reasks={reasks}; the last values are "
            f"never used: give reasks={needed}, or fewer values"
        )


def _unfolded(where: str, sampling: Mapping[Any, Any]) -> list[Mapping[str, Any]]:
    """A mapping whose values can be lists, as one mapping for each attempt."""
    fields = {str(name): value for name, value in sampling.items()}
    lists = {
        name: value
        for name, value in fields.items()
        if name in BY_ATTEMPT and isinstance(value, list | tuple)
    }
    for name, values in lists.items():
        if not values:
            raise ChainError(f"{where}: {name} is an empty list; give a value for each attempt")
    attempts = max(map(len, lists.values()), default=1)
    return [
        fields | {name: values[min(n, len(values) - 1)] for name, values in lists.items()}
        for n in range(attempts)
    ]


def _checked(place: str, sampling: Any) -> SamplingParams:
    """The sampling parameters of one attempt.

    Raises:
        ChainError: They are of another type, or out of range.
    """
    if isinstance(sampling, Mapping):
        try:
            sampling = SamplingParams(**{str(name): value for name, value in sampling.items()})
        except ConfigError as error:
            raise ChainError(f"{place}: {error}") from None
    if not isinstance(sampling, SamplingParams):
        kind = "class" if isinstance(sampling, type) else type(sampling).__name__
        example = '{"temperature": 0}'
        raise ChainError(
            f"{place.replace(', sampling', ': sampling', 1)} is a {kind}; "
            f"give SamplingParams(temperature=0) or {example}"
        )
    return sampling

"""The samples of a step: how many answers it takes, and how each is sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chainette.errors import ChainError
from chainette.types import SamplingParams


class SampleParams:
    """The sampling parameters of each sample of a step.

    With a seed, sample k has seed + k.

    Args:
        count: The number of samples.
        samplings: The parameters by attempt, of which the last repeat.
    """

    def __init__(self, count: int, samplings: Sequence[SamplingParams]) -> None:
        self._samplings = tuple(samplings)
        self._together: dict[int, SamplingParams] = {}
        self.can_be_together: bool = len(samplings) == 1 and samplings[0].seed is None
        """Whether one request can ask for several of them."""
        self._each = [tuple(_seeded(it, k) for it in samplings) for k in range(count)]

    def of(self, sample: int) -> tuple[SamplingParams, ...]:
        """The parameters of one sample by attempt."""
        return self._each[sample]

    def together(self, count: int) -> SamplingParams:
        """The parameters of one request for several samples, the same object each time."""
        if count not in self._together:
            self._together[count] = self._samplings[0].model_copy(update={"n": count})
        return self._together[count]


def _seeded(sampling: SamplingParams, sample: int) -> SamplingParams:
    if sampling.seed is None or not sample:
        return sampling
    return sampling.model_copy(update={"seed": sampling.seed + sample})


def checked_samples(
    id: str, samples: Any, samplings: Sequence[SamplingParams], options: Mapping[str, Any]
) -> int | None:
    """The number of samples of a step; `None` without one.

    Args:
        id: The step.
        samples: The number.
        samplings: The sampling parameters by attempt.
        options: The step's other options.

    Raises:
        ChainError: It is something else, or the samples would be equal.
    """
    if samples is None:
        return None
    where = f"step {id!r}"
    if not isinstance(samples, int) or isinstance(samples, bool) or samples < 1:
        raise ChainError(f"{where}: samples is {samples!r}; give a number of answers, from 1")
    if samples > 1 and samplings[0].temperature == 0:
        raise ChainError(
            f"{where}: samples={samples} at temperature 0 would pay for {samples} equal answers; "
            "give a temperature, such as sampling={'temperature': 0.8}, or leave samples out"
        )
    if options.get("keep_reasoning"):
        raise ChainError(
            f"{where}: keep_reasoning has one text for each item, and samples={samples} has "
            f"{samples} answers; the reasoning of each is in steps/{id}.calls"
        )
    return samples

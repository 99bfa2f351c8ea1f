"""Statistics of comparisons: shares, agreement, differences and durations."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Z = 1.959963984540054
"""Quantile of the normal distribution for intervals of 95 %."""
_OTHERS = "(others)"
BINS = 20
"""Ranges that a distribution is divided into."""
Pairs = Mapping[tuple[str, str], int]
"""Counts of pairs of categories."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of rows, with its interval of 95 % (Wilson's).

    Attributes:
        count: The rows of which something is true.
        total: All rows that were looked at.
    """

    count: int
    total: int

    @property
    def value(self) -> float | None:
        """The share; `None` of no rows."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The lower and the upper bound; `None` of no rows."""
        return wilson(self.count, self.total) if self.total else None

    def as_dict(self) -> dict[str, Any]:
        """The share as JSON."""
        interval = self.interval
        return {
            "count": self.count,
            "of": self.total,
            "share": self.value,
            "interval": list(interval) if interval else None,
        }


def wilson(count: int, total: int) -> tuple[float, float]:
    """The interval of 95 % of a share: the score interval of Wilson (1927)."""
    share, square = count / total, Z * Z
    middle = (share + square / (2 * total)) / (1 + square / total)
    spread = math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    half = Z / (1 + square / total) * spread
    low = 0.0 if count == 0 else max(0.0, middle - half)
    high = 1.0 if count == total else min(1.0, middle + half)
    return low, high


def kappa(pairs: Pairs) -> float | None:
    """Cohen's kappa; `None` where it is not defined, as where there is only one category."""
    total = sum(pairs.values())
    if not total:
        return None
    left, right = margins(pairs)
    expected = sum(left[it] * right[it] for it in left) / (total * total)
    if expected == 1:
        return None
    agreed = sum(count for (a, b), count in pairs.items() if a == b) / total
    return (agreed - expected) / (1 - expected)


def margins(pairs: Pairs) -> tuple[Counter[str], Counter[str]]:
    """How often each category comes first, and how often second."""
    left: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for (a, b), count in pairs.items():
        left[a] += count
        right[b] += count
    return left, right


def crossed(
    pairs: Mapping[tuple[str, str], int], most: int
) -> tuple[list[str], dict[tuple[str, str], int]]:
    """The classes of a confusion matrix and its counts; rare classes are one where there are many.

    Args:
        pairs: The counts of pairs of classes.
        most: Most classes.
    """
    left, right = margins(pairs)
    frequent = [name for name, _ in (left + right).most_common()]
    kept = {*(frequent if len(frequent) <= most else frequent[: most - 1])}
    counts: dict[tuple[str, str], int] = {}
    for pair, count in pairs.items():
        a, b = (it if it in kept else _OTHERS for it in pair)
        counts[a, b] = counts.get((a, b), 0) + count
    return [*sorted(kept), *([_OTHERS] if len(kept) < len(frequent) else [])], counts


def quantile(ordered: Sequence[float], share: float) -> float:
    """A quantile of sorted numbers, between which it is linear."""
    place = (len(ordered) - 1) * share
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of numbers.

    Attributes:
        count: How many they are.
        mean: Their mean.
        absolute: The mean of their absolute values.
        quantiles: The minimum, the quantiles of 5, 25, 50, 75 and 95 %, and the maximum.
        bins: Ranges of one width, with how many are in each.
    """

    count: int
    mean: float
    absolute: float
    quantiles: tuple[float, ...]
    bins: tuple[tuple[float, float, int], ...] = ()

    @property
    def median(self) -> float:
        """The median."""
        return self.quantiles[3]

    def as_dict(self) -> dict[str, Any]:
        """The distribution as JSON."""
        names = ("min", "p5", "p25", "median", "p75", "p95", "max")
        by_name = dict(zip(names, self.quantiles, strict=True))
        return {"count": self.count, "mean": self.mean, "mean_absolute": self.absolute, **by_name}


def spread(numbers: array[float]) -> Spread | None:
    """The distribution of numbers, of which there must be one."""
    if not numbers:
        return None
    ordered = array("d", sorted(numbers))
    count = len(ordered)
    quantiles = tuple(quantile(ordered, it) for it in (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1))
    absolute = math.fsum(map(abs, ordered)) / count
    return Spread(count, math.fsum(ordered) / count, absolute, quantiles, _bins(ordered))


def _bins(ordered: array[float]) -> tuple[tuple[float, float, int], ...]:
    """Ranges of one width from the smallest number to the largest, with their counts."""
    low, high = ordered[0], ordered[-1]
    edges = [low + (high - low) * it / BINS for it in range(BINS)] if high > low else [low]
    places = [*(bisect_left(ordered, it) for it in edges), len(ordered)]
    return tuple(
        (start, end, after - before)
        for start, end, before, after in zip(edges, [*edges[1:], high], places, places[1:])  # noqa: B905
    )


def sign_test(first: int, second: int) -> float:
    """The probability of a split as uneven as this where both sides are as likely (two-sided).

    Of rows that only one of two runs has right it is McNemar's exact test.
    """
    total, most = first + second, max(first, second)
    if first == second:
        return 1.0
    whole = math.lgamma(total + 1) + total * math.log(0.5)
    terms = (
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(total - k + 1))
        for k in range(most, total + 1)
    )
    return min(1.0, 2 * math.fsum(terms))

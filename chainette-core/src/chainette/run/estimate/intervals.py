"""The total over all rows, estimated from a random sample of them, with its interval of 95 %.

The length of every input is known for nothing, so the total is corrected by a regression on it.
Costs are skewed: a few long answers make much of the total, and a sample often has too few of them.
Student's interval is then too low. It is corrected for the skewness by Hall's transformation (P.
Hall, "On the removal of skewness by transformation", 1992); since a sample shows too little of a
long tail, its upper bound takes half as much skewness again. `benchmarks/estimates.py` counts how
often the interval holds the total.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Z = 1.959963984540054
"""Quantile of the normal distribution for intervals of 95 %."""
ENOUGH = 10
"""Rows of a sample from which the slope of a regression can be told."""
ROUNDING = 1e-9
"""The error of sums, by the sum."""
TAIL = 1.5
"""The skewness of a tail by that of a sample of it."""


@dataclass(frozen=True, slots=True)
class Amount:
    """An estimate.

    Attributes:
        value: The number that is expected.
        low: The lower bound of the interval of 95 %.
        high: The upper bound; infinite where a sample of one row says nothing about it.
    """

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Amount:
        """The estimate times a number."""
        return Amount(self.value * factor, self.low * factor, self.high * factor)

    def as_dict(self) -> dict[str, Any]:
        """The estimate as JSON."""
        high = self.high if math.isfinite(self.high) else None
        return {"value": self.value, "low": self.low, "high": high}


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of the inputs, which help to estimate what depends on them.

    Attributes:
        sampled: Those of the rows of the sample.
        mean: The mean length of all rows.
        rows: The number of all rows.
    """

    sampled: Sequence[float]
    mean: float
    rows: int


def total(values: Sequence[float], lengths: Lengths) -> Amount:
    """The total over all rows.

    Args:
        values: What each row of the sample took; one that took nothing has 0.
        lengths: The lengths of the inputs, in the same order.
    """
    count, rows, spent = len(values), lengths.rows, math.fsum(values)
    if count >= rows:
        return Amount(spent, spent, spent)
    if count < 2:
        value = spent / count * rows if count else 0.0
        return Amount(value, spent, math.inf)
    mean, errors, lost = _fitted(values, lengths)
    error = math.sqrt(math.fsum(it * it for it in errors) * (1 - count / rows)) / count
    skew = _skewness(errors) * math.sqrt(1 - count / rows)
    quantile = _student(count - lost)
    below, above = (skew, TAIL * skew) if skew > 0 else (TAIL * skew, skew)
    low = mean - error * _untransformed(quantile, below, count)
    high = mean - error * _untransformed(-quantile, above, count)
    value = max(mean * rows, spent)
    noise = ROUNDING * value  # where the lengths tell all, nothing but this is left
    return Amount(
        value, max(min(value, low * rows) - noise, spent), max(value, high * rows) + noise
    )


def _fitted(values: Sequence[float], lengths: Lengths) -> tuple[float, list[float], int]:
    """The mean of all rows, the errors of it in each row, and the degrees of freedom it takes.

    The errors are weighted as the estimate weights their rows, and each is taken as if its row had
    not been in the fit.
    """
    count = len(values)
    mean, middle = math.fsum(values) / count, math.fsum(lengths.sampled) / count
    offsets = [it - middle for it in lengths.sampled]
    squares = math.fsum(it * it for it in offsets)
    if count < ENOUGH or squares <= 1e-12 * max(1.0, middle * middle):
        inflated = math.sqrt(count / (count - 1))
        return mean, [(it - mean) * inflated for it in values], 1
    slope = math.fsum(a * (b - mean) for a, b in zip(offsets, values, strict=True)) / squares
    away = lengths.mean - middle
    errors = [
        (1 + away * offset * count / squares)
        * (value - mean - slope * offset)
        / max(1e-9, 1 - 1 / count - offset * offset / squares)
        for offset, value in zip(offsets, values, strict=True)
    ]
    return mean + slope * away, errors, 2


def _skewness(errors: Sequence[float]) -> float:
    count = len(errors)
    mean = math.fsum(errors) / count
    second = math.fsum((it - mean) ** 2 for it in errors) / count
    if second <= 0:
        return 0.0
    return float(math.fsum((it - mean) ** 3 for it in errors) / count / second**1.5)


def _untransformed(quantile: float, skew: float, count: int) -> float:
    """The quantile of a mean's distribution with a skewness, by Hall's cubic transformation."""
    if abs(skew) < 1e-6:
        return quantile
    inside = 1 + skew * (quantile / math.sqrt(count) - skew / (6 * count))
    root = math.copysign(abs(inside) ** (1 / 3), inside)
    return 3 * math.sqrt(count) / skew * (root - 1)


def _student(freedom: int) -> float:
    """The quantile of Student's distribution for intervals of 95 %."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / freedom + second / freedom**2 + third / freedom**3


_STUDENT = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004)

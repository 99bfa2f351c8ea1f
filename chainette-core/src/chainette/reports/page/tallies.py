"""Numbers counted one by one, in memory that does not grow with them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

EXACT = 4_096
"""Different numbers that are counted as they are; beyond that, within 0.2 %."""
BINS = 36
FARTHEST = 1e290
"""What is as far from 0 as this, or is not a number, is not drawn: the sum would not be finite."""
_NEAREST = 1e-290
_STEPS = (1, 2, 5)
_SECOND, _DAY = 1_000, 86_400_000
_TIMES = (
    *(_SECOND, 10 * _SECOND, 60 * _SECOND, 600 * _SECOND, 3_600 * _SECOND, 6 * 3_600 * _SECOND),
    *(_DAY, 7 * _DAY, 30 * _DAY, 91 * _DAY, 365 * _DAY, 3_652 * _DAY),
)


class Numbers:
    """How often numbers were seen.

    Attributes:
        count: Numbers so far.
        total: Their sum.
    """

    def __init__(self) -> None:
        self._counts: Counter[float] = Counter()
        self._is_exact = True
        self._least, self._most = math.inf, -math.inf
        self.count: int = 0
        self.total: float = 0.0

    def update(self, values: Sequence[float]) -> None:
        """Count numbers."""
        if not values:
            return
        self.count += len(values)
        self.total += math.fsum(values)
        self._least = min(self._least, min(values))
        self._most = max(self._most, max(values))
        self._counts.update(values if self._is_exact else map(_coarse, values))
        if self._is_exact and len(self._counts) > EXACT:
            self._is_exact, exact = False, self._counts
            self._counts = Counter()
            for value, count in exact.items():
                self._counts[_coarse(value)] += count

    def quantile(self, share: float) -> float:
        """The smallest number that this share of all is not above."""
        left = math.ceil(share * self.count)
        for value, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return min(max(value, self._least), self._most)
        return self._most

    def bins(self, *, is_time: bool = False) -> tuple[list[tuple[float, float, int]], bool]:
        """The numbers in ranges of one width, and whether the last has all that is larger."""
        if not self.count:
            return [], False
        low, high = self._least, self._most
        far = self.quantile(0.99)
        is_cut = not is_time and high - low > 3 * (far - low) > 0
        top = far if is_cut else high
        are_whole = all(float(it).is_integer() for it in (low, *self._counts))
        step = _width(top - low, are_whole=are_whole, is_time=is_time)
        shift = step / 2 if are_whole and step == 1 and not is_time else 0.0
        first = math.floor((low + shift) / step + 1e-9)
        last = max(first, math.floor((top + shift) / step + 1e-9))
        counts = [0] * (last - first + 1)
        over = 0
        for value, count in self._counts.items():
            index = math.floor((value + shift) / step + 1e-9) - first
            if index < len(counts):
                counts[max(index, 0)] += count
            else:
                over += count
        edges = [(first + index) * step - shift for index in range(len(counts) + 2)]
        found = [(edges[i], edges[i + 1], count) for i, count in enumerate(counts)]
        return ([*found, (edges[-2], edges[-1], over)], True) if over else (found, False)

    def figures(self) -> list[tuple[str, Any]]:
        """The mean, some quantiles and the maximum."""
        if not self.count:
            return []
        names = (("median", 0.5), ("p90", 0.9), ("p99", 0.99))
        found: list[tuple[str, Any]] = [("mean", self.total / self.count)]
        found += [(name, self.quantile(share)) for name, share in names]
        return [*found, ("max", self._most)]

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest number."""
        return self._least, self._most


def _coarse(value: float) -> float:
    """A number that is shared by those within 0.2 %."""
    part, exponent = math.frexp(value)
    return math.ldexp(round(part * 512) / 512, exponent)


def _width(span: float, *, are_whole: bool, is_time: bool) -> float:
    """A round width of ranges, of which there are not more than `BINS`."""
    if is_time:
        return next((it for it in _TIMES if span / it <= BINS), _TIMES[-1])
    if span < _NEAREST:
        return 1.0
    power = math.floor(math.log10(span / BINS))
    steps = (factor * 10.0**exponent for exponent in (power, power + 1) for factor in _STEPS)
    width = next(it for it in steps if span / it <= BINS)
    return max(1.0, width) if are_whole else width


class Moments:
    """Counts of moments over time, in intervals that grow with the time they span.

    Args:
        most: Maximum number of intervals.
    """

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._seconds = 1.0
        self._series: dict[str, Counter[int]] = {}

    def update(self, name: str, times: Iterable[float]) -> None:
        """Count moments, given as seconds since 1970, in a series."""
        counts = self._series.setdefault(name, Counter())
        seconds = self._seconds
        counts.update([int(time // seconds) for time in times])
        while self._span() > self._most:
            self._seconds *= 2
            self._series = {name: _halved(it) for name, it in self._series.items()}

    def series(self) -> tuple[float, float, list[tuple[str, list[int]]]]:
        """The start, the seconds of an interval, and the counts by series."""
        indexes = [index for counts in self._series.values() for index in counts]
        if not indexes:
            return 0.0, self._seconds, []
        span = range(min(indexes), max(indexes) + 1)
        found = [(name, [counts[it] for it in span]) for name, counts in self._series.items()]
        return span.start * self._seconds, self._seconds, found

    def _span(self) -> int:
        """The number of intervals from the first moment to the last."""
        ends = [end for it in self._series.values() if it for end in (min(it), max(it))]
        return max(ends) - min(ends) + 1 if ends else 0


def _halved(counts: Counter[int]) -> Counter[int]:
    halved: Counter[int] = Counter()
    for index, count in counts.items():
        halved[index // 2] += count
    return halved

"""Samplers of numbers."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from chainette.errors import InputError
from chainette.samplers.cell import CellRandom
from chainette.samplers.sampler import Sampler, check_order

LEAST_SHARE = 0.01
"""The smallest share of a distribution that its bounds may leave."""
TRIES = 10_000


def integer(low: int, high: int, *, step: int = 1) -> Sampler[int]:
    """A whole number; each is equally likely.

    Args:
        low: The smallest.
        high: The largest.
        step: The distance from one to the next, counted from `low`.

    Raises:
        InputError: `low` is above `high`, or one of them is not a whole number.
    """
    for name, value in {"low": low, "high": high, "step": step}.items():
        if isinstance(value, bool) or not isinstance(value, int):
            other = "; for other numbers, see number" if isinstance(value, float) else ""
            raise InputError(f"integer: {name} is {value!r}; give a whole number{other}")
    check_order(low, high, "integer")
    if step < 1:
        raise InputError(f"integer: step is {step}; give a number of at least 1")
    count = (high - low) // step + 1
    options = {"step": step if step != 1 else None}
    return Sampler("integer", (low, high), options, lambda cell, *_: low + step * cell.below(count))


def number(low: float, high: float, *, decimals: int | None = None) -> Sampler[float]:
    """A number between two others; each is equally likely.

    Args:
        low: The smallest.
        high: The largest.
        decimals: Digits after the point; by default all that there are.

    Raises:
        InputError: `low` is above `high`, one of them is not a number, or no number with so many
            decimals is between them.
    """
    _check_numbers("number", low=low, high=high)
    check_order(low, high, "number")
    options = {"decimals": decimals}
    if decimals is None:
        return Sampler(
            "number", (low, high), options, lambda cell, *_: _between(low, high, cell.random())
        )
    first, count = _grid("number", low, high, decimals)
    scale = 10**decimals
    return Sampler(
        "number", (low, high), options, lambda cell, *_: (first + cell.below(count)) / scale
    )


def normal(
    mean: float,
    deviation: float,
    *,
    low: float | None = None,
    high: float | None = None,
    decimals: int | None = None,
) -> Sampler[float]:
    """A number of a normal distribution.

    Args:
        mean: Its mean.
        deviation: Its standard deviation.
        low: The smallest number; what is below is drawn again.
        high: The largest number; what is above is drawn again.
        decimals: Digits after the point; by default all that there are.

    Raises:
        InputError: One of them is not a number, or hardly any number of the distribution is
            between `low` and `high`.
    """
    options = {"low": low, "high": high, "decimals": decimals}
    least, most = _bounds(mean, deviation, low, high, decimals)

    def draw(cell: CellRandom, *_: Any) -> float:
        for _try in range(TRIES):
            value = cell.gauss(mean, deviation)
            value = value if decimals is None else round(value, decimals)
            if least <= value <= most:
                return value
        raise InputError("no number of this distribution is between low and high")

    return Sampler("normal", (mean, deviation), options, draw)


def _bounds(mean: Any, deviation: Any, low: Any, high: Any, decimals: Any) -> tuple[float, float]:
    """The smallest and the largest number of a normal distribution.

    Raises:
        InputError: One of its arguments is wrong, or hardly any number is between them.
    """
    ends = {name: it for name, it in {"low": low, "high": high}.items() if it is not None}
    _check_numbers("normal", mean=mean, deviation=deviation, **ends)
    if deviation <= 0:
        raise InputError(f"normal: deviation is {deviation}; give a number above 0")
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    check_order(least, most, "normal")
    if decimals is not None:
        _check_decimals("normal", decimals)
        if len(ends) == 2:
            _grid("normal", least, most, decimals)
    if _share(mean, deviation, least, most) < LEAST_SHARE:
        raise InputError(
            f"normal: less than {LEAST_SHARE:.0%} of the numbers with mean {mean} and deviation "
            f"{deviation} are between low and high; change them, or use number"
        )
    return least, most


def _check_numbers(what: str, **numbers: Any) -> None:
    for name, value in numbers.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise InputError(f"{what}: {name} is {value!r}; give a number")


def _between(low: float, high: float, share: float) -> float:
    return min(max(low * (1.0 - share) + high * share, low), high) + 0.0


def _check_decimals(what: str, decimals: Any) -> None:
    if isinstance(decimals, bool) or not isinstance(decimals, int) or not 0 <= decimals <= 15:
        raise InputError(f"{what}: decimals is {decimals!r}; give a whole number from 0 to 15")


def _grid(what: str, low: float, high: float, decimals: Any) -> tuple[int, int]:
    """The first number with so many decimals, without its point, and how many there are."""
    _check_decimals(what, decimals)
    scale = 10**decimals
    first = int((Decimal(str(low)) * scale).to_integral_value(ROUND_CEILING))
    last = int((Decimal(str(high)) * scale).to_integral_value(ROUND_FLOOR))
    if first > last:
        raise InputError(f"{what}: no number with {decimals} decimals is from {low} to {high}")
    return first, last - first + 1


def _share(mean: float, deviation: float, low: float, high: float) -> float:
    """The share of a normal distribution between two numbers."""

    def below(value: float) -> float:
        return 0.5 * (1.0 + math.erf((value - mean) / (deviation * math.sqrt(2.0))))

    return below(high) - below(low)

"""Numbers as people read them: counts, rates, durations and dollars."""

from __future__ import annotations

from decimal import Decimal


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def rate(count: int, seconds: float) -> str:
    """A count per second with about two digits: `0.037`, `3.7`, `37`."""
    value = count / seconds
    return f"{value:.0f}" if value >= 10 or not count else f"{value:.2g}"


def duration(seconds: float) -> str:
    """A duration in the unit that suits it: `0.4 s`, `7 s`, `3 min`, `2.5 h`."""
    if 0 < seconds < 1:
        return f"{seconds:.1g} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def digits(value: float, count: int = 3) -> str:
    """A number with some digits that count, and no exponent: `0.0000123`."""
    return f"{Decimal(f'{value:.{count}g}'):f}"


def dollars(amount: Decimal | float) -> str:
    """US dollars: `$12.35`, `$0.0042`."""
    if 0 < amount < 0.0001:
        return "less than $0.0001"
    return f"${amount:,.2f}" if amount >= 1 or not amount else f"${amount:.4f}"

"""Samplers of dates and times."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal, TypeAlias

from chainette.errors import InputError
from chainette.samplers.cell import CellRandom
from chainette.samplers.sampler import Sampler, check_order

Unit: TypeAlias = Literal["second", "minute", "hour", "day"]
_UNITS = {
    "second": dt.timedelta(seconds=1),
    "minute": dt.timedelta(minutes=1),
    "hour": dt.timedelta(hours=1),
    "day": dt.timedelta(days=1),
}


def date(low: dt.date | str, high: dt.date | str) -> Sampler[dt.date]:
    """A day; each is equally likely.

    Args:
        low: The first, as a date or as a text such as `2024-01-31`.
        high: The last.

    Raises:
        InputError: `low` is after `high`, or one of them is not a date.
    """
    first, last = _date(low, "low"), _date(high, "high")
    check_order(first, last, "date")
    start, count = first.toordinal(), (last - first).days + 1
    return Sampler(
        "date",
        (first.isoformat(), last.isoformat()),
        {},
        lambda cell, *_: dt.date.fromordinal(start + cell.below(count)),
    )


def datetime(
    low: dt.date | str, high: dt.date | str, *, step: Unit = "second"
) -> Sampler[dt.datetime]:
    """A date with its time; each is equally likely.

    Args:
        low: The first, as a `datetime` or as a text such as `2024-01-31T18:30`; a date is its
            midnight.
        high: The last. If it has a time zone, `low` has one, too.
        step: The distance from one to the next, counted from `low`.

    Raises:
        InputError: `low` is after `high`, one of them is not a time, or only one has a time zone.
    """
    first, last = _datetime(low, "low"), _datetime(high, "high")
    if (first.utcoffset() is None) != (last.utcoffset() is None):
        raise InputError("datetime: one has a time zone, and the other has none; give both one")
    check_order(first, last, "datetime")
    if step not in _UNITS:
        raise InputError(f"datetime: step is {step!r}; give {', '.join(map(repr, _UNITS))}")
    zone, unit = first.tzinfo, _UNITS[step]
    start = first if zone is None else first.astimezone(dt.timezone.utc)
    end = last if zone is None else last.astimezone(dt.timezone.utc)
    count = (end - start) // unit + 1

    def draw(cell: CellRandom, *_: Any) -> dt.datetime:
        value = start + unit * cell.below(count)
        return value if zone is None else value.astimezone(zone)

    options = {"step": None if step == "second" else step}
    return Sampler("datetime", (first.isoformat(), last.isoformat(), str(zone)), options, draw)


def _date(value: Any, name: str) -> dt.date:
    if isinstance(value, str):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            pass
    elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    hint = "; for times, use datetime" if isinstance(value, dt.datetime) else ""
    raise InputError(f"date: {name} is {value!r}; give a date, such as '2024-01-31'{hint}")


def _datetime(value: Any, name: str) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        try:  # Python 3.10 does not know the Z
            return dt.datetime.fromisoformat(value[:-1] + "+00:00" if value[-1:] == "Z" else value)
        except ValueError:
            pass
    raise InputError(f"datetime: {name} is {value!r}; give a time, such as '2024-01-31T18:30'")

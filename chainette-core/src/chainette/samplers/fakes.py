"""Samplers of names, addresses and the like, by the library Faker."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from chainette.errors import ConfigError, InputError
from chainette.samplers.cell import CellRandom
from chainette.samplers.sampler import Sampler
from chainette.text import described, did_you_mean

_local = threading.local()
"""Generators of Faker by locale: each holds the random numbers that it draws from."""
_CLOCKS = frozenset({"now", "today", "utcnow", "time", "time_ns"})


def faker(method: str, *, locale: str | Sequence[str] = "en_US", **arguments: Any) -> Sampler[Any]:
    """A value of the library Faker (`pip install "chainette[faker]"`).

    Args:
        method: What Faker calls it, such as `name`, `address` or `company`; see
            https://faker.readthedocs.io/en/stable/providers.html.
        locale: Its language and country, such as `de_DE`; of several, one is drawn for each row.
        **arguments: Arguments of the method.

    Raises:
        ConfigError: Faker is not installed.
        InputError: It does not have the method or the locale, the arguments do not fit, or the
            value depends on today's date.
    """
    locales = [locale] if isinstance(locale, str) else [*locale]
    if not locales:
        raise InputError("faker: there are no locales; give at least one")
    for name in locales:
        _check(method, name, arguments)
    version = _generator(locales[0])[1]

    def draw(cell: CellRandom, *_: Any) -> Any:
        name = locales[cell.below(len(locales))] if len(locales) > 1 else locales[0]
        return _call(method, name, arguments, cell)

    options = {"locale": None if locales == ["en_US"] else tuple(locales), **arguments}
    return Sampler("faker", (method,), options, draw, version=f"faker {version}")


def _generator(locale: str) -> tuple[Any, str]:
    """Faker's generator of a locale, in this thread, and Faker's version.

    Raises:
        ConfigError: Faker is not installed.
        InputError: It does not have the locale.
    """
    found = vars(_local).setdefault("generators", {})
    if locale not in found:
        try:
            import faker as library
            from faker.config import AVAILABLE_LOCALES
        except ImportError:
            raise ConfigError('faker needs an extra: pip install "chainette[faker]"') from None
        try:
            found[locale] = library.Factory.create(locale), library.VERSION
        except AttributeError:
            hint = did_you_mean(str(locale), AVAILABLE_LOCALES)
            raise InputError(f"faker: there is no locale {locale!r}{hint}") from None
    pair: tuple[Any, str] = found[locale]
    return pair


def _call(method: str, locale: str, arguments: dict[str, Any], cell: CellRandom) -> Any:
    generator = _generator(locale)[0]
    generator.random = cell
    return getattr(generator, method)(**arguments)


def _check(method: str, locale: str, arguments: dict[str, Any]) -> None:
    """Draw one value.

    Raises:
        InputError: It cannot be drawn, or depends on the time.
    """
    generator = _generator(locale)[0]
    known = [name for name in vars(generator) if not name.startswith("_")]
    if not isinstance(method, str) or method not in known or not callable(vars(generator)[method]):
        hint = did_you_mean(str(method), known)
        raise InputError(f"faker: there is no {method!r}{hint} in the locale {locale}")
    cell = CellRandom()
    cell.start(cell.column(0, method), 0)
    try:
        is_timed = _reads_clock(lambda: _call(method, locale, arguments, cell))
    except Exception as error:  # of any method of Faker's
        raise InputError(f"faker: {method}: {described(error)}") from None
    if is_timed:
        raise InputError(
            f"faker: {method} asks for today's date, so that a row could change from day to day; "
            "use date or datetime"
        )


def _reads_clock(call: Callable[[], Any]) -> bool:
    """Whether a call asks for the time."""
    asked: list[str] = []

    def notice(_: Any, event: str, called: Any) -> None:
        if event == "c_call" and getattr(called, "__name__", "") in _CLOCKS:
            asked.append(called.__name__)

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        call()
    finally:
        sys.setprofile(before)
    return bool(asked)

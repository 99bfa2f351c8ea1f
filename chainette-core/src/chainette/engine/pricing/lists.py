"""The public price lists of genai-prices, as tariffs.

The package's own `calc_price` takes half as long as all the rest of a row; here a model is looked
up once, and its price becomes a formula.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from chainette.engine.pricing.tariff import Rates, Tariff
from chainette.usage import FREE

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, TieredPrices

LIST_TIERS = frozenset({"default", "standard", "on_demand", "auto"})
"""Service tiers whose price is the list's: OpenAI and xAI ("default"), Anthropic and Google
("standard"), Groq ("on_demand"); "auto" is what a request asks for, and names none."""

_SNAPSHOT = re.compile(
    r"(-20\d\d-?(0[1-9]|1[0-2])-?([0-2]\d|3[01])"  # a date
    r"|-(0[1-9]|1[0-2])([0-2]\d|3[01])|-2\d(0[1-9]|1[0-2])"  # month and day, year and month
    r"|-00\d|@(\d{8}|default|latest)|-latest)$"
)
"""Ends of names that only say which snapshot of a model answers."""


def listed_tariff(
    address: str, model: str, service_tier: str | None, at: datetime
) -> Tariff | None:
    """The list price of a model at a time.

    Args:
        address: URL of the provider's API; prices belong to providers.
        model: Name of the model.
        service_tier: The tier that the answer names, or `None`.
        at: The time of the answer; some prices depend on the day, or on the time of day.

    Returns:
        The tariff, or `None` where the lists have no certain price for that model and tier.
    """
    from genai_prices.data_snapshot import get_snapshot

    name = model.removeprefix("models/")  # as Gemini's API writes names (Gemini docs, "Models")
    try:
        provider, info = get_snapshot().find_provider_model(name, None, None, address)
    except LookupError:
        return None
    if service_tier is None or service_tier in LIST_TIERS:
        prices = info.get_prices(at)
    else:
        # The lists of another provider, which some fall back to, know nothing of its tiers.
        own = any(info is other for other in provider.models)
        if not (own and _has_tier(info, service_tier, at)):
            return None
        prices = info.get_prices(at, {"service_tier": service_tier})
    if provider.id == "perplexity" and prices.requests_kcount is not None:
        return None  # the list has the highest of several prices
    return tariff_of(prices, is_free=info.id.endswith(":free"))


def tariff_of(prices: ModelPrice, *, is_free: bool = False) -> Tariff | None:
    """The formula of a price in the lists, for prompts and answers of text.

    A kind of token without a price of its own costs as much as the kind that it belongs to.

    Args:
        prices: The prices of a model.
        is_free: Whether a model without any price costs nothing.

    Returns:
        The tariff, or `None` where prompts have no price.
    """
    if prices.input_mtok is None and not (is_free and not vars(prices)):
        return None
    names = (
        prices.input_mtok,
        prices.output_mtok,
        prices.cache_read_mtok,
        prices.cache_write_mtok,
        prices.cache_write_1h_mtok,
        prices.output_reasoning_mtok,
    )
    starts = {0} | {tier.start for price in names for tier in getattr(price, "tiers", ())}
    bands = [(start, _rates(start, *names)) for start in sorted(starts)]
    requests = prices.requests_kcount
    return Tariff(bands, FREE if requests is None else _rate(requests, 0) * 1000)


def _rates(
    start: int,
    input: Decimal | TieredPrices | None,
    output: Decimal | TieredPrices | None,
    read: Decimal | TieredPrices | None,
    write: Decimal | TieredPrices | None,
    write_1h: Decimal | TieredPrices | None,
    reasoning: Decimal | TieredPrices | None,
) -> Rates:
    """The rates of prompts that are longer than `start` tokens."""
    write = input if write is None else write
    return Rates(
        input=_rate(input, start),
        output=_rate(output, start),
        cache_read=_rate(input if read is None else read, start),
        cache_write=_rate(write, start),
        cache_write_1h=_rate(write if write_1h is None else write_1h, start),
        reasoning=_rate(output if reasoning is None else reasoning, start),
    )


def _rate(price: Decimal | TieredPrices | None, start: int) -> Decimal:
    """US dollars for one token, from those for a million."""
    if price is None:
        return FREE
    if not isinstance(price, Decimal):
        reached = [tier.price for tier in price.tiers if 0 < tier.start <= start]
        price = reached[-1] if reached else price.base
    return price.scaleb(-6)


def _has_tier(info: ModelInfo, service_tier: str, at: datetime) -> bool:
    """Whether a model has prices of a service tier, for prompts and for answers."""
    for variant in info.price_variants or ():
        is_active = variant.constraint is None or variant.constraint.active(at)
        if is_active and variant.when == {"service_tier": service_tier}:
            return None not in (variant.prices.input_mtok, variant.prices.output_mtok)
    return False


def is_same_model(asked: str, answered: str) -> bool:
    """Whether the name in an answer is only a closer one of the model that was asked for.

    Servers name the snapshot that answered, and leave out or add the maker's name.
    """
    asked, answered = asked.lower(), answered.lower()
    if not ("/" in asked and "/" in answered):
        asked, answered = asked.rpartition("/")[2], answered.rpartition("/")[2]
    snapshot = _SNAPSHOT.search(asked)
    if snapshot is not None and not asked.endswith("latest"):
        return asked == answered
    return _SNAPSHOT.sub("", asked) == _SNAPSHOT.sub("", answered)

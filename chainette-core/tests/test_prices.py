"""The formulas of prices agree with the public lists; reported costs and names are understood."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from chainette.engine.config import EngineConfig
from chainette.engine.pricing import pricer
from chainette.engine.pricing.lists import is_same_model, listed_tariff, tariff_of
from chainette.engine.pricing.reported import header_cost, reported_cost
from chainette.types import LLMOutput
from chainette.usage import Usage
from genai_prices import Usage as PricedUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider
from hypothesis import given, settings
from hypothesis import strategies as st

PROVIDERS = get_snapshot().providers
UTC = timezone.utc
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
TIERS = ("default", "flex", "priority", "fast", "scale")


def models() -> Iterator[tuple[Provider, ModelInfo]]:
    for provider in PROVIDERS:
        for model in provider.models:
            yield provider, model


def list_price(
    provider: Provider, model: ModelInfo, usage: Usage, at: datetime, tier: str | None
) -> Decimal:
    """The price that genai-prices calculates itself."""
    priced = PricedUsage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )
    context = {"service_tier": tier} if tier else None
    return model.calc_price(
        priced, provider, genai_request_timestamp=at, price_context=context
    ).total_price


def times(model: ModelInfo) -> Iterator[datetime]:
    """Now, and just before and after every change of a model's price."""
    yield NOON
    prices = model.prices if isinstance(model.prices, list) else []
    for change in [*prices, *(model.price_variants or ())]:
        if (date := getattr(change.constraint, "start_date", None)) is not None:
            start = datetime(date.year, date.month, date.day, tzinfo=UTC)
            yield start - timedelta(seconds=1)
            yield start
        for name in ("start_time", "end_time"):
            if (time := getattr(change.constraint, name, None)) is not None:
                start = datetime.combine(NOON.date(), time.replace(tzinfo=UTC))
                yield start - timedelta(seconds=1)
                yield start


def sizes(prices: ModelPrice) -> list[int]:
    """Sizes of prompts around every tier of a price."""
    starts = {tier.start for price in vars(prices).values() for tier in getattr(price, "tiers", ())}
    return [1, 1000, *(start + step for start in starts for step in (-1, 0, 1))]


def usage_of(prompt: int) -> Usage:
    """Tokens of every kind."""
    return Usage(prompt, prompt // 5 + 7, prompt // 10, prompt // 3, prompt // 4, prompt // 9)


@pytest.mark.exhaustive
def test_the_formula_is_the_list_price_of_every_model_at_all_times_in_every_tier() -> None:
    compared = 0
    for provider, model in models():
        for at in times(model):
            for tier in (None, *TIERS):
                context = {"service_tier": tier} if tier else None
                prices = model.get_prices(at, context)
                if (tariff := tariff_of(prices)) is None:
                    continue
                for size in sizes(prices):
                    usage = usage_of(size)
                    expected = list_price(provider, model, usage, at, tier)
                    assert tariff.cost(usage) == expected, (provider.id, model.id, at, tier)
                    compared += 1
    assert compared > 10_000


TARIFFS = [
    (provider, model, tariff)
    for provider, model in models()
    if (tariff := tariff_of(model.get_prices(NOON))) is not None
]


@st.composite
def usages(draw: Any) -> Usage:
    prompt = draw(st.integers(0, 3_000_000))
    read = draw(st.integers(0, prompt))
    write = draw(st.integers(0, prompt - read))
    completion = draw(st.integers(0, 500_000))
    reasoning = draw(st.integers(0, completion))
    return Usage(prompt, completion, reasoning, read, write, draw(st.integers(0, write)))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TARIFFS), usages())
def test_the_formula_is_the_list_price_of_any_request(entry: Any, usage: Usage) -> None:
    provider, model, tariff = entry
    assert tariff.cost(usage) == list_price(provider, model, usage, NOON, None)


@pytest.mark.parametrize(
    "usage", [Usage(10, 5, 0, 11), Usage(10, 5, 0, 6, 5), Usage(10, 5, 6)], ids=str
)
def test_numbers_that_contradict_one_another_have_no_price(usage: Usage) -> None:
    _, _, tariff = TARIFFS[0]
    assert tariff.cost(usage) is None


OPENAI, OPENROUTER = "https://api.openai.com/v1", "https://openrouter.ai/api/v1"


@pytest.mark.parametrize(
    ("address", "model", "tier", "cost"),
    [
        (OPENAI, "gpt-5.6", None, "0.008"),
        (OPENAI, "gpt-5.6-sol-2026-07-01", "default", "0.008"),
        (OPENAI, "gpt-5.6", "auto", "0.008"),
        (OPENAI, "gpt-5.6", "flex", "0.004"),
        (OPENAI, "gpt-5.6", "priority", "0.016"),
        (OPENAI, "gpt-5.6", "scale", None),  # paid in advance
        (OPENAI, "gpt-4", "flex", None),  # the model has no such tier
        (OPENAI, "my-model", None, None),
        ("https://api.anthropic.com/v1", "claude-sonnet-4-5", "standard", "0.006"),
        ("https://api.anthropic.com/v1", "claude-sonnet-4-5", "priority", None),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "gemini-2.5-pro", None,
         "0.00325"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "models/gemini-2.5-pro",
         "standard", "0.00325"),
        ("https://x.openai.azure.com/openai/v1", "gpt-5.6", "default", "0.008"),
        ("https://x.openai.azure.com/openai/v1", "gpt-5.6", "flex", None),  # OpenAI's tiers
        ("https://llm.example.com/v1", "gpt-5.6", None, None),
        ("https://api.perplexity.ai", "sonar", None, None),  # depends on the search
        (OPENROUTER, "deepseek/deepseek-r1:free", None, "0"),
        ("https://api.openai.com/v1", "whisper-1", None, None),  # by the hour
    ],
)  # fmt: skip
def test_what_the_lists_are_certain_of(
    address: str, model: str, tier: str | None, cost: str | None
) -> None:
    tariff = listed_tariff(address, model, tier, NOON)
    found = tariff.cost(Usage(1000, 200)) if tariff is not None else None
    assert found == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize(
    ("hour", "cost"), [(2, "peak"), (5, "valley"), (9, "peak"), (12, "valley")]
)
def test_a_price_depends_on_the_time_of_day(hour: int, cost: str) -> None:
    costs = []
    for at in (NOON, NOON.replace(hour=hour)):
        tariff = listed_tariff("https://api.deepseek.com", "deepseek-v4-flash", None, at)
        assert tariff is not None
        costs.append(tariff.cost(Usage(1000, 200)))
    assert (costs[0] != costs[1]) is (cost == "peak")


@pytest.mark.parametrize(
    ("asked", "answered", "is_same"),
    [
        ("m-1", "m-1-2026-05-01", True),
        ("m-1", "m-1-20260501", True),
        ("m-1-latest", "m-1-2605", True),
        ("m-1", "m-1-001", True),
        ("m-1", "m-1@20260501", True),
        ("maker/m-1", "m-1", True),
        ("m-1", "maker/M-1-0501", True),
        ("m-1", "m-1-mini", False),
        ("m-1", "m-10", False),
        ("m-1-0501", "m-1-0601", False),
        ("m-1-2026-05-01", "m-1", False),
        ("maker/m-1", "other/m-1", False),
        ("m-1:free", "m-1", False),
        ("gpt-4", "gpt-4o", False),
    ],
)
def test_a_closer_name_of_the_same_model_is_known(asked: str, answered: str, is_same: bool) -> None:
    assert is_same_model(asked, answered) is is_same


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0.00014}, "0.00014"),
        ({"cost": 0}, "0"),
        ({"cost": 9.5e-06, "is_byok": False, "cost_details": {"upstream_inference_cost": None}},
         "0.0000095"),
        ({"cost": 0.02, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.02}},
         "0.02"),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.036}},
         "0.036"),
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}}, "1.05"),
        ({"cost": 0.05, "is_byok": True}, None),
        ({"cost": {"total_cost": 0.008203, "request_cost": 0.008}}, "0.008203"),
        ({"cost": {"total_cost": 0.5, "currency": "USD"}}, "0.5"),
        ({"cost": {"total_cost": 0.5, "currency": "EUR"}}, None),
        ({"cost_in_usd_ticks": 37_756_000}, "0.0037756"),
        ({"estimated_cost": 0.0000268}, "0.0000268"),
        ({"cost": "0.25"}, "0.25"),
        *(({"cost": broken}, None) for broken in (None, True, -1, "free", float("nan"), [], {})),
        ({"cost_in_usd_ticks": "x"}, None),
        ({"cost": 1, "is_byok": True, "cost_details": ["x"]}, None),
        ({"prompt_tokens": 1}, None),
    ],
    ids=str,
)  # fmt: skip
def test_costs_that_answers_report(usage: dict[str, Any], cost: str | None) -> None:
    assert reported_cost(usage) == (None if cost is None else Decimal(cost))


@pytest.mark.parametrize(
    ("value", "cost"),
    [("2.85e-05", "0.0000285"), ("0.0", None), ("0", None), ("None", None), ("", None),
     ("-1", None), ("inf", None)],
)  # fmt: skip
def test_costs_in_headers(value: str, cost: str | None) -> None:
    expected = None if cost is None else Decimal(cost)
    assert header_cost({"x-litellm-response-cost": value}) == expected


def test_a_model_is_looked_up_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lookups = [0.0], list[tuple[str, str | None]]()

    def look_up(address: str, model: str, tier: str | None, at: datetime) -> Any:
        lookups.append((model, tier))
        return listed_tariff(address, model, tier, NOON)

    monkeypatch.setattr(pricer, "time", lambda: now[0])
    monkeypatch.setattr(pricer, "listed_tariff", look_up)
    prices = pricer.Pricer(EngineConfig(name="e", backend="fake"), is_free=False)
    for second in (0, 1, 59.9, 60, 61, 3600):
        now[0] = second
        for tier in (None, "flex"):
            answer = LLMOutput([], usage=Usage(1000, 200), model="gpt-5.6", service_tier=tier)
            assert prices.cost(answer, OPENAI, "gpt-5.6") == Decimal("0.004" if tier else "0.008")
    assert lookups == [("gpt-5.6", None), ("gpt-5.6", "flex")] * 3

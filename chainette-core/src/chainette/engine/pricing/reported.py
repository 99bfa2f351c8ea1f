"""The costs that answers report themselves."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from decimal import Decimal, InvalidOperation
from typing import Any

gateway_cost: ContextVar[Decimal | None] = ContextVar("gateway_cost", default=None)
"""The cost in the headers of the answer to the request that this task has sent."""

REPORTING = ("openrouter.ai", "api.x.ai", "api.perplexity.ai", "api.deepinfra.com")
"""Hosts whose every answer reports its cost."""
_TICKS = Decimal(10_000_000_000)


def header_cost(headers: Mapping[str, str]) -> Decimal | None:
    """The cost in an answer's headers, in US dollars.

    `x-litellm-response-cost` is LiteLLM's (https://docs.litellm.ai/docs/proxy/response_headers).
    It is 0.0 where LiteLLM knows no price, so 0 says nothing.

    Args:
        headers: The headers by their names in lower case.
    """
    value = headers.get("x-litellm-response-cost")
    return (_dollars(value) or None) if value is not None else None


def reported_cost(usage: Mapping[str, Any]) -> Decimal | None:
    """The cost in the `usage` of an answer, in US dollars.

    `cost` is a number in OpenRouter's answers, what the account is charged
    (https://openrouter.ai/docs/use-cases/usage-accounting); where the request used the account's
    own key of a provider (`is_byok`), the provider charges `upstream_inference_cost` beside it.
    In Perplexity's answers it is an object with `total_cost`
    (https://docs.perplexity.ai/api-reference/chat-completions-post). xAI counts ticks, ten billion
    for a dollar (https://docs.x.ai/developers/cost-tracking), DeepInfra `estimated_cost`
    (https://deepinfra.com/docs/openai_api).

    Args:
        usage: The answer's `usage`, decoded.

    Returns:
        The cost, or `None` where the answer does not report one.
    """
    cost = usage.get("cost")
    if isinstance(cost, Mapping):
        is_dollars = cost.get("currency", "USD") == "USD"
        return _dollars(cost.get("total_cost")) if is_dollars else None
    if cost is not None:
        charged = _dollars(cost)
        if charged is None or usage.get("is_byok") is not True:
            return charged
        details = usage.get("cost_details")
        upstream = isinstance(details, Mapping) and details.get("upstream_inference_cost")
        upstream = _dollars(upstream)
        return None if upstream is None else charged + upstream
    if (ticks := usage.get("cost_in_usd_ticks")) is not None:
        dollars = _dollars(ticks)
        return None if dollars is None else dollars / _TICKS
    return _dollars(usage.get("estimated_cost"))


def _dollars(value: Any) -> Decimal | None:
    """A number that is not negative."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        dollars = Decimal(str(value))
    except InvalidOperation:
        return None
    return dollars if dollars.is_finite() and dollars >= 0 else None

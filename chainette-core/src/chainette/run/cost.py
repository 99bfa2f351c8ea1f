"""What tokens cost, by the public price lists of hosted models."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from chainette.engine.client import BaseClient
from chainette.engine.transport import LOOPBACK
from chainette.pipeline.chain import Chain
from chainette.types import Usage


def costs(
    chain: Chain, clients: Mapping[str, BaseClient], usage: Mapping[str, Usage]
) -> dict[str, Decimal | None]:
    """Cost of every step in US dollars.

    Args:
        chain: The chain.
        clients: The engines' clients by name.
        usage: Tokens by step id.

    Returns:
        Costs by step id: 0 for models that run on this machine, `None` for unknown prices.
    """
    return {
        step.id: _cost(clients[step.engine_name], usage[step.id])
        for step in chain.prompted
        if usage[step.id] != Usage()
    }


def total(costs: Mapping[str, Decimal | None]) -> Decimal | None:
    """The sum, or `None` when a part of it is unknown."""
    known = [cost for cost in costs.values() if cost is not None]
    return sum(known, Decimal(0)) if len(known) == len(costs) else None


def _cost(client: BaseClient, usage: Usage) -> Decimal | None:
    if client.capabilities.local or client.offline:
        return Decimal(0)
    # The price belongs to who serves the model: a name alone would price one's own server, too.
    address = getattr(client, "base_url", "") or client.config.endpoint or ""
    if urlsplit(address).hostname in LOOPBACK:
        return None
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    model = getattr(client, "model", None) or client.config.model or ""
    priced = PricedUsage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
    )
    try:
        return calc_price(priced, model_ref=model, provider_api_url=address).total_price
    except LookupError:
        return None

"""The cost of tokens, from their engines' prices or the public price lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from chainette.engine.client.base import BaseClient
from chainette.engine.http.transport import LOOPBACK
from chainette.errors import ConfigError
from chainette.usage import Usage


def costs(
    engines: Mapping[str, str], clients: Mapping[str, BaseClient], usage: Mapping[str, Usage]
) -> dict[str, Decimal | None]:
    """The cost of every step in US dollars.

    Args:
        engines: Name of the engine by step id.
        clients: The engines' clients by name.
        usage: Tokens by step id.

    Returns:
        Costs by step id: 0 for models that run on this machine, `None` for unknown prices.
    """
    return {
        id: _cost(clients[engine], usage[id])
        for id, engine in engines.items()
        if usage[id] != Usage()
    }


def check_prices(clients: Iterable[BaseClient]) -> None:
    """Refuse to limit the cost of models whose price is unknown.

    Raises:
        ConfigError: The price of an engine's model is unknown.
    """
    for client in clients:
        if _cost(client, Usage(prompt_tokens=1, completion_tokens=1)) is None:
            raise ConfigError(
                f"engine {client.config.name!r}: max_cost cannot be kept, because the price of "
                f"{client.model or 'its model'} is unknown: give the engine a price, such as "
                "price: {input: 0.15, output: 0.60}, in US dollars for a million tokens, or leave "
                "out max_cost"
            )


def _cost(client: BaseClient, usage: Usage) -> Decimal | None:
    if client.config.price is not None:
        return client.config.price.cost(usage)
    if client.capabilities.local or client.offline:
        return Decimal(0)
    # Prices belong to providers: the model's name alone would also price the user's own server.
    address = client.base_url
    if urlsplit(address).hostname in LOOPBACK:
        return None
    from genai_prices import Usage as PricedUsage
    from genai_prices import calc_price

    model = client.model or ""
    priced = PricedUsage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
    )
    try:
        return calc_price(priced, model_ref=model, provider_api_url=address).total_price
    except LookupError:
        return None

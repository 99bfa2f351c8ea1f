"""The cost of an answer, by the best source there is."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from time import time
from urllib.parse import urlsplit

from chainette.engine.config import EngineConfig
from chainette.engine.http.transport import LOOPBACK
from chainette.engine.pricing.lists import LIST_TIERS, is_same_model, listed_tariff
from chainette.engine.pricing.reported import REPORTING, gateway_cost
from chainette.engine.pricing.tariff import Tariff
from chainette.types import LLMOutput
from chainette.usage import FREE, Usage


class Pricer:
    """The costs of one engine's answers.

    The cost that an answer reports wins over the engine's price, which wins over the public lists.

    Args:
        config: The engine's configuration.
        is_free: Whether the model runs on this machine.

    Attributes:
        is_free: Whether the model runs on this machine.
    """

    def __init__(self, config: EngineConfig, *, is_free: bool) -> None:
        self._own = config.price.tariff() if config.price is not None else None
        self.is_free: bool = is_free
        tier = config.extra_body.get("service_tier")
        self._asked_tier = tier if isinstance(tier, str) else None
        self._listed: dict[tuple[str, str, str, str | None], Tariff | None] = {}
        self._minute = 0
        self._problem = ""
        self._unpriced: tuple[str, LLMOutput] | None = None

    def cost(self, output: LLMOutput, address: str, model: str) -> Decimal | None:
        """US dollars for one answer, or `None` if they are unknown.

        Args:
            output: The answer, with the tokens of its own request alone.
            address: Base URL of the server.
            model: The model that was asked for.
        """
        reported = gateway_cost.get() or output.reported_cost
        if reported is not None:
            return reported
        tariff, usage = self._own, output.usage
        if tariff is None:
            if self.is_free:
                return FREE
            tariff = self._tariff(address, model, output.model or model, output.service_tier)
            if tariff is None:
                self._unpriced = (model, output)
                return None
        if usage is None and not tariff.is_by_token:
            usage = Usage()
        if usage is None:
            self._unpriced = None
            self._problem = "an answer came without the number of its tokens"
            return None
        cost = tariff.cost(usage)
        if cost is None:
            self._unpriced = None
            self._problem = f"the numbers of an answer's tokens contradict one another: {usage}"
        return cost

    @property
    def problem(self) -> str:
        """The reason why the cost of an answer was unknown; empty if none was."""
        return _unpriced(*self._unpriced) if self._unpriced is not None else self._problem

    def is_known(self, address: str, model: str) -> bool:
        """Whether the price is known before the first request.

        Args:
            address: Base URL of the server.
            model: The model to ask for.
        """
        if self._own is not None or self.is_free or _host(address) in REPORTING:
            return True
        return self._tariff(address, model, model, self._asked_tier) is not None

    def _tariff(
        self, address: str, asked: str, answered: str, service_tier: str | None
    ) -> Tariff | None:
        """The list price at this time; prices change at full minutes at the earliest."""
        minute = int(time()) // 60
        if minute != self._minute:
            self._listed, self._minute = {}, minute
        key = (address, asked, answered, service_tier)
        try:
            return self._listed[key]
        except KeyError:
            found = self._listed[key] = self._find(*key)
            return found

    def _find(
        self, address: str, asked: str, answered: str, service_tier: str | None
    ) -> Tariff | None:
        # Prices belong to providers: the model's name alone would also price the user's own server.
        if not address or _host(address) in LOOPBACK:
            return None
        if service_tier is None and (self._asked_tier or "auto") not in LIST_TIERS:
            return None  # a tier was asked for, and the answer does not say whether it was given
        now = datetime.now(timezone.utc)
        tariff = listed_tariff(address, answered, service_tier, now)
        if tariff is None and answered != asked and is_same_model(asked, answered):
            tariff = listed_tariff(address, asked, service_tier, now)
        return tariff


def _host(address: str) -> str | None:
    return urlsplit(address).hostname


def _unpriced(model: str, output: LLMOutput) -> str:
    name = output.model or model or "the model"
    if output.service_tier and output.service_tier not in LIST_TIERS:
        return f"the price of {name} in the service tier {output.service_tier!r} is unknown"
    if name != model:
        return f"the answers name the model {name}, whose price is unknown"
    return f"the price of {name} is unknown"

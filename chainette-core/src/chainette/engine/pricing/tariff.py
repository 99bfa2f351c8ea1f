"""The price of a request as a formula, from the price of each kind of token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from chainette.usage import FREE, Usage


@dataclass(frozen=True, slots=True)
class Rates:
    """US dollars for one token of each kind.

    Attributes:
        input: Prompt tokens that no cache is involved in.
        output: Completion tokens, without those of reasoning.
        cache_read: Prompt tokens that the server reads from its cache.
        cache_write: Prompt tokens that the server writes to its cache.
        cache_write_1h: Those of them that it keeps for an hour.
        reasoning: Completion tokens of reasoning.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    reasoning: Decimal


class Tariff:
    """The price of one request.

    Args:
        bands: The rates by size of the prompt: those from more than a number of tokens on, in
            ascending order, the first for any prompt. A band's rates are those of all tokens.
        request: US dollars for the request itself.
    """

    __slots__ = ("_bands", "_first", "_request", "is_by_token")

    def __init__(self, bands: Sequence[tuple[int, Rates]], request: Decimal = FREE) -> None:
        self._first = bands[0][1]
        self._bands = list(reversed(bands[1:]))
        self._request = request
        self.is_by_token: bool = any(
            getattr(rates, name) for _, rates in bands for name in Rates.__slots__
        )

    def cost(self, usage: Usage) -> Decimal | None:
        """US dollars for one request, or `None` if its numbers contradict one another.

        Args:
            usage: The tokens of one request, never the sum of several.
        """
        read, written = usage.cached_tokens, usage.cache_write_tokens
        plain = usage.prompt_tokens - read - written
        said = usage.completion_tokens - usage.reasoning_tokens
        if plain < 0 or said < 0:
            return None
        rates = self._first
        for start, higher in self._bands:
            if usage.prompt_tokens > start:
                rates = higher
                break
        dollars = plain * rates.input + said * rates.output
        if read:
            dollars += read * rates.cache_read
        if written:
            kept = min(usage.cache_write_1h_tokens, written)
            dollars += (written - kept) * rates.cache_write + kept * rates.cache_write_1h
        if usage.reasoning_tokens:
            dollars += usage.reasoning_tokens * rates.reasoning
        return dollars + self._request if self._request else dollars

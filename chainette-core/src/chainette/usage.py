"""Tokens that requests take, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

FREE = Decimal(0)
"""The cost of what costs nothing, in US dollars."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one or more requests took.

    Attributes:
        prompt_tokens: Tokens read, including those of the server's cache.
        completion_tokens: Tokens written, including reasoning.
        reasoning_tokens: Completion tokens of reasoning.
        cached_tokens: Prompt tokens that the server read from its cache.
        cache_write_tokens: Prompt tokens that the server wrote to its cache.
        cache_write_1h_tokens: Those of them that it keeps for an hour, where that has a price.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name; cache writes, which few servers report, only if there are any."""
        counts = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cached_tokens": self.cached_tokens,
        }
        if self.cache_write_tokens:
            counts["cache_write_tokens"] = self.cache_write_tokens
        if self.cache_write_1h_tokens:
            counts["cache_write_1h_tokens"] = self.cache_write_1h_tokens
        return counts

    def __add__(self, other: Usage) -> Usage:
        """The sum of two usages."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.cache_write_1h_tokens + other.cache_write_1h_tokens,
        )


class Spending:
    """The tokens and US dollars of several answers.

    Attributes:
        usage: Tokens, as far as they are known; `None` if none are.
        cost: US dollars, or `None` as soon as the cost of one answer is unknown.
        requests: Requests that were answered, as their sender counts them.
    """

    __slots__ = ("cost", "requests", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.cost: Decimal | None = FREE
        self.requests: int = 0

    def add(self, usage: Usage | None, cost: Decimal | None) -> None:
        """Add an answer, or the sum of several.

        Args:
            usage: Its tokens, or `None` if they are unknown.
            cost: US dollars, or `None` if they are unknown.
        """
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage
        self.cost = None if cost is None or self.cost is None else self.cost + cost


def dollars(cost: Decimal | None) -> float | None:
    """A cost as a JSON number."""
    return None if cost is None else float(cost) if cost else 0.0

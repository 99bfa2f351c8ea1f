"""Tokens that requests take."""

from __future__ import annotations

from dataclasses import dataclass

from chainette.text import names_keywords


@names_keywords
@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one or more requests took.

    Attributes:
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written, including reasoning.
        reasoning_tokens: Completion tokens of reasoning.
        cached_tokens: Prompt tokens that the server read from its cache.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "cached_tokens": self.cached_tokens,
        }

    def __add__(self, other: Usage) -> Usage:
        """The sum of two usages."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cached_tokens + other.cached_tokens,
        )

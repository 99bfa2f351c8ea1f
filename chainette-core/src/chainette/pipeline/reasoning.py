"""The reasoning of earlier steps, as templates and functions see it."""

from __future__ import annotations

from dataclasses import dataclass

REASONING = "reasoning"
"""The name that it has."""


class Reasoning(dict[str, str]):
    """The reasoning of the steps so far by id; an empty text where the model gave none."""


@dataclass(frozen=True, slots=True)
class ReasoningType:
    """The type of the reasoning that a prompt can see.

    Attributes:
        steps: Ids of the steps so far.
    """

    steps: tuple[str, ...] = ()

    def after(self, id: str) -> ReasoningType:
        """The type behind one more step."""
        return ReasoningType((*self.steps, id))

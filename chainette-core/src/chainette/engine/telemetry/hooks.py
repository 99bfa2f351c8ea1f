"""The hooks that traces and metrics attach to; nothing is attached by default."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from chainette.events import NodeStarted, RequestStarted, RowStarted
from chainette.types import LLMOutput


class Telemetry(Protocol):
    """Traces rows, nodes and requests while they are in progress."""

    def row(self, event: RowStarted) -> AbstractContextManager[Any]:
        """A context that lasts as long as a row."""

    def node(self, event: NodeStarted) -> AbstractContextManager[Any]:
        """A context that lasts as long as one item is in one node."""

    def request(
        self, event: RequestStarted, scrub: Callable[[str], str]
    ) -> AbstractContextManager[Callable[[LLMOutput], None]]:
        """A context that lasts as long as a request.

        Args:
            event: The request.
            scrub: Removes the engine's secrets from a text.

        Returns:
            A context manager; its value is called with the answer.
        """


active: Telemetry | None = None
"""The telemetry that is attached."""


def row(event: RowStarted) -> AbstractContextManager[Any]:
    """A context that lasts as long as a row."""
    return nullcontext() if active is None else active.row(event)


def node(event: NodeStarted) -> AbstractContextManager[Any]:
    """A context that lasts as long as one item is in one node."""
    return nullcontext() if active is None else active.node(event)

"""Where traces and metrics attach; nothing is attached unless somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from chainette.engine.client import BaseClient, Request
    from chainette.types import LLMOutput


class Telemetry(Protocol):
    """Is told of rows, steps and requests while they go on."""

    def row(self, chain: str, row_id: int) -> AbstractContextManager[Any]:
        """Around a row."""

    def node(self, node_id: str, row_id: int, item: str) -> AbstractContextManager[Any]:
        """Around one item in one step or function."""

    def request(
        self, client: BaseClient, request: Request
    ) -> AbstractContextManager[Callable[[LLMOutput], None]]:
        """Around a request; what it gives is called with the answer."""


active: Telemetry | None = None
"""The one that is attached."""


def row(chain: str, row_id: int) -> AbstractContextManager[Any]:
    """Around a row."""
    return nullcontext() if active is None else active.row(chain, row_id)


def node(node_id: str, row_id: int, item: str) -> AbstractContextManager[Any]:
    """Around one item in one step or function."""
    return nullcontext() if active is None else active.node(node_id, row_id, item)

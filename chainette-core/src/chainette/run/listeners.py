"""Tells the plugins that listen what happens in a run."""

from __future__ import annotations

import logging
from typing import Any

from chainette.names import printable
from chainette.pipeline.chain import Chain
from chainette.plugins import discovery
from chainette.plugins.event import Event
from chainette.run.events import Observer, Observers
from chainette.types import Usage

logger = logging.getLogger(__name__)


def with_listeners(observer: Observer) -> Observer:
    """The observer, and the plugins that implement `chainette_event`, if there are any."""
    listeners = discovery.listeners()
    return Observers(observer, Listeners(listeners)) if listeners else observer


class Listeners(Observer):
    """Turns what happens into events; a plugin that raises is told nothing more.

    Args:
        listeners: The plugins' hooks by name.
    """

    def __init__(self, listeners: list[discovery.Listener]) -> None:
        self._listeners = dict(listeners)

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Tell all."""
        self._tell("run_started", chain=chain.name, nodes=list(chain.nodes), total=total)

    def node_started(self, node_id: str) -> None:
        """Tell all."""
        self._tell("node_started", node_id=node_id)

    def node_finished(self, node_id: str, usage: Usage | None, seconds: float) -> None:
        """Tell all."""
        self._tell("node_finished", node_id=node_id, usage=usage, seconds=seconds)

    def node_retried(
        self, node_id: str, row_id: int, item: str, error: Exception, seconds: float
    ) -> None:
        """Tell all."""
        where = {"node_id": node_id, "row_id": row_id, "item": item}
        self._tell("node_retried", **where, error=error, seconds=seconds)

    def node_failed(self, node_id: str, row_id: int, item: str, error: Exception) -> None:
        """Tell all."""
        self._tell("node_failed", node_id=node_id, row_id=row_id, item=item, error=error)

    def row_finished(self, ok: bool) -> None:
        """Tell all."""
        self._tell("row_finished", ok=ok)

    def run_closed(self) -> None:
        """Tell all."""
        self._tell("run_closed")

    def _tell(self, event_name: str, **fields: Any) -> None:
        event = Event(event_name, fields)
        for name, hook in list(self._listeners.items()):
            try:
                hook(event=event)
            except Exception as error:  # it must not end the run
                del self._listeners[name]
                logger.warning(
                    "listener %r failed and is left out: %s", name, printable(str(error))
                )

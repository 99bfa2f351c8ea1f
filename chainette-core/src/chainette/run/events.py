"""What can be watched while a run goes on."""

from __future__ import annotations

from chainette.pipeline.chain import Chain
from chainette.types import Usage


class Observer:
    """Is told what happens in a run; override what is of interest."""

    def run_started(self, chain: Chain, total: int | None) -> None:
        """The first row is about to be taken; `total` rows are expected, if that is known."""

    def node_started(self, node_id: str) -> None:
        """One item has come to one node; it will finish or fail there."""

    def node_finished(self, node_id: str, usage: Usage | None, seconds: float) -> None:
        """One item is done with one node, which took so long; 0 when an earlier run did it."""

    def node_retried(
        self, node_id: str, row_id: int, item: str, error: Exception, seconds: float
    ) -> None:
        """A request of one item is sent again in so many seconds, because of an error."""

    def node_failed(self, node_id: str, row_id: int, item: str, error: Exception) -> None:
        """One item failed in one node; the node is empty for a row that could not be read."""

    def row_finished(self, ok: bool) -> None:
        """One row is done."""

    def run_closed(self) -> None:
        """The run is over, however it ended, and everything is written."""


class Observers(Observer):
    """Tells several observers.

    Args:
        observers: Whom to tell.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def run_started(self, chain: Chain, total: int | None) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.run_started(chain, total)

    def node_started(self, node_id: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.node_started(node_id)

    def node_finished(self, node_id: str, usage: Usage | None, seconds: float) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.node_finished(node_id, usage, seconds)

    def node_retried(
        self, node_id: str, row_id: int, item: str, error: Exception, seconds: float
    ) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.node_retried(node_id, row_id, item, error, seconds)

    def node_failed(self, node_id: str, row_id: int, item: str, error: Exception) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.node_failed(node_id, row_id, item, error)

    def row_finished(self, ok: bool) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.row_finished(ok)

    def run_closed(self) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.run_closed()

"""Delivery of a run's events to everything that listens."""

from __future__ import annotations

import logging

from chainette.events import Event, Listener
from chainette.plugins import discovery
from chainette.text import printable

_logger = logging.getLogger(__name__)


def with_plugins(*listeners: Listener) -> Listener:
    """One listener that calls several, and the plugins that implement `chainette_event`.

    Args:
        *listeners: The functions to call, in this order.
    """
    plugins = discovery.listeners()
    everyone: list[Listener] = list(listeners)
    if plugins:
        everyone.append(PluginListeners(plugins))
    if len(everyone) == 1:
        return everyone[0]

    def emit(event: Event) -> None:
        for listener in everyone:
            listener(event)

    return emit


class PluginListeners:
    """Passes events to plugins; one that raises receives no further events.

    Args:
        plugins: The plugins' hooks with their names.
    """

    def __init__(self, plugins: list[discovery.Listener]) -> None:
        self._hooks = dict(plugins)

    def __call__(self, event: Event) -> None:
        """Call every hook."""
        for name, hook in list(self._hooks.items()):
            try:
                hook(event=event)
            except Exception as error:  # it must not end the run
                del self._hooks[name]
                reason = printable(str(error))
                _logger.warning("listener %r failed and receives no more events: %s", name, reason)

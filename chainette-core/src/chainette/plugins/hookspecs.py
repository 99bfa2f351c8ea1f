"""Every hook that a plugin may implement."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from chainette.events import Event
    from chainette.plugins.backend import Backend

PROJECT = "chainette"

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)


@hookspec
def chainette_backends() -> Iterable[Backend]:  # type: ignore[empty-body]
    """Return the backends that this plugin provides."""


@hookspec
def chainette_event(event: Event) -> None:
    """Receive an event of a run; called in the run's event loop, so it must be quick.

    Args:
        event: One of the records of `chainette.events`.
    """

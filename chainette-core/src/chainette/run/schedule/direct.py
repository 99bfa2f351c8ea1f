"""Requests that functions make beside their run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from chainette.engine.generation import on_direct_request
from chainette.pipeline.nodes.apply import ApplyNode

_logger = logging.getLogger(__name__)


class DirectRequests:
    """Notices requests that functions send by themselves, and warns of the first one in a run."""

    def __init__(self) -> None:
        self._has_warned = False

    @contextmanager
    def watched(self, node: ApplyNode) -> Iterator[None]:
        """Notice the requests of a function while it runs.

        Args:
            node: The function.
        """
        token = on_direct_request.set(partial(self._warn, node))
        try:
            yield
        finally:
            on_direct_request.reset(token)

    def _warn(self, node: ApplyNode, engine: str) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        _logger.warning(
            "apply %r calls engine %r by itself: the run knows neither the cost nor the answer, "
            "and a resumed run asks again; give the function a parameter calls, name the engine in "
            "apply(…, engines=[%r]), and ask with calls[%r].ask(…)",
            node.id,
            engine,
            engine,
            engine,
        )

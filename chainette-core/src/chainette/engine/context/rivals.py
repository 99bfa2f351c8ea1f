"""Engines that displace one another's model from a server's memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import combinations

from chainette.engine.client.base import BaseClient

_logger = logging.getLogger(__name__)


def warn_of_rivals(clients: Iterable[BaseClient]) -> None:
    """Warn of each pair of engines for which a server loads one model in two ways.

    Args:
        clients: The engines of a run.
    """
    for one, other in combinations(clients, 2):
        first, second = one.residence(), other.residence()
        if first is None or second is None or first[0] != second[0] or first[1] == second[1]:
            continue
        _logger.warning(
            "engines %r and %r use one model with different settings (%s; %s): the server loads it "
            "again whenever they take turns; give both the same",
            one.config.name,
            other.config.name,
            first[1],
            second[1],
        )

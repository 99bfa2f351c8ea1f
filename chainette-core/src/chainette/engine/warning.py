"""Warnings of an engine, each of which is logged once."""

from __future__ import annotations

import logging
from functools import cached_property

from chainette.engine.config import EngineConfig

_logger = logging.getLogger(__name__)


class EngineWarnings:
    """The part of a client that warns of its engine."""

    config: EngineConfig

    @cached_property
    def _warned(self) -> set[str]:
        """The topics that it has warned of."""
        return set()

    def warn_once(self, topic: str, message: str, *values: object) -> None:
        """Log a warning that names the engine, unless it had one of this topic before.

        Args:
            topic: Name of the problem, such as that of a field.
            message: The text, with `%s` and the like in the place of the values.
            *values: The values.
        """
        if topic not in self._warned:
            self._warned.add(topic)
            self._warn(message, *values)

    def _warn(self, message: str, *values: object) -> None:
        _logger.warning(f"engine %r: {message}", self.config.name, *values)

    def _note(self, message: str, *values: object) -> None:
        """Log something for `chainette --debug`."""
        _logger.debug(f"%s: {message}", self.config.name, *values)

"""How typed answers are asked for, from the way that a server enforces to mere words."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from chainette.engine.config import EngineConfig
from chainette.engine.structured import OutputSchema

if TYPE_CHECKING:
    from chainette.engine.client import Request

logger = logging.getLogger(__name__)

MODES = ("json_schema", "json_object", "prompt")
"""From the top of the ladder down: the schema, any JSON, and a prompt that asks for it."""


class Ladder:
    """Remembers for an engine how far down it has to go.

    Args:
        config: The engine's configuration.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._name = config.name
        self._walks = config.structured_output == "auto"
        self._mode = MODES[0] if self._walks else config.structured_output
        self._proven: set[OutputSchema] = set()
        self._refused: dict[OutputSchema, str] = {}

    def mode(self, output: OutputSchema | None) -> str:
        """The way to ask for answers of a type."""
        if output is None or not self._refused:
            return self._mode
        return self._refused.get(output, self._mode)

    def below(self, request: Request) -> Request | None:
        """The same request one rung lower, if the way it asks may be why it was refused."""
        if not self._walks or request.output is None or request.output in self._proven:
            return None
        lower = MODES[MODES.index(request.mode) + 1 :]
        return replace(request, mode=lower[0]) if lower else None

    def worked(self, request: Request) -> None:
        """A request was taken: its way is the one to go."""
        output = request.output
        if output is None or output in self._proven:
            return
        self._proven.add(output)
        if request.mode == self._mode:
            return
        if not self._refused:
            logger.warning(
                "engine %r: the server refuses structured output by %s; asking by %s from now on, "
                "and every answer is validated",
                self._name,
                self._mode,
                request.mode,
            )
        self._refused[output] = request.mode

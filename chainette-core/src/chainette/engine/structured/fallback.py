"""Output modes, the ways to ask for a typed answer, and the fallback to a weaker one."""

from __future__ import annotations

import logging
import re

from chainette.engine.config import EngineConfig
from chainette.engine.structured.schema import OutputSchema
from chainette.errors import ContextLengthError, RequestError

_logger = logging.getLogger(__name__)

MODES = ("json_schema", "json_object", "prompt")
"""The output modes, strongest first: the schema, any JSON, and a prompt that asks for JSON."""
_PARAMETER = re.compile(
    r"response[ _.]?(format|schema|mime)|schema|json[ _]?(object|mode)|structured|guided|grammar"
    r"|text\.format|output[ _]?(format|config)|['\"`]format",
    re.IGNORECASE,
)
"""The fields that ask for an output mode, under the names that servers have for them (the API
references of OpenAI, vLLM, llama.cpp, Ollama, Gemini and Anthropic)."""


class OutputModeFallback:
    """The output mode that an engine accepts, remembered for each output type.

    Args:
        config: The engine's configuration.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._name = config.name
        self._is_automatic = config.structured_output == "auto"
        self._mode = MODES[0] if self._is_automatic else config.structured_output
        self._proven: set[OutputSchema] = set()
        self._refused: dict[OutputSchema, str] = {}

    def mode(self, output: OutputSchema | None) -> str:
        """The output mode for answers of a type."""
        if output is None or not self._refused:
            return self._mode
        return self._refused.get(output, self._mode)

    def lower(self, output: OutputSchema | None, mode: str, refusal: RequestError) -> str | None:
        """The next weaker mode, if the mode may be the reason for a refusal.

        Args:
            output: The type of the answer.
            mode: The mode of the refused request.
            refusal: The refusal; it counts where it names the field that asks for the mode.

        Returns:
            The mode, or `None` if the present one is the last or cannot be the reason.
        """
        if not self._is_automatic or output is None or output in self._proven:
            return None
        if isinstance(refusal, ContextLengthError):
            return None
        if refusal.status not in (400, 422) or not _PARAMETER.search(f"{refusal.param} {refusal}"):
            return None
        weaker = MODES[MODES.index(mode) + 1 :]
        return weaker[0] if weaker else None

    def accepted(self, output: OutputSchema | None, mode: str) -> None:
        """Remember that the server accepted a request for a type in a mode."""
        if output is None or output in self._proven:
            return
        self._proven.add(output)
        if mode == self._mode:
            return
        if not self._refused:
            _logger.warning(
                "engine %r: the server refuses structured output by %s; asking by %s from now on, "
                "and every answer is validated",
                self._name,
                self._mode,
                mode,
            )
        self._refused[output] = mode

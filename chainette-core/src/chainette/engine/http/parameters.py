"""Parameters that a model refuses, learnt from its server's first refusal."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from chainette.engine.http.refusals import LONGEST_QUOTE
from chainette.errors import ContextLengthError, RequestError
from chainette.types import SamplingParams

MAX_LESSONS = 8
"""Refusals in a row from which one request learns; a model refuses fewer parameters."""
_UNSUPPORTED = re.compile(
    r"unsupported|n[o']t support|does not accept|unrecognized|unknown|not permitted|not allowed"
    r"|not enabled|not available|deprecated|unexpected|no longer|extra_forbidden|extra inputs"
    r"|cannot both be|is unavailable",
    re.IGNORECASE,
)
"""The ways in which servers say that they do not have a parameter: OpenAI ("Unsupported
parameter"), Mistral ("extra_forbidden"), xAI ("does not support parameter"), Gemini ("Unknown
name", "not enabled"), Groq ("is unsupported"), Anthropic ("deprecated")."""
_EITHER = re.compile(r"cannot both be", re.IGNORECASE)
"""Anthropic: "`temperature` and `top_p` cannot both be specified for this model"."""
_TOO_MUCH = re.compile(r"context length|context window|too (large|long|many)", re.IGNORECASE)
"""Words about a value that one row is too long for; another row may be fine."""
_RENAMED = re.compile(r"use ['\"`]?(\w+)['\"`]? instead", re.IGNORECASE)
"""OpenAI: "Unsupported parameter: 'max_tokens' is not supported with this model. Use
'max_completion_tokens' instead."."""
_NAMES = frozenset((*SamplingParams.model_fields, "max_completion_tokens", "max_output_tokens"))
_WORDS = frozenset(("n", "stop"))
"""Names that are words of every language; they count where the server marks them as names."""

Warn = Callable[..., None]
"""Logs a warning once: its topic, the message, and the values in the message."""


class LearntParameters:
    """The sampling parameters that an engine's model takes under another name or not at all.

    Args:
        drops: Whether a parameter that the model refuses is left out.
        warn: Logs a warning, once for each topic.
    """

    def __init__(self, drops: bool, warn: Warn) -> None:
        self._drops = drops
        self._warn = warn
        self._names: dict[str, str | None] = {}

    def apply(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a request as the model takes them.

        Args:
            fields: The fields; they are not changed.
        """
        if not self._names:
            return fields
        named = ((self._names.get(name, name), value) for name, value in fields.items())
        return {name: value for name, value in named if name is not None}

    def learn(self, refusal: RequestError, fields: Mapping[str, Any]) -> bool:
        """Learn from a refusal, if a sampling parameter is its reason.

        Args:
            refusal: The refusal; where it will be that of every row, it becomes final.
            fields: The fields of the request before `apply`.

        Returns:
            Whether to send the request again.
        """
        if refusal.status not in (400, 422) or isinstance(refusal, ContextLengthError):
            return False
        message = str(refusal)
        sent = {self._names.get(name, name) or name: name for name in fields}
        name = _named(refusal.param, message, sent)
        is_quote = len(message) > LONGEST_QUOTE and name != refusal.param
        if name is None or is_quote or not _UNSUPPORTED.search(message):
            return False
        if _TOO_MUCH.search(message):
            return False
        own = sent[name]
        if name in self._names:  # another row has learnt it in the meantime
            return True
        other = _RENAMED.search(message)
        if other and other[1] != name:
            self._names[name] = self._names[own] = other[1]
            self._warn(name, "the model takes %s as %s", name, other[1])
        elif self._drops:
            self._names[name] = self._names[own] = None
            self._warn(name, "the model refuses the sampling parameter %s; it is left out", name)
        else:
            hint = f"leave {own} out of the step's sampling, or set drop_unsupported_params: true"
            refusal.args = (f"{message}; {hint} in the engine's configuration",)
            refusal.final = True
            return False
        return True


def _named(param: str | None, message: str, sent: Collection[str]) -> str | None:
    """The sampling parameter that a refusal names, among those that were sent."""
    known = [name for name in sent if name in _NAMES]
    if _EITHER.search(message):  # the first one is kept
        known.reverse()
    if param in known:
        return param
    for name in known:
        spelt = name.replace("_", "[_ ]?")  # presencePenalty, "Presence penalty"
        marked = rf"['\"`]{spelt}['\"`]|parameters?:? {spelt}\b"
        if re.search(marked if name in _WORDS else rf"\b{spelt}\b", message, re.IGNORECASE):
            return name
    return None

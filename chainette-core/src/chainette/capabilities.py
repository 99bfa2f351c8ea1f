"""Capabilities of backends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from chainette.text import names_keywords

Dialect: TypeAlias = Literal["openai_strict", "llama_cpp", "xgrammar", "plain"]
"""Parts of JSON Schema that decoders take; `Capabilities.dialect` has what they are."""

CHAT_SAMPLING = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "n",
    }
)
"""Sampling parameters that the chat completions protocol defines; some servers accept more."""


@names_keywords
@dataclass(frozen=True, slots=True)
class Capabilities:
    """The capabilities of a backend, declared rather than found by trial.

    Attributes:
        json_schema: The server can enforce a JSON schema.
        json_object: The server has a JSON mode without a schema.
        guided_decoding: The server can enforce a regex, a choice or a grammar.
        reasoning: The server can report the model's reasoning separately from its answer.
        prefill: An assistant's turn at the end is the start of the answer, which the model
            continues.
        local: The backend runs the model, or its server, on this machine.
        sampling: Names of the sampling parameters that reach the server.
        dialect: The part of JSON Schema that the server's decoder takes: `openai_strict` is
            OpenAI's strict mode, `llama_cpp` and `xgrammar` are grammars; `plain` is unknown, and
            leaves out only what takes some servers down. Schemas are written in it, and what it
            does not enforce is said in words.
    """

    json_schema: bool = False
    json_object: bool = False
    guided_decoding: bool = False
    reasoning: bool = False
    prefill: bool = False
    local: bool = False
    sampling: frozenset[str] = field(default_factory=frozenset)
    dialect: Dialect = "plain"

    def names(self) -> list[str]:
        """Names of the flags that are set, for display."""
        flags = (
            *("json_schema", "json_object", "guided_decoding", "reasoning", "prefill", "local"),
        )
        return [name for name in flags if getattr(self, name)]

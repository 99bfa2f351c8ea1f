"""Reading a server's refusal of a prompt that is longer than the context."""

from __future__ import annotations

import re
from collections.abc import Collection

from chainette.errors import ContextLengthError

_CODES = frozenset(
    (
        "context_length_exceeded",  # OpenAI docs, "Error codes"; Groq, Azure, OpenRouter
        "exceed_context_size_error",  # llama.cpp, tools/server/README.md, and Ollama through it
        "model_max_prompt_tokens_exceeded",  # GitHub Models
    )
)
_WORDS = re.compile(
    r"maximum context length|available context size"
    r"|exceed(s|ed)? (the |max )?context (length|window)"  # Ollama, its cloud, llama-cpp-python
    r"|longer than the (model's )?context length"
    r"|prompt too long: \d+ tokens"  # oMLX
    r"|keep the first \d+ tokens when|tokens to keep from the initial prompt"  # LM Studio
    r"|longer than the maximum model length"  # vLLM
    r"|prompt is too long: \d+ tokens"  # Anthropic docs, "Errors"
    r"|input token count .{0,20}exceeds the maximum"  # Gemini
    r"|`inputs` (tokens \+|must have less than)"  # Text Generation Inference
    r"|input is too long for requested model",  # Bedrock
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"max(_completion|_new|_output)?_tokens['\"`]? (is|are|must be|was)? ?(too|at least|less)",
    re.IGNORECASE,
)
"""vLLM names the context where `max_tokens` alone is too large, too."""
_PROMPTS = (
    r"(?:request|input) \((\d+) tokens\)",  # llama.cpp
    r"\((\d+) in the (?:messages|prompt|input)",  # OpenAI and vLLM
    r"(?:has|have|contains|resulted in|Given:) (\d+) (?:input |`inputs` )?tokens",
    r"prompt (?:is )?too long: (\d+) tokens",
    r"keep the first (\d+) tokens",
    r"requested tokens \((\d+)\)",
    r"input token count \(?(\d+)",
    r"prompt \(length (\d+)\)",
)
_CONTEXTS = (
    r"context (?:size|length) \((\d+) tokens\)",
    r"context (?:length|window) (?:is|of)(?: only)? (\d+)",
    r"tokens > (\d+) maximum",
    r"tokens allowed \(?(\d+)",
    r"model length of (\d+)",
    r"with (\d+) maximum context length",
    r"must (?:be <=|have less than) (\d+)",
)


def context_error(codes: Collection[str], words: str, said: str) -> ContextLengthError | None:
    """The exception for a refusal, if it is about the length of the prompt.

    Args:
        codes: The codes of the refusal, in lower case.
        words: The server's message.
        said: The beginning of the exception's message.
    """
    is_coded = not _CODES.isdisjoint(codes)
    if not is_coded and (not _WORDS.search(words) or _OTHER.search(words)):
        return None
    error = ContextLengthError(said)
    error.prompt_tokens, error.context_tokens = _number(_PROMPTS, words), _number(_CONTEXTS, words)
    error.args = (f"{said}; {error.numbers}: shorten the prompt, or use a longer context",)
    return error


def _number(patterns: Collection[str], words: str) -> int | None:
    found = (re.search(pattern, words, re.IGNORECASE) for pattern in patterns)
    return next((int(each[1]) for each in found if each), None)

"""Errors of Ollama in words that say what to do."""

from __future__ import annotations

import json
from typing import Any

from chainette.backend import (
    AuthenticationError,
    ContextLengthError,
    EngineError,
    NotFoundError,
    RequestError,
)

from chainette_ollama.config import OllamaConfig
from chainette_ollama.server import Model

_PERMANENT = ('option "', "invalid format")
"""Beginnings of errors with status 500 that the same request has again."""


def explained(error: EngineError, body: bytes, config: OllamaConfig, model: Model) -> EngineError:
    """An error with what Ollama means by it.

    Args:
        error: The error, as any server's.
        body: The body of the answer.
        config: The engine's configuration.
        model: The model.
    """
    fields = _fields(body)
    said, words = str(error).partition("; check the engine's")[0], str(fields.get("error", ""))
    if isinstance(error, ContextLengthError):
        error.context_tokens = error.context_tokens or model.num_ctx
        other = ", or allow context_overflow: cut" if config.context_overflow == "error" else ""
        said = said.partition("; the prompt has")[0]
        said += f"; {error.numbers} ({model.context}): raise num_ctx{other}"
    elif isinstance(error, NotFoundError) and "model" in words.lower():
        said = f"{words}; to get the model: ollama pull {config.model}"
    elif isinstance(error, NotFoundError):
        said += "; the path is wrong: is endpoint the address of Ollama?"
    elif error.status == 403 and not body.strip():
        said += "; Ollama refuses the Host or Origin of the request, whatever the key: use "
        said += "the server's own address, or set OLLAMA_ORIGINS there"
    elif isinstance(error, AuthenticationError) and (link := fields.get("signin_url")):
        said += f"; the server is not signed in: run `ollama signin` there, or open {link}"
    elif error.status == 500 and words.startswith(_PERMANENT):
        error = RequestError(said, status=500)
        error.final = words.startswith(_PERMANENT[0])
    else:
        return error
    error.args = (said,)
    return error


def _fields(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}

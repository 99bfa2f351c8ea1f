"""The servers and models of the recordings, and the errors that all of them share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Version: TypeAlias = Literal["0.33 template", "0.33 native", "0.25"]
"""The servers of the recordings: 0.33 with a model that has Ollama's own template, 0.33 with one
that llama-server renders and checks, and 0.25, the last with Ollama's own runners."""

CRASH = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an "
    "internal error, check ollama server logs for details"
)
TOO_LONG = "the input length exceeds the context length"
"""The words of 0.25, and of embeddings on every server."""
_INTEGERS = frozenset(("num_ctx", "num_predict", "seed", "top_k", "num_gpu", "num_keep"))
_DURATION = re.compile(r"([-+]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+")
_THINK = (None, True, False, "high", "medium", "low", "max")


@dataclass(frozen=True)
class Modelfile:
    """A model of the fake server.

    Attributes:
        parameters: Its `PARAMETER` lines, which count where a request does not say otherwise.
        capabilities: Its capabilities, as `/api/show` names them.
        shown: The whole answer of `/api/show`, where it has been recorded.
        listed: Its entry in `/api/tags`, where it has been recorded.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ("completion",)
    shown: Mapping[str, Any] | None = None
    listed: Mapping[str, Any] | None = None

    def show(self) -> dict[str, Any]:
        """The answer of `/api/show`."""
        if self.shown is not None:
            return dict(self.shown)
        lines = [
            f"{name:<30} {json.dumps(each)}"
            for name, value in self.parameters.items()
            for each in (value if isinstance(value, list) else [value])
        ]
        details = {"format": "gguf", "family": "llama", "parameter_size": "134.52M"}
        return {
            "parameters": "\n".join(lines),
            "details": details,
            "model_info": {"general.architecture": "llama"},
            "capabilities": list(self.capabilities),
        }


def nested(code: int, message: str, kind: str = "invalid_request_error", **more: int) -> str:
    """An error of llama-server, which Ollama passes on as JSON inside of a text."""
    error = {"code": code, "message": message, "type": kind, **more}
    return json.dumps({"error": error}, separators=(",", ":"))


def too_long(tokens: int, context: int) -> str:
    """The error of llama-server for a prompt that does not fit."""
    message = (
        f"request ({tokens} tokens) exceeds the available context size ({context} tokens), "
        "try increasing it"
    )
    return nested(400, message, "exceed_context_size_error", n_prompt_tokens=tokens, n_ctx=context)


def malformed(body: Mapping[str, Any]) -> str:
    """The error for a request that Go cannot read into its types, or an empty text."""
    for message in body.get("messages") or ():
        if isinstance(message["content"], list):
            place = "Go struct field ChatRequest.messages.content"
            return f"json: cannot unmarshal array into {place} of type string"
        if any(image.startswith("data:") for image in message.get("images") or ()):
            return "illegal base64 data at input byte 4"
    if (think := body.get("think")) not in _THINK:
        known = '(must be "high", "medium", "low", "max", true, or false)'
        return f"invalid think value: {json.dumps(think)} {known}"
    return _wrong_time(body.get("keep_alive"))


def _wrong_time(value: Any) -> str:
    """The error for a `keep_alive` that is none, or an empty text."""
    if isinstance(value, bool):
        return "Unsupported type: 'bool'"
    if not isinstance(value, str) or _DURATION.fullmatch(value):
        return ""
    unit = value.lstrip("-+0123456789.")
    if not unit:
        return f'time: missing unit in duration "{value}"'
    return f'time: unknown unit "{unit}" in duration "{value}"'


def wrong_option(options: Mapping[str, Any]) -> str:
    """The error for an option of another type, or an empty text; unknown options are ignored."""
    for name, value in options.items():
        if name in _INTEGERS and not isinstance(value, int | float):
            return f'option "{name}" must be of type integer'
        if name == "stop" and not isinstance(value, list):
            return 'option "stop" must be of type array'
    return ""

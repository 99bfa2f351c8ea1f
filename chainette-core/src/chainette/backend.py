"""Everything that a backend needs: the one module that a plugin imports.

Names are imported when they are first used: a plugin's module that only describes its backend loads
neither Pydantic nor an HTTP library, and `chainette engines list` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainette.capabilities import CHAT_SAMPLING, Capabilities, Dialect
    from chainette.engine.client.base import BaseClient
    from chainette.engine.client.identity_cache import IdentityCache
    from chainette.engine.client.per_loop import PerLoop
    from chainette.engine.client.request import Request, is_json, with_instruction
    from chainette.engine.config import EngineConfig
    from chainette.engine.endpoint import endpoint_from_env, with_scheme
    from chainette.engine.http.client import BaseHTTPClient
    from chainette.engine.http.openai_chat import OpenAIChatClient, model_names, unreadable
    from chainette.engine.http.responses import OpenAIResponsesClient
    from chainette.engine.http.transport import NO_PROXY, HTTPResponse
    from chainette.engine.server.docker import Container
    from chainette.engine.server.download import Download, post_for_lines
    from chainette.engine.server.loading import SharedStart, load
    from chainette.engine.server.ports import free_port, listener
    from chainette.engine.server.process import ServerProcess, server_process
    from chainette.engine.server.progress import announce
    from chainette.engine.structured.schema import OutputSchema
    from chainette.errors import (
        AuthenticationError,
        ContextLengthError,
        EngineConnectionError,
        EngineError,
        EngineStartError,
        EngineTimeoutError,
        EngineUnreachableError,
        NotFoundError,
        QuotaError,
        RateLimitError,
        RequestError,
        ServerError,
    )
    from chainette.json_bytes import encode_prompt
    from chainette.plugins.backend import API_VERSION, Backend
    from chainette.plugins.discovery import register_backend
    from chainette.plugins.hookspecs import hookimpl
    from chainette.types import Completion, LLMOutput, Message, SamplingParams
    from chainette.usage import Usage

__all__ = [
    "API_VERSION",
    "CHAT_SAMPLING",
    "NO_PROXY",
    "AuthenticationError",
    "Backend",
    "BaseClient",
    "BaseHTTPClient",
    "Capabilities",
    "Completion",
    "Container",
    "ContextLengthError",
    "Dialect",
    "Download",
    "EngineConfig",
    "EngineConnectionError",
    "EngineError",
    "EngineStartError",
    "EngineTimeoutError",
    "EngineUnreachableError",
    "HTTPResponse",
    "IdentityCache",
    "LLMOutput",
    "Message",
    "NotFoundError",
    "OpenAIChatClient",
    "OpenAIResponsesClient",
    "OutputSchema",
    "PerLoop",
    "QuotaError",
    "RateLimitError",
    "Request",
    "RequestError",
    "SamplingParams",
    "ServerError",
    "ServerProcess",
    "SharedStart",
    "Usage",
    "announce",
    "encode_prompt",
    "endpoint_from_env",
    "free_port",
    "hookimpl",
    "is_json",
    "listener",
    "load",
    "model_names",
    "post_for_lines",
    "register_backend",
    "server_process",
    "unreadable",
    "with_instruction",
    "with_scheme",
]

_HOMES = {
    "API_VERSION": "plugins.backend",
    "AuthenticationError": "errors",
    "Backend": "plugins.backend",
    "BaseClient": "engine.client.base",
    "BaseHTTPClient": "engine.http.client",
    "CHAT_SAMPLING": "capabilities",
    "Capabilities": "capabilities",
    "Completion": "types",
    "Container": "engine.server.docker",
    "ContextLengthError": "errors",
    "Dialect": "capabilities",
    "Download": "engine.server.download",
    "EngineConfig": "registry.engines",  # which hands down the function that makes clients
    "EngineConnectionError": "errors",
    "EngineError": "errors",
    "EngineStartError": "errors",
    "EngineTimeoutError": "errors",
    "EngineUnreachableError": "errors",
    "HTTPResponse": "engine.http.transport",
    "IdentityCache": "engine.client.identity_cache",
    "LLMOutput": "types",
    "Message": "types",
    "NO_PROXY": "engine.http.transport",
    "NotFoundError": "errors",
    "OpenAIChatClient": "engine.http.openai_chat",
    "OpenAIResponsesClient": "engine.http.responses",
    "OutputSchema": "engine.structured.schema",
    "PerLoop": "engine.client.per_loop",
    "QuotaError": "errors",
    "RateLimitError": "errors",
    "Request": "engine.client.request",
    "RequestError": "errors",
    "SamplingParams": "types",
    "ServerError": "errors",
    "ServerProcess": "engine.server.process",
    "SharedStart": "engine.server.loading",
    "Usage": "usage",
    "announce": "engine.server.progress",
    "encode_prompt": "json_bytes",
    "endpoint_from_env": "engine.endpoint",
    "free_port": "engine.server.ports",
    "hookimpl": "plugins.hookspecs",
    "is_json": "engine.client.request",
    "listener": "engine.server.ports",
    "load": "engine.server.loading",
    "model_names": "engine.http.openai_chat",
    "post_for_lines": "engine.server.download",
    "register_backend": "plugins.discovery",
    "server_process": "engine.server.process",
    "unreadable": "engine.http.openai_chat",
    "with_instruction": "engine.client.request",
    "with_scheme": "engine.endpoint",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"chainette.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'chainette.backend' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

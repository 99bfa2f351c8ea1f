"""Clients of the backend `openai`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from chainette.backend import (
    Capabilities,
    Dialect,
    EngineError,
    OpenAIChatClient,
    OpenAIResponsesClient,
)
from typing_extensions import Self

from chainette_openai.config import OpenAIConfig

RESPONSES = Capabilities(
    json_schema=True,
    json_object=True,
    sampling=frozenset({"temperature", "top_p", "max_tokens"}),
)
"""What the Responses API has (OpenAI API reference, "Create a model response")."""

_PAYERS = {"Openai-Organization": "OPENAI_ORG_ID", "Openai-Project": "OPENAI_PROJECT_ID"}
"""Headers and the environment variables of OpenAI's SDKs (OpenAI API reference,
"Authentication")."""


_NO_RESPONSES = re.compile("responses (operation|api) (does not|is not|is enabled only)", re.I)
"""Azure's words for models and versions of its API that have chat completions alone."""


class OpenAIClient(OpenAIChatClient[OpenAIConfig]):
    """A client of chat completions; one of the Responses API where the configuration names it."""

    def __new__(cls, config: OpenAIConfig, *_: Any, **__: Any) -> Self:
        """Choose the class by the protocol, and by what sends."""
        chosen: Any = cls
        if cls is OpenAIClient and config.protocol == "responses":
            chosen = ResponsesClient
            if config.client == "sdk":
                from chainette_openai.sdk import SDKClient as chosen  # noqa: N813
        client: Self = object.__new__(chosen)
        return client

    def __init__(self, config: OpenAIConfig, capabilities: Capabilities | None = None) -> None:
        # The key of the environment is not sent to another server that a file names.
        from_environment = config.endpoint is None or config.is_openai
        self.api_key_envs: tuple[str, ...] = ("OPENAI_API_KEY",) if from_environment else ()
        self.needs_api_key: bool = config.is_openai
        self.own_dialect: Dialect = config.dialect
        if config.is_openai and config.protocol == "chat":
            self.max_tokens_field: str = "max_completion_tokens"
        self.default_endpoint: str = config.base_url
        super().__init__(config, capabilities)

    def headers(self) -> dict[str, str]:
        """Headers of every request; to OpenAI, with the organization and project that pay."""
        known = _PAYERS.items() if self.config.is_openai else ()
        payers = {name: os.environ.get(variable, "").strip() for name, variable in known}
        return {name: value for name, value in payers.items() if value} | super().headers()


class ResponsesClient(OpenAIClient, OpenAIResponsesClient[OpenAIConfig]):
    """A client of the Responses API."""

    def __init__(self, config: OpenAIConfig, _: Capabilities | None = None) -> None:
        self.reports_cuts: bool = config.is_openai
        super().__init__(config, RESPONSES)

    def status_error(
        self, status: int, body: bytes, url: str, headers: Mapping[str, str]
    ) -> EngineError:
        """The exception for a status; many servers and models have chat completions alone."""
        error = super().status_error(status, body, url, headers)
        is_about_model = b"model" in body.lower() or url.endswith("/models")
        lacks_path = status in (404, 405, 501) and not is_about_model
        if lacks_path or _NO_RESPONSES.search(str(error)):
            error.args = (f"{error}; where there is no Responses API, set api: chat",)
            error.transient = error.transient and status != 501
        return error

"""Configuration of the backend `openai`."""

from __future__ import annotations

import os
from typing import Literal
from urllib.parse import urlsplit

from chainette.engine.config import EngineConfig
from pydantic import Field

OPENAI = "https://api.openai.com/v1"


class OpenAIConfig(EngineConfig):
    """An engine behind OpenAI's API, or behind a server that speaks it.

    Attributes:
        model: Name of the model.
        api: `responses` is OpenAI's own API (the default at api.openai.com), `chat` is chat
            completions, which every compatible server speaks (the default elsewhere).
        strict: Send schemas in the subset that OpenAI's strict mode demands. Other servers may
            enforce more, such as lengths of texts: with `strict: false` they get all of it.
    """

    model: str = Field(min_length=1)
    api: Literal["responses", "chat"] | None = None
    strict: bool = True

    @property
    def base_url(self) -> str:
        """The endpoint: configured, from `OPENAI_BASE_URL`, or OpenAI's own."""
        return self.endpoint or os.environ.get("OPENAI_BASE_URL", "").rstrip("/") or OPENAI

    @property
    def is_openai(self) -> bool:
        """Whether the endpoint is OpenAI's own."""
        return urlsplit(self.base_url).hostname == "api.openai.com"

    @property
    def protocol(self) -> str:
        """The API that is spoken: `responses` or `chat`."""
        return self.api or ("responses" if self.is_openai else "chat")

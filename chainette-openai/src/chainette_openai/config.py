"""Configuration of the backend `openai`."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from chainette.backend import EngineConfig, endpoint_from_env
from pydantic import Field, model_validator
from typing_extensions import Self

OPENAI = "https://api.openai.com/v1"
_STRICT_HOSTS = ("api.openai.com", ".openai.azure.com", ".cognitiveservices.azure.com")


class OpenAIConfig(EngineConfig):
    """An engine behind OpenAI's API, or behind a server that speaks it.

    Attributes:
        model: Name of the model.
        api: `responses` is OpenAI's own API (the default at api.openai.com), `chat` is chat
            completions, which every compatible server speaks (the default elsewhere).
        strict: Send schemas in the subset that OpenAI's strict mode requires (the default for
            OpenAI's and Azure's hosts). Other servers enforce more of a schema, such as the
            lengths of texts; `schema_dialect` says what. The Responses API is always strict.
        client: What sends requests of the Responses API: `http` is Chainette's own transport, `sdk`
            is OpenAI's Python library, which needs several times the CPU. Requests and answers are
            the same.
    """

    model: str = Field(min_length=1)
    api: Literal["responses", "chat"] | None = None
    strict: bool | None = None
    client: Literal["http", "sdk"] = "http"

    @model_validator(mode="after")
    def _sdk_for_responses(self) -> Self:
        if self.client == "sdk" and self.protocol == "chat":
            raise ValueError("client: sdk is for the Responses API; set api: responses as well")
        return self

    @property
    def base_url(self) -> str:
        """The endpoint: configured, from `OPENAI_BASE_URL`, or OpenAI's own."""
        return self.endpoint or endpoint_from_env("OPENAI_BASE_URL") or OPENAI

    @property
    def is_openai(self) -> bool:
        """Whether the endpoint is OpenAI's own."""
        return urlsplit(self.base_url).hostname == "api.openai.com"

    @property
    def dialect(self) -> Literal["openai_strict", "plain"]:
        """The dialect of schemas, unless `schema_dialect` names another one."""
        host = urlsplit(self.base_url).hostname or ""
        strict = self.strict if self.strict is not None else host.endswith(_STRICT_HOSTS)
        return "openai_strict" if strict or self.protocol == "responses" else "plain"

    @property
    def protocol(self) -> str:
        """Name of the API: `responses` or `chat`."""
        return self.api or ("responses" if self.is_openai else "chat")

"""Configuration of an engine: a backend, a model, and how to reach it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_serializer,
    field_validator,
)

from chainette.capabilities import Dialect
from chainette.engine.endpoint import clean_endpoint
from chainette.engine.generation import Generation
from chainette.engine.keys import clean_key, read_key
from chainette.engine.pricing.tariff import Rates, Tariff
from chainette.errors import ConfigError, MissingAPIKeyError
from chainette.validation import OneMessage, no_truth

_WITHOUT_INFLUENCE = {
    "name",
    "api_key",
    "api_key_env",
    "api_key_file",
    "timeout",
    "connect_timeout",
    "max_retries",
    "give_up_after",
    "max_concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "headers",
    "lazy",
    "port",
    "startup_timeout",
    "load_timeout",
    "keep_alive",
    "extra_env",
    "max_response_bytes",
    "price",
    "client",  # both send the same
    "drop_unsupported_params",  # else a run that it is to help could not be resumed
}
"""Fields that do not influence an engine's answers."""


class Price(BaseModel, metaclass=OneMessage):
    """The price of a model, in US dollars for a million tokens, or for a request.

    Attributes:
        input: Price of prompt tokens.
        output: Price of completion tokens, including reasoning.
        cached_input: Price of prompt tokens that the server reads from its cache; without one, they
            cost as much as the others.
        request: Price of one request that is answered, beside its tokens.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cached_input: Decimal | None = Field(default=None, ge=0)
    request: Decimal = Field(default=Decimal(0), ge=0)

    def tariff(self) -> Tariff:
        """The price of one request as a formula."""
        cached = self.input if self.cached_input is None else self.cached_input
        input, output = self.input.scaleb(-6), self.output.scaleb(-6)
        rates = Rates(input, output, cached.scaleb(-6), input, input, output)
        return Tariff([(0, rates)], self.request)


class EngineConfig(BaseModel, metaclass=OneMessage):
    """Configuration of an engine; a backend's own class adds its fields.

    Attributes:
        name: Name of the engine, by which steps refer to it.
        backend: Name of the backend, as `chainette engines list` shows it.
        model: Name of the model as the server knows it.
        endpoint: Base URL of the server.
        api_key: The API key itself. Prefer `api_key_env` or `api_key_file`.
        api_key_env: Name of the environment variable that holds the API key.
        api_key_file: File that holds the API key and nothing else.
        timeout: Maximum seconds for one request, from sending it to the last byte of the answer.
        connect_timeout: Maximum seconds to connect.
        max_retries: Maximum retries of a request after temporary failures; 0 turns retries off.
        give_up_after: Seconds without any answer after which the engine counts as gone, and the
            longest wait that the server may ask for.
        max_concurrency: Maximum requests in flight. Without it, a server is sent 8 at first, and
            up to 64 as long as answers come in time.
        requests_per_minute: Maximum requests per minute.
        tokens_per_minute: Maximum tokens per minute, of prompts and completions together. The
            tokens of a request are estimated, and corrected when its answer arrives.
        structured_output: The way to ask for typed answers; `auto` uses the strongest one that the
            server accepts.
        schema_dialect: The part of JSON Schema that the server's decoder takes, where it is another
            one than the backend's: `openai_strict`, `llama_cpp` (llama.cpp, and what is built on
            it), `xgrammar` (vLLM, SGLang) or `plain` (unknown).
        drop_unsupported_params: Leave out sampling parameters that the model refuses, with a
            warning for each. Otherwise such a refusal stops the run.
        enable_reasoning: Ask for the model's reasoning separately from its answer.
        max_response_bytes: Maximum bytes of one answer with its headers, decompressed; a longer one
            is an error.
        price: The price of the model, in US dollars for a million tokens (`request`: for one
            request), which wins over the public price lists.
        headers: Additional HTTP headers. Their values are treated as secrets.
        extra_body: Additional fields for the body of every request.
        lazy: Start the engine when it is first needed, and release its memory on this machine
            after its last step. False starts it before the first row, and keeps it.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True
    )

    name: str = Field(min_length=1)
    backend: str = Field(min_length=1)
    model: str | None = None
    endpoint: str | None = None
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    timeout: float = Field(default=60.0, gt=0)
    connect_timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    max_retries: int = Field(default=5, ge=0)
    give_up_after: float = Field(default=300.0, gt=0)
    max_concurrency: int = Field(default=64, ge=1)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    structured_output: Literal["auto", "json_schema", "json_object", "prompt"] = "auto"
    schema_dialect: Dialect | None = None
    drop_unsupported_params: bool = False
    enable_reasoning: bool = False
    max_response_bytes: int = Field(default=64 * 2**20, ge=1)
    price: Price | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    extra_body: dict[str, Any] = Field(default_factory=dict)
    lazy: bool = True

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_as_number(cls, value: Any, info: ValidationInfo) -> Any:
        return no_truth(value, cls.model_fields[str(info.field_name)].annotation)

    @field_validator("endpoint")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        return None if value is None else clean_endpoint(value)

    @field_validator("api_key_file")
    @classmethod
    def _only_source(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        for other in ("api_key", "api_key_env"):
            if value is not None and info.data.get(other) is not None:
                raise ValueError(f"the engine has {other} as well; give one of them")
        return value

    @field_validator("headers")
    @classmethod
    def _one_line_each(cls, values: dict[str, SecretStr]) -> dict[str, SecretStr]:
        # An HTTP library would refuse the request, and log the value with it.
        if not all(value.get_secret_value().strip().isprintable() for value in values.values()):
            raise ValueError("a header's value holds a line break or another control character")
        return values

    @field_serializer("endpoint", when_used="json-unless-none")
    def _public_endpoint(self, value: str) -> str:
        return public_url(value)

    @property
    def engine(self) -> Generation:
        """The light client of this engine, made when first asked for.

        Raises:
            PluginError: The backend is not installed, in conflict, broken or incompatible.
            ConfigError: The fields do not fit the backend, or the API key is missing.
        """
        assert _client_factory is not None, "chainette and chainette.backend hand it down"
        return _client_factory(self)

    @property
    def server_key(self) -> str:
        """Digest of the fields that define the engine's server: backend, model, server options."""
        own = set(type(self).model_fields) - set(EngineConfig.model_fields)
        fields = self.model_dump(mode="json", include=own | {"backend", "model"})
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def dialect_of(self, own: Dialect | None, usual: Dialect) -> Dialect:
        """The dialect of the engine's schemas.

        Args:
            own: The one that the other fields decide on, if they do.
            usual: The backend's.

        Raises:
            ConfigError: `schema_dialect` is another one than OpenAI's, which the others ask for.
        """
        if self.schema_dialect not in (None, own) and own == "openai_strict":
            raise ConfigError(
                f"engine {self.name!r}: schema_dialect: {self.schema_dialect} does not go with "
                "strict schemas; set api: chat and strict: false as well"
            )
        return self.schema_dialect or own or usual

    def answering(self) -> dict[str, Any]:
        """The fields that influence answers, as JSON values without secrets."""
        fields = self.model_dump(mode="json", exclude=_WITHOUT_INFLUENCE)
        return {name: value for name, value in fields.items() if value is not None}

    def secret_key(self, *default_envs: str) -> SecretStr | None:
        """The API key, from the configuration, its file or the environment.

        Args:
            default_envs: Environment variables to read if the configuration names no key.

        Raises:
            MissingAPIKeyError: `api_key_env` names a variable that is not set, `api_key_file` a
                file that cannot be read, or what is there is not a key.
        """
        if self.api_key is not None:
            key = self.api_key.get_secret_value()
            return SecretStr(clean_key(key, self.name, "api_key"))
        if self.api_key_file is not None:
            return SecretStr(read_key(self.api_key_file, self.name))
        for variable in [self.api_key_env] if self.api_key_env else default_envs:
            if (key := os.environ.get(variable, "")).strip():
                source = f"the environment variable {variable}"
                return SecretStr(clean_key(key, self.name, source))
        if self.api_key_env:
            raise MissingAPIKeyError(
                f"engine {self.name!r}: no API key: "
                f"the environment variable {self.api_key_env} is not set"
            )
        return None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """The fields that were set; URLs without their secrets, mappings without their values."""
        for name, value in super().__repr_args__():
            if name not in ("name", "backend", "model") and name not in self.model_fields_set:
                continue
            if isinstance(value, dict):
                yield name, [*value]
            else:
                yield name, public_url(value) if name == "endpoint" and value else value

    def public(self) -> dict[str, Any]:
        """The fields that were set, without secrets, as JSON values."""
        fields = self.model_dump(mode="json", exclude_unset=True, exclude={"api_key", "headers"})
        if self.headers:
            fields["headers"] = sorted(self.headers)
        return fields


_client_factory: Callable[[EngineConfig], Generation] | None = None


def set_client_factory(factory: Callable[[EngineConfig], Generation]) -> None:
    """Hand down the function that makes `EngineConfig.engine`; the registry does."""
    global _client_factory
    _client_factory = factory


def public_url(url: str) -> str:
    """A URL without user, password and query, any of which may hold a secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

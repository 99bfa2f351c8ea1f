"""Every exception that Chainette raises.

They form a tree::

    ChainetteError
    ├── ConfigError            an engine's configuration, or a file of them, is wrong
    │   ├── UnknownEngineError     no engine of that name is registered
    │   └── MissingAPIKeyError     an API key is needed and none was found
    ├── PluginError            a backend is not installed, in conflict, broken or incompatible
    │   └── UnknownBackendError    no plugin provides, and no package of ours brings, that name
    ├── ChainError             a chain, its YAML or one of its templates is wrong
    ├── ApplyError             a function of a chain failed on a row
    ├── InputError             an input file or one of its rows cannot be used
    ├── OutputDirError         the output directory cannot be used
    ├── BudgetError            why a run was stopped: too many errors, or too much spent
    ├── FailedRowError         what `Result.unwrap()` raises for a row that was read back from disk
    └── EngineError            a request, or the engine as a whole, failed
        ├── EngineStartError       the server process did not start
        ├── EngineConnectionError  the connection failed
        │   └── EngineUnreachableError  there never was one
        ├── EngineTimeoutError     no answer in time
        ├── AuthenticationError    the endpoint refused the API key
        ├── NotFoundError          the endpoint has no such model, or is no such API
        ├── QuotaError             the account has nothing left to spend
        ├── EngineDownError        the engine has answered nobody for a long time
        ├── RequestError           the endpoint refused this request
        ├── RateLimitError         too many requests
        ├── ServerError            the endpoint failed, or answered what is no answer
        └── OutputError            the answer came but cannot be used
            ├── StructuredOutputError  it does not fit the output model
            ├── OutputTruncatedError   it was cut at max_tokens
            └── RefusalError           the model or a content filter refused to answer

What a run survives becomes the error of one row's `Result`; everything else is raised.
"""

from __future__ import annotations

from typing import ClassVar

from chainette.usage import Usage


class ChainetteError(Exception):
    """Base of every exception that Chainette raises on purpose; its text is for people."""


class ConfigError(ChainetteError):
    """The configuration of an engine, or a file of engines, is wrong."""


class UnknownEngineError(ConfigError, KeyError):
    """No engine of that name is registered."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class MissingAPIKeyError(ConfigError):
    """An engine needs an API key and none was found."""


class PluginError(ChainetteError):
    """A backend is not installed, in conflict, broken or made for another version."""


class UnknownBackendError(PluginError):
    """No installed plugin provides the backend, and no distribution of this project brings it."""


class ChainError(ChainetteError):
    """A chain, its YAML or one of its prompt templates is wrong."""


class ApplyError(ChainetteError):
    """A function of a chain failed, or returned what its node does not give."""


class InputError(ChainetteError):
    """An input file, or one row of it, cannot be used."""


class OutputDirError(ChainetteError):
    """The output directory cannot be used."""


class BudgetError(ChainetteError):
    """A run was stopped because of its `max_cost` or `max_errors`."""


class FailedRowError(ChainetteError):
    """A row that failed in a run whose results are read back from disk.

    Args:
        message: What happened.
        type: Name of the original exception class.
        engine: Name of the engine, if it was one's failure.
        raw_text: The text that did not fit, if that was it.
    """

    def __init__(
        self, message: str, *, type: str, engine: str | None = None, raw_text: str | None = None
    ) -> None:
        super().__init__(message)
        self.type, self.engine, self.raw_text = type, engine, raw_text


class EngineError(ChainetteError):
    """A request to an engine, or the engine as a whole, failed.

    Args:
        message: What happened and what to do next. Never holds a secret.
        engine: Name of the engine.
        status: HTTP status of the answer, if there was one.
        raw_text: The model's text, if there was one.

    Attributes:
        usage: Tokens that were spent on it nevertheless, as far as a run knows them.
        retry_after: Seconds that the server asks to wait.
    """

    unusable: ClassVar[bool] = False
    """True when the next request must be expected to fail in the same way."""
    final: ClassVar[bool] = False
    """True when every further request is sure to fail in the same way."""
    transient: bool = False
    """True when the same request may succeed later."""

    def __init__(
        self,
        message: str,
        *,
        engine: str | None = None,
        status: int | None = None,
        raw_text: str | None = None,
    ) -> None:
        super().__init__(message)
        self.engine = engine
        self.status = status
        self.raw_text = raw_text
        self.usage: Usage | None = None
        self.retry_after: float | None = None


class EngineStartError(EngineError):
    """The server process of an engine did not start, or not again."""

    unusable = final = True


class EngineConnectionError(EngineError):
    """The connection to the endpoint failed or was closed."""

    transient = True


class EngineUnreachableError(EngineConnectionError):
    """No connection to the endpoint could be made."""

    unusable = True


class EngineTimeoutError(EngineError):
    """No connection or no whole answer within the engine's timeouts."""

    transient = True


class AuthenticationError(EngineError):
    """The endpoint refused the API key (401, 403)."""

    unusable = True


class NotFoundError(EngineError):
    """The endpoint has no such model, or no such API at all (404)."""

    unusable = True


class QuotaError(EngineError):
    """The account behind the API key has nothing left to spend (`insufficient_quota`, 402)."""

    unusable = final = True


class EngineDownError(EngineError):
    """The engine has answered nobody for `give_up_after` seconds, or asks to wait for longer."""

    unusable = final = True


class RequestError(EngineError):
    """The endpoint refused this request (another 4xx)."""


class RateLimitError(EngineError):
    """The endpoint asks for fewer requests (429)."""

    transient = True


class ServerError(EngineError):
    """The endpoint failed (5xx), or answered something that is no completion."""

    transient = True


class OutputError(EngineError):
    """The engine answered, and the answer cannot be used."""


class StructuredOutputError(OutputError):
    """The answer does not fit the output model."""


class OutputTruncatedError(OutputError):
    """A structured answer was cut off at the token limit."""


class RefusalError(OutputError):
    """The model, or a content filter, refused to answer."""

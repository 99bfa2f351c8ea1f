"""Every exception that Chainette raises.

They form a tree::

    ChainetteError
    ├── ConfigError            an engine's configuration, or a file of them, is wrong
    │   ├── UnknownEngineError     no engine of that name is registered
    │   └── MissingAPIKeyError     an API key is needed and not found
    ├── PluginError            a backend is not installed, in conflict, broken or incompatible
    │   └── UnknownBackendError    no plugin has a backend of that name
    ├── ChainError             a chain, its YAML or one of its templates is wrong
    ├── ApplyError             a function of a chain failed on a row
    ├── RouteError             a route has no case for a row's key
    ├── RepeatError            a repeat had no good round for a row
    ├── InputError             an input file or one of its rows cannot be used
    ├── OutputDirError         the output directory cannot be used
    ├── ExportError            a table of a run cannot be exported
    ├── BudgetError            a run was stopped: too many errors, or too much spent
    ├── DroppedRowError        a row has no value; raised by `Result.unwrap()`
    ├── FailedRowError         a row failed; raised by `Result.unwrap()` for a row read from disk
    └── EngineError            a request, or the engine as a whole, failed
        ├── EngineStartError       the server process did not start
        ├── EngineConnectionError  the connection failed
        │   └── EngineUnreachableError  no connection could be made
        ├── EngineTimeoutError     no answer in time
        ├── AuthenticationError    the endpoint refused the API key
        ├── NotFoundError          the endpoint does not have the model, or is another API
        ├── QuotaError             the account has nothing left to spend
        ├── EngineDownError        the engine has not answered any request for a long time
        ├── RequestError           the endpoint refused this request
        │   └── ContextLengthError     the prompt is longer than the context
        ├── RateLimitError         too many requests
        ├── ServerError            the endpoint failed, or its answer cannot be read
        ├── RowBudgetError         a row may take no more requests; also a BudgetError
        └── OutputError            the answer came but cannot be used
            ├── StructuredOutputError  it does not fit the output model
            ├── OutputTruncatedError   it was cut at max_tokens
            ├── RefusalError           the model or a content filter refused to answer
            └── ValidatorError         a validator failed for a reason of its own

An error that a run survives becomes the error of one row's `Result`; every other error is raised.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

from chainette.text import names_keywords
from chainette.usage import FREE, Usage


def _made_again(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class ChainetteError(Exception):
    """Base of every exception that Chainette raises on purpose; its text is for people."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let `pickle` make it again without its constructor, whose arguments may have names."""
        return _made_again, (type(self), self.args), {**vars(self)}

    def _render_traceback_(self, *_: object) -> list[str]:
        """The lines that IPython shows in place of all frames."""
        from chainette.messages.three_lines import three_lines

        return three_lines(self)


class ConfigError(ChainetteError):
    """The configuration of an engine, or a file of engines, is wrong."""


class UnknownEngineError(ConfigError, KeyError):
    """No engine of that name is registered."""

    def __str__(self) -> str:
        """The message; KeyError would print its repr."""
        return Exception.__str__(self)


class MissingAPIKeyError(ConfigError):
    """An engine needs an API key and does not have one."""


class PluginError(ChainetteError):
    """A backend is not installed, in conflict, broken or written for another version."""


class UnknownBackendError(PluginError):
    """No installed plugin has the backend, and no distribution of this project has it either."""


class ChainError(ChainetteError):
    """A chain, its YAML or one of its prompt templates is wrong."""


class ApplyError(ChainetteError):
    """A function of a chain failed, or returned a value of the wrong type.

    Attributes:
        usage: Tokens that its calls of engines took, if the servers reported them.
        cost: US dollars that they cost, or `None` if they are unknown; 0 if it made none.
        calls: Their number.
        is_tolerable: False for a condition or a key: without it, the way of the item is not known.
    """

    usage: Usage | None = None
    cost: Decimal | None = FREE
    calls: int = 0
    is_tolerable: bool = True


class RouteError(ChainetteError):
    """A route has no case for the key of an item, and no default."""


class RepeatError(ChainetteError):
    """No round of a repeat was good.

    Args:
        message: A description of the failure.
        rounds: The number of rounds.
        feedback: What was wrong in the last one, if that is known.
    """

    def __init__(self, message: str, *, rounds: int, feedback: str | None = None) -> None:
        super().__init__(message)
        self.rounds: int = rounds
        self.feedback: str | None = feedback


class InputError(ChainetteError):
    """An input file, or one row of it, cannot be used."""


class OutputDirError(ChainetteError):
    """The output directory cannot be used."""


class ExportError(ChainetteError):
    """A table of a run cannot be exported."""


class BudgetError(ChainetteError):
    """A run was stopped because of its `max_cost` or `max_errors`."""


class DroppedRowError(ChainetteError):
    """A row has no value, because a function dropped it."""


class Drop(Exception):  # noqa: N818  it is not an error
    """Raised, or returned, by a function of a chain to drop its item and say why.

    Args:
        reason: The reason, as `dropped.jsonl` has it.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason: str = str(reason)


class FailedRowError(ChainetteError):
    """A row that failed in a run whose results are read back from disk.

    Args:
        message: The original message.
        type: Name of the original exception class.
        engine: Name of the engine that failed, if one did.
        raw_text: The model's text, if there was one.
        is_tolerated: Whether the chain went on without it.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str,
        engine: str | None = None,
        raw_text: str | None = None,
        is_tolerated: bool = False,
    ) -> None:
        super().__init__(message)
        self.is_tolerated = is_tolerated
        self.type: str = type
        self.engine: str | None = engine
        self.raw_text: str | None = raw_text


@names_keywords
class EngineError(ChainetteError):
    """A request to an engine, or the engine as a whole, failed.

    Args:
        message: A description of the failure, and advice. Never holds a secret.
        engine: Name of the engine.
        status: HTTP status of the answer, if there was one.
        raw_text: The model's text, if there was one.

    Attributes:
        usage: Tokens that the failed request took, if the server reported them.
        requests: Requests that were answered before it failed for good.
        cost: US dollars that it cost, or `None` if they are unknown; 0 if nothing was answered.
        retry_after: Seconds that the server asks the client to wait.
        calls: The number of calls of a function that has failed with it.
    """

    unusable: ClassVar[bool] = False
    """True if the next request will probably fail in the same way."""
    final: bool = False
    """True if every further request will certainly fail in the same way."""
    transient: bool = False
    """True if the same request may succeed later."""
    is_loading: bool = False
    """True if the server has to load the model first, which takes longer than other failures."""
    is_queued: bool = False
    """True if the request was too late because of others before it, which were answered."""

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
        self.cost: Decimal | None = FREE
        self.requests: int = 0
        self.retry_after: float | None = None
        self.calls: int = 0

    def of_engine(self, engine: str, scrub: Callable[[str], str]) -> EngineError:
        """The error with the engine's name, and without secrets, which `scrub` removes."""
        self.engine = engine
        prefix = f"engine {engine!r}: "
        text = str(self).removeprefix(prefix)  # rows that wait for one start share its error
        self.args: tuple[object, ...] = (prefix + scrub(text),)
        self.raw_text = scrub(self.raw_text) if self.raw_text else self.raw_text
        return self


class EngineStartError(EngineError):
    """The server process of an engine did not start or restart."""

    unusable = True
    final = True


class EngineConnectionError(EngineError):
    """The connection to the endpoint failed or was closed."""

    transient = True


class EngineUnreachableError(EngineConnectionError):
    """No connection to the endpoint could be made."""

    unusable = True


class EngineTimeoutError(EngineError):
    """No connection or no whole answer within the engine's timeouts."""

    transient = True

    @classmethod
    def after(cls, seconds: float) -> EngineTimeoutError:
        """The error of a request without a whole answer within these seconds."""
        return cls(f"no whole answer within {seconds:g} s (timeout={seconds:g} s)")


class AuthenticationError(EngineError):
    """The endpoint refused the API key (401, 403)."""

    unusable = True
    is_about_key: bool = True
    """False where a firewall may have refused this one request."""


class NotFoundError(EngineError):
    """The endpoint does not have the model, or does not have the API (404)."""

    unusable = True


class QuotaError(EngineError):
    """The account behind the API key has nothing left to spend (`insufficient_quota`, 402)."""

    unusable = True
    final = True


class EngineDownError(EngineError):
    """The engine has not answered for `give_up_after` seconds, or asks for a longer wait."""

    unusable = True
    final = True


class RequestError(EngineError):
    """The endpoint refused this request (another 4xx).

    Attributes:
        param: The parameter that the endpoint names as the reason, if it does.
    """

    param: str | None = None


class ContextLengthError(RequestError):
    """The prompt is longer than the model's context.

    Attributes:
        prompt_tokens: Tokens of the prompt, or `None` where the server does not say.
        context_tokens: Tokens that fit, or `None` where the server does not say.
    """

    prompt_tokens: int | None = None
    context_tokens: int | None = None

    @property
    def numbers(self) -> str:
        """The numbers of tokens, in words."""
        has = f"the prompt has {self.prompt_tokens or 'too many'} tokens"
        return f"{has}, and {self.context_tokens} fit" if self.context_tokens else has


class RateLimitError(EngineError):
    """The endpoint asks for fewer requests (429)."""

    transient = True


class ServerError(EngineError):
    """The endpoint failed (5xx), or its answer is not a completion."""

    transient = True


class RowBudgetError(EngineError, BudgetError):
    """A row has taken `max_requests_per_row` requests, or cost `max_cost_per_row`.

    The run goes on with its other rows.
    """


class OutputError(EngineError):
    """The engine answered, and the answer cannot be used."""


class StructuredOutputError(OutputError):
    """The answer does not fit the output model.

    Attributes:
        problem: What is wrong with the answer, in words for the model; empty for the message.
        has_form: Whether the answer has the form of the schema, and only validators refuse it.
    """

    problem: str = ""
    has_form: bool = False


class OutputTruncatedError(OutputError):
    """A structured answer was cut off at the token limit."""


class RefusalError(OutputError):
    """The model, or a content filter, refused to answer."""


class ValidatorError(OutputError):
    """A validator raised something other than a `ValueError`: it has a bug.

    The value may be an answer, the output of a function or an input row. It is not asked for again.
    """

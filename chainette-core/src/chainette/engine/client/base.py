"""Base class of the engines' clients, whatever they speak to."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar

from chainette.capabilities import Capabilities, Dialect
from chainette.engine.client.asking import ONE_MORE, Asks, ask_again, within
from chainette.engine.client.identity_cache import IdentityCache
from chainette.engine.client.limits import Limits
from chainette.engine.client.request import (
    Request,
    conversation,
    prefill_of,
    refused_end,
    started,
    supported,
    with_prefill,
)
from chainette.engine.client.retry import OnRetry, Retry, untold
from chainette.engine.client.secrets import Secrets
from chainette.engine.client.sync import timeout
from chainette.engine.config import EngineConfig
from chainette.engine.generation import Generation, notice
from chainette.engine.limits.concurrency import Sending
from chainette.engine.pricing.pricer import Pricer
from chainette.engine.pricing.reported import gateway_cost
from chainette.engine.server.owner import ServerOwner
from chainette.engine.structured.answer import answer_form, parse_answer
from chainette.engine.structured.answer_warnings import AnswerWarnings
from chainette.engine.structured.fallback import OutputModeFallback, SchemaSuspectedError, Turn
from chainette.engine.structured.text import TextOutput
from chainette.engine.telemetry import hooks as telemetry
from chainette.engine.warning import EngineWarnings
from chainette.errors import (
    ChainetteError,
    EngineError,
    EngineTimeoutError,
    OutputError,
    RequestError,
    ServerError,
    StructuredOutputError,
)
from chainette.text import names_keywords
from chainette.types import LLMOutput, Prompt, SamplingParams
from chainette.usage import FREE, Spending

if TYPE_CHECKING:
    from chainette.engine.client.cache import CacheTurn


_DEFAULT = SamplingParams()

requests_are_forbidden = False
"""Set by `chainette.testing.forbid_requests`."""

ConfigT = TypeVar("ConfigT", bound=EngineConfig, default=EngineConfig)
"""The configuration class of a backend."""


@names_keywords
class BaseClient(ServerOwner, Generation, EngineWarnings, Generic[ConfigT]):
    """A light, stateless client of one engine; safe to share between tasks and threads.

    A backend implements `_chat`; the other methods that it may override say so.

    Args:
        config: The engine's configuration.
        capabilities: What the backend can do; nothing by default.

    Attributes:
        config: The engine's configuration, of the class that `BaseClient[Class]` names.
        capabilities: What the backend can do.
        base_url: Start of the requests' URLs, without a slash at the end; empty where there is no
            server.
        model: Name of the model to ask for, or `None`.
        dialect: The dialect that schemas are sent in.
        secrets: Texts that are kept out of messages and logs; `secrets.keep(text)` adds one.
    """

    offline: bool = False
    """Whether requests stay inside this process and need no model: the engine of a test."""
    own_dialect: Dialect | None = None
    """The dialect of schemas where it depends on the configuration; else it is that of the
    capabilities."""

    config: ConfigT

    def __init__(self, config: ConfigT, capabilities: Capabilities | None = None) -> None:
        super().__init__(config)
        self.base_url: str = config.endpoint or ""
        self.model: str | None = config.model
        self.capabilities: Capabilities = capabilities or Capabilities()
        self.secrets: Secrets = Secrets(
            *(value.get_secret_value() for value in config.headers.values())
        )
        self._sampling_params: IdentityCache[SamplingParams] = IdentityCache()
        self.limits: Limits = Limits(config)
        self._retry = Retry(config, self.limits)
        self.dialect: Dialect = config.dialect_of(self.own_dialect, self.capabilities.dialect)
        self._fallback = OutputModeFallback(config, self.dialect)
        self._answers = AnswerWarnings(self.warn_once)

    @property
    def max_concurrency(self) -> int:
        """Maximum requests in flight, as configured."""
        return self.config.max_concurrency

    @abstractmethod
    async def _chat(self, request: Request) -> LLMOutput:
        """Send one request and return its completions; a backend implements it.

        The core waits for the engine's limits before, and retries and validates after it. Nothing
        may be kept on the client: requests run side by side in several threads.

        Args:
            request: The conversation, the sampling parameters and the type of the answer.

        Returns:
            A completion with its text, or `parsed`, for each of `request.sampling.n`, and the
            usage.

        Raises:
            EngineError: The request failed; its class tells whether it is sent again.
        """

    async def start(self) -> None:
        """Make the engine ready, for instance start its server; a backend may override it.

        Called before every request, so it must be quick and do nothing the second time.

        Raises:
            EngineError: The engine cannot be started or reached.
        """

    async def aclose(self) -> None:
        """Close what the client holds in the running event loop; a backend may extend it.

        The client can be used again afterwards.
        """
        return

    async def list_models(self) -> list[str] | None:
        """Names of the models that the server offers; a backend may override it.

        Returns:
            The names, or `None` where the server does not list them.

        Raises:
            EngineError: The server cannot be reached or refuses.
        """
        return None

    async def complete(
        self,
        prompt: Prompt,
        sampling_params: SamplingParams | None = None,
        *,
        output_model: Any = None,
        context: Mapping[str, Any] | None = None,
        cache: CacheTurn | None = None,
        asks: Asks = ONE_MORE,
        on_retry: OnRetry | None = None,
    ) -> LLMOutput:
        """Complete one prompt; a failure is the output's `error` and is not raised.

        Args:
            prompt: A text, or a list of messages.
            sampling_params: The sampling parameters.
            output_model: The type of the answer, any that Pydantic validates; `None` is text.
            context: What validators of the answer see as `info.context`.
            cache: The request's turn at the cache of earlier answers.
            asks: The number of times that an invalid answer is put back to the model.
            on_retry: Called with the reason and the delay in seconds when a request is sent again;
                what comes from a run has it.
        """
        if on_retry is None:
            notice(self.config.name)
        if requests_are_forbidden and not self.offline:
            raise RuntimeError(f"engine {self.config.name!r}: real requests are forbidden here")
        request = self._request(prompt, sampling_params, output_model, context)
        if (refusal := refused_end(request, self.capabilities, self.config.backend)) is not None:
            return LLMOutput.failed(self._named(refusal))
        if cache is None:
            return await self._complete(request, asks, on_retry)
        return await cache.answer(
            self.config,
            request,
            ask=lambda: self._complete(request, asks, on_retry),
            parse=lambda output: self._parse(output, request),
            later=asks.later,
        )

    @property
    def is_free(self) -> bool:
        """Whether answers cost nothing, since the model runs on the user's own machines."""
        return self.capabilities.local or self.offline

    @cached_property
    def pricer(self) -> Pricer:
        """The price of the engine's answers."""
        return Pricer(self.config, is_free=self.is_free)

    def cost_of(self, output: LLMOutput) -> Decimal | None:
        """US dollars for one answer, or `None` if they are unknown."""
        return self.pricer.cost(output, self.base_url, self.model or "")

    async def _complete(self, request: Request, asks: Asks, on_retry: OnRetry | None) -> LLMOutput:
        start, spending = perf_counter(), Spending()

        def tell(error: EngineError, seconds: float) -> None:
            (on_retry or untold)(self._named(error), seconds)

        try:
            ask = self._ask if asks.bound is None else within(asks.bound, self._ask)
            output = await ask(request, spending, tell)
            if output.error is not None and request.form:
                output = await ask_again(
                    ask, request, output, asks, spending, tell, self._supported
                )
        except ChainetteError as error:
            failure = error if isinstance(error, EngineError) else EngineError(str(error))
            output = LLMOutput.failed(self._named(failure), perf_counter() - start)
        except Exception as error:  # a defect of a backend fails its row, not the run
            self._note("%s", self.scrub(repr(error)))
            failure = ServerError(f"unexpected {type(error).__name__}: {error}")
            output = LLMOutput.failed(self._named(failure), perf_counter() - start)
        output.usage, output.cost = spending.usage, spending.cost
        output.requests = spending.requests
        return output

    async def _ask(self, request: Request, spending: Spending, on_retry: OnRetry) -> LLMOutput:
        """Ask in the first output mode that the server accepts, and validate the answer."""
        failure: StructuredOutputError | None = None
        try:
            output = await self._retry(lambda: self._attempt(request, spending), on_retry)
        except StructuredOutputError as error:  # the server has validated the answer itself
            self._named(error)
            failure, output = error, LLMOutput.failed(error)
        except RequestError as refusal:
            form = self._fallback.lower(request.way, refusal) if request.way else None
            if form is None:
                raise
            try:
                return await self._ask(replace(request, **form._asdict()), spending, on_retry)
            except EngineError as error:
                is_new = error.final or isinstance(refusal, SchemaSuspectedError)
                raise error if is_new else refusal from None
        if request.output is not None and not request.prefill:
            self._fallback.accepted(request.output, request.mode)
        is_raw = request.output is None and request.text is None
        problem = failure if is_raw else self._parse(output, request)
        if failure is not None and isinstance(problem, StructuredOutputError):
            failure.problem, problem = problem.problem, failure
        output.error = problem
        return output

    async def _attempt(self, request: Request, spending: Spending) -> LLMOutput:
        """Send a request once; those whose schema may have ended the server go one at a time."""
        if request.way is None or not self._fallback.watches:
            return await self._attempt_now(request, spending)
        turn = await self._fallback.turn(request.way)
        try:
            return await self._attempt_now(request, spending, turn)
        finally:
            if turn is not None:
                turn.release()

    async def _attempt_now(
        self, request: Request, spending: Spending, turn: Turn | None = None
    ) -> LLMOutput:
        """Send a request once, within the engine's limits and timeout, and price its answer."""
        limits, sending = self.limits, None
        gateway_cost.set(None)
        await limits.slots.acquire()
        try:
            reserved = await limits.wait(request.messages, request.most_tokens)
            await self.start()
            sending = limits.slots.send()
            start = perf_counter()
            output = with_prefill(await self._send_one(request), request)
        except EngineError as error:
            self._failed(error, sending)
            spending.add(error.usage, error.cost)
            spending.requests += error.usage is not None or isinstance(error, OutputError)
            error.usage, error.cost = None, FREE  # they are counted now
            if request.way is not None:
                raise self._fallback.blamed(request.way, error, turn) from None
            raise
        except asyncio.TimeoutError:  # in Python 3.10 it is not the built-in class
            timed_out = EngineTimeoutError.after(self.config.timeout)
            self._failed(timed_out, sending)
            raise timed_out from None
        finally:
            limits.slots.release(sending)
        output.latency = perf_counter() - start
        spending.add(output.usage, self.cost_of(output))
        spending.requests += 1
        limits.answered(reserved, output.usage, sending)
        return output

    def _failed(self, error: EngineError, sending: Sending | None) -> None:
        if slowed := self.limits.failed(error, sending):
            self.warn_once("queue", slowed)

    async def _send_one(self, request: Request) -> LLMOutput:
        if telemetry.active is None:
            async with timeout(self.config.timeout):
                return await self._chat(request)
        with telemetry.active.request(
            started(self.config, self.model, self.base_url, request), self.scrub
        ) as answered:
            async with timeout(self.config.timeout):
                output = await self._chat(request)
            answered(output)
            return output

    def _request(
        self,
        prompt: Prompt,
        sampling_params: SamplingParams | None,
        output_model: Any,
        context: Mapping[str, Any] | None,
    ) -> Request:
        messages = conversation(prompt)
        params = sampling_params or _DEFAULT
        sampling = self._sampling_params.get((params,), lambda: self._supported(params))
        form = answer_form(output_model) if output_model else None
        text, output = (form, None) if isinstance(form, TextOutput) else (None, form)
        prefill = prefill_of(messages, self.capabilities)
        # A decoder begins with the schema's first token, even behind the start of the answer.
        mode = "prompt"
        if output is not None and not prefill:
            output, mode = self._fallback.form(output)
        return Request(messages, sampling, output, mode, context, text, prefill)

    def _supported(self, sampling: SamplingParams) -> SamplingParams:
        """Drop the parameters that the backend does not know, with one warning for each."""
        known, dropped = supported(sampling, self.capabilities.sampling)
        if new := dropped - self._warned:
            self._warned |= new
            text = "backend %r has no sampling parameter %s; ignored"
            self._warn(text, self.config.backend, ", ".join(sorted(new)))
        return known

    def sends_strict(self, request: Request) -> bool:
        """Whether a typed answer is asked for with OpenAI's strict schema."""
        return self.dialect == "openai_strict" and request.mode == "json_schema"

    def schema_of(self, request: Request) -> dict[str, Any]:
        """The JSON schema to send for a typed answer, as the server's decoder takes it.

        Args:
            request: A request whose `output` is not `None`.
        """
        assert request.output is not None
        return request.output.in_dialect(self.dialect)

    def _parse(self, output: LLMOutput, request: Request) -> OutputError | None:
        """Parse the completions into the output type; return the reason where one does not fit."""
        form = request.text or request.output
        if form is None:
            return None
        error = parse_answer(
            output.outputs,
            form,
            strict=self.sends_strict(request),
            max_tokens=request.sampling.max_tokens,
            context=request.context,
            scrub=self.scrub,
        )
        if error is not None:
            for found in filter(None, (it.error for it in output.outputs)):
                self._named(found)
        elif request.output is not None and request.output.whole not in self._answers.done:
            by_schema = request.mode == "json_schema"
            self._answers.look(request.output.whole, output.outputs[0], by_schema=by_schema)
        return error

    def _named(self, error: EngineError) -> EngineError:
        """The error with the engine's name and without secrets."""
        return error.of_engine(self.config.name, self.scrub)

    def scrub(self, text: str) -> str:
        """Replace the engine's secrets in a text with asterisks."""
        return self.secrets.scrub(text)

    def __repr__(self) -> str:
        """Name, backend and model; no secrets."""
        config = self.config
        return f"{type(self).__name__}({config.name!r}, {config.backend!r}, {config.model!r})"

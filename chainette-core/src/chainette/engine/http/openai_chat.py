"""Chat completions, the protocol that every OpenAI-compatible server speaks."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from chainette.engine.client.base import ConfigT
from chainette.engine.client.identity_cache import IdentityCache
from chainette.engine.client.request import Request, with_instruction
from chainette.engine.endpoint import AZURE
from chainette.engine.http.client import BaseHTTPClient
from chainette.engine.http.completions import BrokenOffError, read_billing, read_completion
from chainette.engine.http.parameters import MAX_LESSONS, LearntParameters
from chainette.errors import EngineError, RequestError, ServerError
from chainette.json_bytes import decode, encode, encode_prompt
from chainette.types import Completion, LLMOutput, Message, SamplingParams

T = TypeVar("T")


class OpenAIChatClient(BaseHTTPClient[ConfigT]):
    """A client of `POST {endpoint}/chat/completions`.

    The protocol's source is the OpenAI API reference, "Create chat completion". A backend whose
    server follows it sets `default_endpoint` and `api_key_envs`; every method below is a place
    where a server may differ.
    """

    path: str = "/chat/completions"
    """Path of the requests below the endpoint."""
    answer_field: str = "choices"
    """Field of the answer's body that holds what the model wrote."""
    max_tokens_field: str = "max_tokens"
    """Name of the token limit in the body; OpenAI's own servers call it `max_completion_tokens`
    (OpenAI API reference, "Create chat completion")."""

    pasted_paths: tuple[str, ...] = (
        *("/chat/completions", "/completions", "/responses", "/models", "/embeddings", "/messages"),
    )

    @cached_property
    def _constants(self) -> IdentityCache[bytes]:
        return IdentityCache()

    @cached_property
    def parameters(self) -> LearntParameters:
        """Lessons about sampling parameters from the model's refusals; `apply` uses them."""
        return LearntParameters(self.config.drop_unsupported_params, self.warn_once)

    def key_headers(self, key: str) -> dict[str, str]:
        """The key as Azure takes it, `api-key`, or else as a bearer token.

        A token of Entra ID, which is a JWT, is a bearer token for Azure, too (Azure docs, "REST API
        reference", "Authentication").

        Args:
            key: The API key.
        """
        is_azure = (urlsplit(self.base_url).hostname or "").endswith(AZURE)
        if is_azure and not key.startswith("eyJ"):
            return {"Api-Key": key}
        return super().key_headers(key)

    async def list_models(self) -> list[str] | None:
        """Names of the models that `GET {endpoint}/models` lists."""
        await self.start()
        return model_names(await self.send("GET", "/models"))

    async def _chat(self, request: Request) -> LLMOutput:
        try:
            answer = await self.exchange(request)
        except RequestError as refusal:
            answer = await self.learning(request, refusal, lambda: self.exchange(request))
        try:
            return self.read_answer(answer)
        except EngineError as error:
            self.charge(error, answer)
            raise

    async def exchange(self, request: Request) -> Any:
        """Send a request once; a backend may override it, to send by other means.

        Args:
            request: The request.

        Returns:
            The body of the answer, decoded; see `receive`.

        Raises:
            EngineError: There is no good answer; see `send`.
        """
        return await self.send("POST", self.path, self.body(request))

    def billed(self, answer: Any, completions: list[Completion[Any]]) -> LLMOutput:
        """The output of an answer, with its tokens and what else its cost depends on.

        Args:
            answer: The body, decoded.
            completions: The completions in it.
        """
        return read_billing(answer, completions)

    def charge(self, error: EngineError, answer: Any) -> None:
        """Note on an error what the answer that it is about has cost.

        Args:
            error: The error, which is about to be raised.
            answer: The body of the answer, decoded.
        """
        answer = unpacked(answer, self.answer_field)
        if isinstance(answer, dict) and answer.get("usage"):
            billing = self.billed(answer, [])
            error.usage, error.cost = billing.usage, self.cost_of(billing)

    async def learning(
        self, request: Request, refusal: RequestError, again: Callable[[], Awaitable[T]]
    ) -> T:
        """Learn which sampling parameters the model refuses, and send a request without them.

        Args:
            request: The request.
            refusal: The first refusal.
            again: Sends the request again, as `parameters` has it now.

        Raises:
            RequestError: The refusal has another reason, or the engine may not leave out
                parameters (`drop_unsupported_params`); then the error is final.
        """
        for _ in range(MAX_LESSONS):
            if not self.parameters.learn(refusal, self.sampling_fields(request.sampling)):
                raise refusal
            self._constants.clear()
            try:
                return await again()
            except RequestError as error:
                refusal = error
        raise refusal

    def body(self, request: Request) -> bytes:
        """The body of a request, as JSON; only the conversation is encoded for every row."""
        return b'{"messages":%b,%b' % (
            encode_prompt(self.messages(request)),
            self._constant(request),
        )

    def _constant(self, request: Request) -> bytes:
        """The end of the body, the same for all rows of a step."""
        is_begun = bool(request.prefill)
        same = (request.sampling, request.output, request.mode, self.model, is_begun)
        return self._constants.get(same, lambda: encode(self._fields(request))[1:])

    def _fields(self, request: Request) -> dict[str, Any]:
        return self.parameters.apply(self.body_fields(request))

    def body_fields(self, request: Request) -> dict[str, Any]:
        """The fields of the body beside the conversation; a backend may extend them.

        Called once for all rows of a step: it may depend on the sampling and the output type of
        the request, and on whether it has a prefill, but not on its messages.
        """
        fields = {"model": self.model, **self.sampling_fields(request.sampling)}
        if request.output is not None:
            fields |= self.response_format(request)
        return fields | self.config.extra_body

    def messages(self, request: Request) -> list[Message]:
        """The conversation to send; a backend may override it.

        Where the server does not receive the schema, the system message has it in words.
        """
        if request.output is None or request.mode == "json_schema":
            return request.messages
        return with_instruction(request.messages, request.output.instruction)

    def sampling_fields(self, sampling: SamplingParams) -> dict[str, Any]:
        """The sampling parameters under the server's names; a backend may override it.

        Args:
            sampling: The parameters, those alone that `Capabilities.sampling` has.
        """
        fields = sampling.model_dump(exclude_none=True, exclude={"guided_decoding"})
        if sampling.n == 1:
            fields.pop("n", None)
        if "max_tokens" in fields:
            fields[self.max_tokens_field] = fields.pop("max_tokens")
        return fields

    def response_format(self, request: Request) -> dict[str, Any]:
        """The fields of the body that ask for a typed answer; a backend may override it.

        By default `response_format` (OpenAI API reference, "Create chat completion").

        Args:
            request: A request whose `output` is not `None`; `mode` names the output mode.
        """
        assert request.output is not None
        if request.mode == "prompt":
            return {}
        if request.mode == "json_object":
            return {"response_format": {"type": "json_object"}}
        named: dict[str, Any] = {"name": request.output.name, "schema": self.schema_of(request)}
        if self.sends_strict(request):
            named["strict"] = True
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    def read_answer(self, answer: Any) -> LLMOutput:
        """Read the body of a chat completion; a backend may extend it.

        Args:
            answer: The body, decoded.

        Raises:
            ServerError: It is not a chat completion, or was broken off.
            EngineError: It is an error, which its code sorts as a status would.
        """
        answer = unpacked(answer, self.answer_field)
        try:
            completions = [read_completion(choice) for choice in answer["choices"]]
        except BrokenOffError as error:
            raise self._broken_off(answer, str(error)) from None
        except (KeyError, TypeError, AttributeError, ValueError):
            completions = []
        is_error = isinstance(answer, dict) and answer.get("error")
        if not completions or (is_error and not any(each.text for each in completions)):
            raise self.error_in(answer) or unreadable("chat completion", answer)
        return self.billed(answer, completions)

    def _broken_off(self, answer: Any, reason: str) -> EngineError:
        """The exception for an answer that the server did not finish.

        OpenRouter puts the error of the server behind it into the choice (OpenRouter docs,
        "Errors").
        """
        reported = (self.error_in(choice) for choice in answer["choices"])
        message = f"the server broke the answer off (finish_reason {reason})"
        return next(filter(None, reported), None) or ServerError(message)


def unpacked(answer: Any, field: str) -> Any:
    """The completion inside a text, as API gateways send it, or inside an object.

    Cloudflare's own API has it under `result` (Cloudflare docs, "Workers AI REST API").

    Args:
        answer: The body, decoded.
        field: The field that a completion has.
    """
    if isinstance(answer, str):
        with contextlib.suppress(ValueError):
            answer = decode(answer)
    if isinstance(answer, dict) and field not in answer:
        inner = [each for each in answer.values() if isinstance(each, dict) and field in each]
        return inner[0] if len(inner) == 1 else answer
    return answer


def model_names(answer: Any) -> list[str] | None:
    """Names in the body of a list of models (OpenAI API reference, "List models").

    Args:
        answer: The body, decoded.

    Returns:
        The names, or `None` where the body has another form.
    """
    try:
        return [model["id"] for model in answer["data"]]
    except (KeyError, TypeError):
        return None


def unreadable(kind: str, answer: Any) -> ServerError:
    """The exception for an answer of another form than the protocol has.

    Args:
        kind: The kind that the answer should be, such as `chat completion`.
        answer: The body, decoded; the message quotes its start.

    Returns:
        An exception to raise, transient where the body is an error of a server behind the server,
        or an answer without a completion.
    """
    error = ServerError(f"the server's answer is not a {kind}: {str(answer)[:300]}")
    known = ("error", "choices", "output")
    error.transient = isinstance(answer, dict) and any(name in answer for name in known)
    return error

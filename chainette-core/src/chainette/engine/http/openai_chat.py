"""Chat completions, the protocol that every OpenAI-compatible server speaks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from chainette.engine.client.base import ConfigT
from chainette.engine.client.identity_cache import IdentityCache
from chainette.engine.client.request import Request, with_instruction
from chainette.engine.http.client import BaseHTTPClient
from chainette.errors import ServerError
from chainette.json_bytes import encode
from chainette.types import Completion, LLMOutput, Message, SamplingParams
from chainette.usage import Usage


class OpenAIChatClient(BaseHTTPClient[ConfigT]):
    """A client of `POST {endpoint}/chat/completions`.

    The protocol's source is the OpenAI API reference, "Create chat completion". A backend whose
    server follows it sets `default_endpoint` and `api_key_envs`; every method below is a place
    where a server may differ.
    """

    max_tokens_field: str = "max_tokens"
    """Name of the token limit in the body; OpenAI's own servers call it `max_completion_tokens`
    (OpenAI API reference, "Create chat completion")."""

    @cached_property
    def _constants(self) -> IdentityCache[bytes]:
        return IdentityCache()

    async def list_models(self) -> list[str] | None:
        """Names of the models that `GET {endpoint}/models` lists."""
        await self.start()
        return model_names(await self.send("GET", "/models"))

    async def _chat(self, request: Request) -> LLMOutput:
        return self.read_answer(await self.send("POST", "/chat/completions", self.body(request)))

    def body(self, request: Request) -> bytes:
        """The body of a request, as JSON; only the conversation is encoded for every row."""
        return b'{"messages":%b,%b' % (encode(self.messages(request)), self._constant(request))

    def _constant(self, request: Request) -> bytes:
        """The end of the body, the same for all rows of a step."""
        same = (request.sampling, request.output, request.mode, self.model)
        return self._constants.get(same, lambda: encode(self.body_fields(request))[1:])

    def body_fields(self, request: Request) -> dict[str, Any]:
        """The fields of the body beside the conversation; a backend may extend them.

        Called once for all rows of a step: it may depend on the sampling and the output type of
        the request, but not on its messages.
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
        output = request.output
        schema = output.strict.schema if self.sends_strict(request) else output.schema
        named: dict[str, Any] = {"name": output.name, "schema": schema}
        if self.sends_strict(request):
            named["strict"] = True
        return {"response_format": {"type": "json_schema", "json_schema": named}}

    def read_answer(self, answer: Any) -> LLMOutput:
        """Read the body of a chat completion; a backend may extend it.

        Args:
            answer: The body, decoded.

        Raises:
            ServerError: It is not a chat completion.
        """
        try:
            completions = [_completion(choice) for choice in answer["choices"]]
            usage = _usage(answer.get("usage"))
        except (KeyError, TypeError, AttributeError, ValueError):
            completions = []
        if not completions:
            raise unreadable("chat completion", answer)
        return LLMOutput(outputs=completions, usage=usage)


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
        kind: What the answer should be, such as `chat completion`.
        answer: The body, decoded; the message quotes its start.

    Returns:
        An exception to raise, transient where the body is an error of a server behind the server.
    """
    error = ServerError(f"the server's answer is not a {kind}: {str(answer)[:300]}")
    error.transient = isinstance(answer, dict) and "error" in answer
    return error


def _completion(choice: dict[str, Any]) -> Completion:
    message = choice["message"]
    finish_reason = choice.get("finish_reason")
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise TypeError("the content is not text")
    if refusal := message.get("refusal"):
        text, finish_reason = refusal, "refusal"
    return Completion(
        text=text,
        # The field was renamed from reasoning_content to reasoning; servers send either.
        reasoning_content=message.get("reasoning") or message.get("reasoning_content"),
        finish_reason=finish_reason,
    )


def _usage(usage: dict[str, Any] | None) -> Usage | None:
    if not usage:
        return None
    prompt_details = usage.get("prompt_tokens_details") or {}
    completion_details = usage.get("completion_tokens_details") or {}
    return Usage(
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        reasoning_tokens=int(completion_details.get("reasoning_tokens") or 0),
        cached_tokens=int(prompt_details.get("cached_tokens") or 0),
    )

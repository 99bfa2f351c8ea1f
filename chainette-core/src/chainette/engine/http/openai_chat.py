"""Chat completions, the protocol that every OpenAI-compatible server speaks."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from chainette.engine.client.identity_cache import IdentityCache
from chainette.engine.client.request import Request, with_instruction
from chainette.engine.http.client import BaseHTTPClient
from chainette.errors import ServerError
from chainette.json_bytes import encode
from chainette.types import Completion, LLMOutput, Message, SamplingParams
from chainette.usage import Usage


class OpenAIChatClient(BaseHTTPClient):
    """Client of `POST {endpoint}/chat/completions`.

    The protocol's source is the OpenAI API reference, "Create chat completion". A backend that
    speaks it subclasses this, names its endpoint and capabilities, and is done.
    """

    max_tokens_field = "max_tokens"
    """Name of the token limit in the body; some servers renamed it."""

    @cached_property
    def _constants(self) -> IdentityCache[bytes]:
        return IdentityCache()

    async def list_models(self) -> list[str] | None:
        """Names of the models that the server lists."""
        await self.start()
        return model_names(await self._send("GET", "/models"))

    async def _chat(self, request: Request) -> LLMOutput:
        return read_completion(await self._send("POST", "/chat/completions", self._body(request)))

    def _body(self, request: Request) -> bytes:
        """The body, of which only the conversation is encoded for every row."""
        return b'{"messages":%b,%b' % (encode(self._messages(request)), self._constant(request))

    def _constant(self, request: Request) -> bytes:
        """The end of the body, the same for all rows of a step."""
        same = (request.sampling, request.output, request.mode, self.model)
        return self._constants.get(same, lambda: encode(self._fields(request))[1:])

    def _fields(self, request: Request) -> dict[str, Any]:
        """The fields of the body beside the conversation."""
        fields = {"model": self.model, **self._sampling(request.sampling)}
        if request.output is not None:
            fields |= self._response_format(request)
        return fields | self.config.extra_body

    def _messages(self, request: Request) -> list[Message]:
        """The conversation, with the schema in words where the server does not get it."""
        if request.output is None or request.mode == "json_schema":
            return request.messages
        return with_instruction(request.messages, request.output.instruction)

    def _sampling(self, sampling: SamplingParams) -> dict[str, Any]:
        """The sampling parameters under the protocol's names."""
        fields = sampling.model_dump(exclude_none=True, exclude={"guided_decoding"})
        if sampling.n == 1:
            fields.pop("n", None)
        if "max_tokens" in fields:
            fields[self.max_tokens_field] = fields.pop("max_tokens")
        return fields

    def _response_format(self, request: Request) -> dict[str, Any]:
        """The fields of the body that ask for a typed answer."""
        assert request.output is not None
        if request.mode == "prompt":
            return {}
        if request.mode == "json_object":
            return {"response_format": {"type": "json_object"}}
        output = request.output
        schema = output.strict.schema if self.sends_strict(request) else output.schema
        described: dict[str, Any] = {"name": output.name, "schema": schema}
        if self.sends_strict(request):
            described["strict"] = True
        return {"response_format": {"type": "json_schema", "json_schema": described}}


def model_names(answer: Any) -> list[str] | None:
    """Names from the body of a list of models, or `None` when it is none."""
    try:
        return [model["id"] for model in answer["data"]]
    except (KeyError, TypeError):
        return None


def read_completion(answer: Any) -> LLMOutput:
    """Read the body of a chat completion.

    Raises:
        ServerError: It is none.
    """
    try:
        completions = [_completion(choice) for choice in answer["choices"]]
        usage = _usage(answer.get("usage"))
    except (KeyError, TypeError, AttributeError, ValueError):
        completions = []
    if not completions:
        raise unreadable("chat completion", answer)
    return LLMOutput(outputs=completions, usage=usage)


def unreadable(kind: str, answer: Any) -> ServerError:
    """The exception for JSON that is not what was asked for."""
    error = ServerError(f"the server's answer is no {kind}: {str(answer)[:300]}")
    error.transient = isinstance(answer, dict) and "error" in answer  # of a server behind it
    return error


def _completion(choice: dict[str, Any]) -> Completion:
    message = choice["message"]
    finish_reason = choice.get("finish_reason")
    text = message.get("content") or ""
    if not isinstance(text, str):
        raise TypeError("the content is no text")
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

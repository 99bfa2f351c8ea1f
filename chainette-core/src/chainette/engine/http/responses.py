"""The Responses API, OpenAI's own protocol, which some compatible servers speak as well."""

from __future__ import annotations

import json
from typing import Any

from chainette.engine.client.base import ConfigT
from chainette.engine.client.request import Request
from chainette.engine.http.completions import FINISHED, content_of, parts_of
from chainette.engine.http.openai_chat import OpenAIChatClient, unpacked, unreadable
from chainette.engine.http.refusals import read_refusal, refusal_error, reported_error
from chainette.errors import EngineError, ServerError
from chainette.json_bytes import encode
from chainette.types import Completion, LLMOutput, Message

_ENDED_BADLY = frozenset(("failed", "cancelled"))
_NOT_ENDED = frozenset(("queued", "in_progress"))
_OTHERS = frozenset(("user", "system", "developer"))
"""Roles of messages that a server repeats from the request."""
_UNKNOWN = "incomplete"
"""The finish reason of an incomplete response whose server does not say why."""


class OpenAIResponsesClient(OpenAIChatClient[ConfigT]):
    """A client of `POST {endpoint}/responses`.

    The protocol's source is the OpenAI API reference, "Create a model response". Nothing is kept at
    the server: `store` is sent as false.
    """

    path: str = "/responses"
    answer_field: str = "output"
    max_tokens_field: str = "max_output_tokens"
    reports_cuts: bool = False
    """Whether the server is known to say of each cut answer that it is incomplete. llama.cpp and
    Ollama call it completed."""

    async def _chat(self, request: Request) -> LLMOutput:
        output = await super()._chat(request)
        limit, usage = request.sampling.max_tokens, output.usage
        is_full = limit is not None and usage is not None and usage.completion_tokens >= limit
        (completion,) = output.outputs
        if completion.finish_reason == "stop":
            if is_full:
                self._look_at_the_end(completion, request)
        elif completion.finish_reason not in ("length", "content_filter", "refusal"):
            if not is_full:
                reason = completion.finish_reason
                error = ServerError(f"the server broke the response off (it is {reason})")
                error.usage, error.cost = usage, self.cost_of(output)
                raise error
            completion.finish_reason = "length"
        return output

    def _look_at_the_end(self, completion: Completion, request: Request) -> None:
        """Find an answer that was cut at the limit, although its server calls it completed."""
        if request.output is not None:
            if _is_unfinished_json(completion.text):
                completion.finish_reason = "length"
        elif not self.reports_cuts:
            message = "an answer has exactly max_tokens=%d tokens: it may be cut, without a word of"
            self.warn_once("cut", f"{message} the server", request.sampling.max_tokens)

    def body(self, request: Request) -> bytes:
        """The body of a request, as JSON; only the conversation is encoded for every row."""
        return b'{"input":%b,%b' % (encode(self.messages(request)), self._constant(request))

    def body_fields(self, request: Request) -> dict[str, Any]:
        """The fields of the body beside the conversation; a backend may extend them.

        `text` has the schema and other options: the configured ones are added to it.
        """
        fields = {"model": self.model, "store": False, **self.sampling_fields(request.sampling)}
        text = self.response_format(request) if request.output is not None else {}
        own = self.config.extra_body
        if text and isinstance(own.get("text"), dict):
            text = {"text": text["text"] | own["text"]}
        return fields | own | text

    def messages(self, request: Request) -> list[Message]:
        """The conversation to send; a backend may override it.

        Turns of the assistant name their type, without which llama.cpp refuses them.
        """
        messages = super().messages(request)
        if len(messages) == 1:
            return messages
        typed: Any = [
            {"type": "message", **message} if message["role"] == "assistant" else message
            for message in messages
        ]
        return typed  # type: ignore[no-any-return]

    def response_format(self, request: Request) -> dict[str, Any]:
        """The field of the body that asks for a typed answer; a backend may override it.

        `text` (OpenAI API reference, "Create a model response").

        Args:
            request: A request whose `output` is not `None`; `mode` names the output mode.
        """
        fields = super().response_format(request)
        if not fields:
            return {}
        # What chat completions have in `json_schema` stands beside the type here.
        of_chat = fields["response_format"]
        return {"text": {"format": {"type": of_chat["type"], **of_chat.get("json_schema", {})}}}

    def read_answer(self, answer: Any) -> LLMOutput:
        """Read the body of a response; a backend may extend it.

        Args:
            answer: The body, decoded.

        Raises:
            ServerError: It is not a response, or has not ended well.
            EngineError: It is an error, which its code sorts as a status would.
        """
        answer = unpacked(answer, self.answer_field)
        status = str(answer.get("status")) if isinstance(answer, dict) else ""
        if status in _ENDED_BADLY:
            raise self._failure(answer)
        if status in _NOT_ENDED:
            error = ServerError(f"the response is {status}: leave background out of extra_body")
            error.transient = False
            raise error
        try:
            completion = read_response(answer)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise self.error_in(answer) or unreadable("response", answer) from None
        if answer.get("error") and not completion.text:
            raise self._failure(answer)
        return self.billed(answer, [completion])

    def _failure(self, answer: dict[str, Any]) -> EngineError:
        """The exception for a response that failed, by the code of its error."""
        said = f"the response was {answer['status']}"
        if not answer.get("error"):
            return ServerError(f"{said}: the server gives no reason")
        body = {"error": answer["error"]}
        refusal = read_refusal(self.scrub(encode(body).decode()))
        status = reported_error(body) or 502
        return refusal_error(status, refusal, f"{said}: {refusal.message}", {})


def read_response(answer: dict[str, Any]) -> Completion:
    """Read the items of a response; those of other types, such as calls of tools, are left out.

    Args:
        answer: The body, decoded.

    Raises:
        ValueError: It has neither an output nor a reason; as `KeyError`, `TypeError` and
            `AttributeError`, it is not a response.
    """
    items, finish_reason = answer["output"] or [], _finish_reason(answer)
    if not items and finish_reason == "stop":
        raise ValueError("no output")
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    arguments: list[str] = []
    before: list[dict[str, Any]] = []
    for item in items:
        kind = item.get("type") or "message"
        if kind == "message" and item.get("role") not in _OTHERS:
            # OpenAI sends one item twice at times (https://github.com/Effect-TS/effect/pull/6178).
            is_new = not item.get("id") or item not in before
            before.append(item)
            if is_new and item.get("phase") != "commentary":
                text, refusal = _message(item)
                (refusals if refusal else texts).append(refusal or text)
            finish_reason = _with_status(finish_reason, item)
        elif kind == "reasoning":
            thoughts += _thoughts(item)
        elif kind == "function_call" and (given := item.get("arguments")):
            arguments.append(given if isinstance(given, str) else json.dumps(given))
    completion: Completion[Any] = Completion(
        text="".join(refusals or texts),
        reasoning_content="\n".join(thoughts) or None,
        finish_reason="refusal" if refusals else finish_reason,
    )
    if not completion.text and arguments:
        completion.tool_arguments = "\n".join(arguments)
    return completion


def _with_status(finish_reason: str, item: dict[str, Any]) -> str:
    """The finish reason, in view of a message that is incomplete in a completed response.

    As in https://github.com/openai/openai-python/issues/2486.
    """
    is_cut = item.get("status") == "incomplete" and finish_reason == "stop"
    return _UNKNOWN if is_cut else finish_reason


def _message(item: dict[str, Any]) -> tuple[str, str | None]:
    """The text and the refusal of a message."""
    content = content_of(item.get("content") or "")
    if isinstance(content, str):
        return content, None
    text, _, refusal = parts_of(content)
    return text, refusal


def _thoughts(item: dict[str, Any]) -> list[str]:
    """The texts of an item of reasoning: its summary, or the reasoning itself.

    Open models have it in `content` (OpenAI Cookbook, "How to handle the raw chain of thought in
    gpt-oss"); what is encrypted is not text.
    """
    found = item.get("summary") or item.get("content") or []
    parts = found if isinstance(found, list) else [found]
    texts = [part if isinstance(part, str) else part.get("text") for part in parts]
    return [text for text in texts if text]


def _finish_reason(answer: dict[str, Any]) -> str:
    """The reason why a response ended, under the names of chat completions."""
    details = answer.get("incomplete_details")
    if not details and answer.get("status") != "incomplete":
        return "stop"
    reason = str((details or {}).get("reason") or _UNKNOWN)
    return FINISHED.get(reason.lower(), reason)


def _is_unfinished_json(text: str) -> bool:
    """Whether a text begins as JSON does and ends before its value does."""
    start = text.lstrip()
    if start[:1] not in ("{", "["):
        return False
    try:
        json.JSONDecoder().raw_decode(start)
    except (ValueError, RecursionError):
        return True
    return False

"""Answers in parts: lines of JSON, and completions that a server streams without being asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainette.engine.http.bodies import too_long
from chainette.errors import ServerError
from chainette.json_bytes import decode, without_lone_surrogates

_STARTS = ("data:", "event:", "id:", "retry:", ":")
"""Beginnings of lines of an event stream (WHATWG HTML, "Server-sent events", 9.2.6)."""
_LAST = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
"""Types of the events that end a stream of the Responses API."""


class JSONLines:
    """Lines of JSON that come in parts (https://github.com/ndjson/ndjson-spec).

    Args:
        on_line: Takes the value of every line that is not empty.
        limit: Maximum bytes of a line.
    """

    def __init__(self, on_line: Callable[[Any], None], limit: int) -> None:
        self._on_line, self._limit = on_line, limit
        self._begun = b""

    def take(self, part: bytes) -> None:
        """Take a part, which may end anywhere.

        Raises:
            ServerError: A line is too long, or is not JSON.
        """
        *lines, self._begun = (self._begun + part).split(b"\n")
        if len(self._begun) > self._limit:
            raise too_long(self._limit)
        for line in filter(bytes.strip, lines):
            try:
                value = decode(line)
            except ValueError:
                shown = line[:100].decode(errors="replace")
                raise ServerError(f"a line of the answer is not JSON: {shown}") from None
            self._on_line(value)


def is_event_stream(body: str) -> bool:
    """Whether a body is an event stream, whatever its content type says."""
    return body.lstrip("\ufeff \r\n").startswith(_STARTS)


def read_event_stream(body: str) -> dict[str, Any] | None:
    """The completion or response that the chunks of a stream are parts of.

    Gateways that only stream answer so, and comments keep the connection alive (OpenAI API
    reference, "The chat completion chunk object"; OpenRouter docs, "Streaming").

    Args:
        body: The stream.

    Returns:
        A chat completion, a response, or the error that the stream holds; `None` where it does not
        end.
    """
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    has_ended = False
    events = _events(body)
    for data in events:
        if data == "[DONE]":
            has_ended = True
            break
        chunk = decode(without_lone_surrogates(data))
        if not isinstance(chunk, dict):
            return None
        if str(chunk.get("type")).startswith("response."):
            return _response(events)
        if chunk.get("error"):
            return chunk
        answer |= {name: value for name, value in chunk.items() if value is not None}
        for part in chunk.get("choices") or ():
            _add(part, choices.setdefault(part.get("index", 0), {"message": {}}))
    ends = [choice.get("finish_reason") for choice in choices.values()]
    if not (has_ended or (ends and all(ends))):
        return None
    return answer | {"choices": [choices[index] for index in sorted(choices)]}


def read_stream(body: str) -> dict[str, Any] | None:
    """The answer that a server has sent in parts, as events or as lines of JSON.

    Args:
        body: The body.

    Returns:
        The answer, or the error in it; `None` where it is something else, or does not end.
    """
    return read_event_stream(body) if is_event_stream(body) else _read_lines(body)


def _read_lines(body: str) -> dict[str, Any] | None:
    """The answer in the lines of a stream of Ollama's (https://docs.ollama.com/api/streaming)."""
    lines = [line for line in body.split("\n") if line.strip()]
    if len(lines) < 2:
        return None
    try:
        chunks = [decode(without_lone_surrogates(line)) for line in lines]
    except ValueError:  # cut, or JSON of several lines
        return None
    answer: dict[str, Any] = {}
    texts: dict[str, str] = {}
    calls: list[Any] = []
    for chunk in chunks:
        if not isinstance(chunk, dict) or chunk.get("error"):
            return chunk if isinstance(chunk, dict) else None
        answer |= chunk
        message = chunk.get("message")
        for name, value in message.items() if isinstance(message, dict) else ():
            if name in ("content", "thinking") and isinstance(value, str):
                texts[name] = texts.get(name, "") + value
            elif name == "tool_calls":
                calls += value or ()
    return answer | {"message": {**texts, "tool_calls": calls}} if answer.get("done") else None


def _response(events: list[str]) -> dict[str, Any] | None:
    """The response that the events of the Responses API are about, or the error among them.

    Gateways leave its output out of the last event, which has only been sent item by item before
    (https://github.com/decolua/9router/issues/705; OpenAI API reference, "Streaming events").
    """
    items: dict[int, Any] = {}
    for data in events:
        event = decode(without_lone_surrogates(data)) if data != "[DONE]" else {}
        kind, response = event.get("type"), event.get("response")
        if kind == "error":
            return {"error": event.get("error") or event}
        if kind == "response.output_item.done":
            items[event.get("output_index", len(items))] = event["item"]
        elif kind in _LAST and isinstance(response, dict):
            output = response.get("output") or [items[index] for index in sorted(items)]
            return {"status": kind.rpartition(".")[2], **response, "output": output}
    return None


def _events(body: str) -> list[str]:
    """The data of the events."""
    events: list[list[str]] = [[]]
    for line in body.splitlines():
        if not line:
            events.append([])
        elif line.startswith("data:"):
            events[-1].append(line[5:].removeprefix(" "))
    return ["\n".join(lines).strip() for lines in events if any(lines)]


def _add(part: dict[str, Any], choice: dict[str, Any]) -> None:
    """Add a chunk's part of a choice to the choice."""
    if part.get("finish_reason"):
        choice["finish_reason"] = part["finish_reason"]
    message = choice["message"]
    for name, value in (part.get("delta") or part.get("message") or {}).items():
        if name == "tool_calls":
            for call in value or ():
                _add_call(call, message.setdefault("tool_calls", []))
        elif name != "role" and isinstance(value, str):
            message[name] = message.get(name, "") + value


def _add_call(part: dict[str, Any], calls: list[dict[str, Any]]) -> None:
    index = part.get("index", len(calls))
    while len(calls) <= index:
        calls.append({"function": {"arguments": ""}})
    calls[index]["function"]["arguments"] += (part.get("function") or {}).get("arguments") or ""

"""HTTP servers on loopback sockets with scripted answers and faults."""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import monotonic
from typing import Any

import h11
from typing_extensions import Self

from chainette.testing.script import Answers, Reply, Script, text_of
from chainette.types import SamplingParams
from chainette.usage import Usage

MODEL = "fake-model"
"""Name of the model of every fake server."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as the server reads it.

    Attributes:
        path: Path of the URL.
        body: The JSON of the body.
        messages: The conversation, a `role` and a `content` each.
        schema: JSON schema that the answer must fit.
        sampling: Sampling parameters that were sent, under Chainette's names.
        reasoning: Whether the request asks for the model's reasoning; `None` where it does not say.
        headers: The HTTP headers, their names in lower case.
        at: Time of its arrival, in seconds of `time.monotonic`.
    """

    path: str
    body: Any
    messages: list[Any]
    schema: dict[str, Any] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    reasoning: bool | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """An answer of the scripted model, for the server to write in its protocol.

    Attributes:
        texts: A text for each completion of the request.
        finish_reason: `stop`, `length`, `content_filter` or `refusal`.
        usage: Tokens; words are counted.
        reasoning: The model's reasoning, if it reports one.
    """

    texts: list[str]
    finish_reason: str
    usage: Usage
    reasoning: str | None


class FakeServer(ABC):
    """A scripted server of one wire protocol; a context manager.

    A protocol is two methods: `read` reads a request, `write` writes the body of the answer.

    Args:
        answers: The script: a list of answers in turn, a dict from words of the prompt to answers,
            a function of the messages, or `None` for made-up answers that are valid. An answer is
            a text, a model, a JSON value or a `Reply`.
        api_key: The bearer token that requests must have; without one, every request is accepted.

    Attributes:
        requests: The requests for completions so far.
        connections: Number of open connections.
        peak: Maximum number of requests in progress at a time.
        slots: Requests that it works on at a time, each for the `delay` of its reply; the others
            wait in their order. `None` works on all of them. To be set before the first request.
    """

    prefix = ""
    """Path of the base URL."""

    def __init__(self, answers: Answers = None, *, api_key: str | None = None) -> None:
        self.requests: list[ReceivedRequest] = []
        self.connections: int = 0
        self.peak: int = 0
        self.slots: int | None = None
        self._active = 0
        self._api_key = api_key
        self._script = Script(answers)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @abstractmethod
    def read(self, path: str, body: Any) -> ReceivedRequest | None:
        """Read the JSON of a POST; `None` where it is not a request for a completion."""

    @abstractmethod
    def write(self, request: ReceivedRequest, answer: ModelAnswer) -> Any:
        """Write the JSON of an answer."""

    def other(self, path: str, body: Any) -> Any:
        """Answer any other request with JSON, bytes, or a reply and its bytes; `None` is a 404."""
        return None

    def before(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[Reply, bytes] | None:
        """Answer before the JSON of a request is read; `None` reads it."""
        return None

    def no_such_path(self, path: str) -> tuple[Reply, bytes]:
        """Answer at a path that the server does not have."""
        return self._refused(404, f"no such path: {path}")

    def refuse(self, request: ReceivedRequest) -> Reply | None:
        """Refuse a request for a completion, whatever the script says; `None` takes it."""
        return None

    def made_up(self, request: ReceivedRequest) -> dict[str, Any] | None:
        """The schema that a made-up answer follows."""
        return request.schema

    def content_type(self, path: str) -> str:
        """The content type of an answer with JSON."""
        return "application/json"

    def error(self, code: int, message: str) -> Any:
        """Write the JSON of an error."""
        return {"error": {"message": message, "code": code}}

    def set_answers(self, answers: Answers) -> None:
        """Replace the script, and forget the requests so far."""
        self._script = Script(answers)
        self.requests.clear()
        self.peak = 0

    @property
    def endpoint(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the server."""
        self.close()

    def close(self) -> None:
        """Close every connection, and stop listening."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closed.set)
            self._thread.join()

    async def _run(self) -> None:
        self._loop, self._closed = asyncio.get_running_loop(), asyncio.Event()
        self._handlers: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=2048)
        self.port: int = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._closed.wait()
        server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        try:
            while (received := await _receive(connection, reader)) is not None:
                if not await self._answer(connection, reader, writer, *received):
                    break
                if connection.our_state is h11.MUST_CLOSE:
                    break
                connection.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            pass  # the client is gone, or the server is being closed
        finally:
            self.connections -= 1
            self._handlers.discard(task)
            writer.close()

    async def _answer(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: h11.Request,
        content: bytes,
    ) -> bool:
        """Answer one request; return whether the connection can be used again."""
        self._active += 1
        self.peak = max(self.peak, self._active)
        try:
            reply, body = self._reply(request, content)
            if reply.delay and await self._is_left(reader, reply.delay):
                return False
            path = request.target.decode().partition("?")[0]
            headers = {"Content-Type": self.content_type(path), "Content-Length": str(len(body))}
            head = [pair for pair in (headers | dict(reply.headers)).items() if pair[1]]
            writer.write(_sent(connection, h11.Response(status_code=reply.status, headers=head)))
            writer.write(_sent(connection, h11.Data(data=body[: int(len(body) * reply.send)])))
            await writer.drain()
            if reply.then == "stall":
                await _hangs_up(reader, None)
            if reply.then != "end":
                return False
            writer.write(_sent(connection, h11.EndOfMessage()))
            await writer.drain()
            return True
        finally:
            self._active -= 1

    async def _is_left(self, reader: asyncio.StreamReader, seconds: float) -> bool:
        """Work for some seconds; return whether the client has hung up in the meantime."""
        if self.slots is None:
            return await _hangs_up(reader, seconds)
        work = asyncio.ensure_future(self._work(seconds))
        left = asyncio.ensure_future(_hangs_up(reader, None))
        try:
            await asyncio.wait([work, left], return_when=asyncio.FIRST_COMPLETED)
            return not work.done()
        finally:
            work.cancel()
            left.cancel()
            await asyncio.gather(work, left, return_exceptions=True)

    async def _work(self, seconds: float) -> None:
        async with self._workers:
            await asyncio.sleep(seconds)

    @cached_property
    def _workers(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self.slots or 1)

    def _reply(self, request: h11.Request, content: bytes) -> tuple[Reply, bytes]:
        path = request.target.decode().partition("?")[0]
        headers = {name.decode().lower(): value.decode() for name, value in request.headers}
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if self._api_key is not None and token != self._api_key:
            return self._refused(401, f"Incorrect API key provided: {token}")
        early = self.before(request.method.decode(), path, headers, content)
        if early is not None:
            return early
        body = json.loads(content) if content else None
        received = self.read(path, body)
        if received is None:
            answer = self.other(path, body)
            if answer is None:
                return self.no_such_path(path)
            if isinstance(answer, tuple):
                return answer
            return Reply(), answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.requests.append(replace(received, headers=headers, at=monotonic()))
        return self._scripted(received)

    def _scripted(self, request: ReceivedRequest) -> tuple[Reply, bytes]:
        if (refusal := self.refuse(request)) is not None:
            return refusal, refusal.body or b""
        schema = self.made_up(request)
        try:
            answer = self._script.answer(request.messages)
        except LookupError as error:
            return self._refused(500, str(error))
        reply = answer if isinstance(answer, Reply) else Reply(text_of(answer, schema))
        if reply.body is not None:
            return reply, reply.body
        if reply.status != 200:
            return reply, json.dumps(self.error(reply.status, reply.message)).encode()
        texts = [text_of(it, schema) for it in self._texts(request, reply)]
        usage = count_words(request, texts)
        written = ModelAnswer(texts, reply.finish_reason, usage, reply.reasoning)
        body = self.write(request, written)
        if isinstance(body, tuple):
            own, content = body
            return replace(reply, headers={**own.headers, **reply.headers}), content
        return reply, json.dumps(body).encode()

    def _texts(self, request: ReceivedRequest, reply: Reply) -> list[Any]:
        """The answer, and as many further ones as the request asks for."""
        texts: list[Any] = [reply.text]
        while len(texts) < int(request.sampling.get("n") or 1):
            try:
                answer = self._script.answer(request.messages)
            except LookupError:  # the script is at its end
                answer = reply.text
            texts.append(answer.text if isinstance(answer, Reply) else answer)
        return texts

    def _refused(self, code: int, message: str) -> tuple[Reply, bytes]:
        return Reply(status=code), json.dumps(self.error(code, message)).encode()


_NAMES = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "num_predict": "max_tokens",
    "repeat_penalty": "repetition_penalty",
}
"""Chainette's names of parameters that protocols call otherwise."""


def sampling_of(fields: dict[str, Any]) -> dict[str, Any]:
    """The sampling parameters among a request's fields, under Chainette's names."""
    named = {_NAMES.get(name, name): value for name, value in fields.items()}
    known = set(SamplingParams.model_fields) - {"guided_decoding"}
    return {name: value for name, value in named.items() if name in known}


def count_words(request: ReceivedRequest, texts: list[str]) -> Usage:
    """The tokens of a request and its answer; a word is a token."""
    prompt = sum(len(message["content"].split()) for message in request.messages)
    return Usage(prompt, sum(len(text.split()) for text in texts))


def _sent(connection: h11.Connection, event: h11.Response | h11.Data | h11.EndOfMessage) -> bytes:
    return connection.send(event) or b""


async def _receive(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> tuple[h11.Request, bytes] | None:
    """The next request and its body, or `None` after the client has hung up."""
    request, body = None, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(1 << 16))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request, bytes(body)
        else:
            return None


async def _hangs_up(reader: asyncio.StreamReader, seconds: float | None) -> bool:
    """Whether the client, which sends nothing more, closes the connection within a time."""
    try:
        return not await asyncio.wait_for(reader.read(1), seconds)
    except asyncio.TimeoutError:
        return False

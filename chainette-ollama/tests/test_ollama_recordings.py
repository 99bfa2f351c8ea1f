"""The fake server answers as the real one was recorded, and the package reads both alike."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import ollama
import pytest
from chainette.testing.ollama.server import FakeOllama
from chainette.testing.script import Reply
from ollama_recordings import VERSIONS, Exchange, exchanges, fake

EXCHANGES = exchanges()
NUMBERS = re.compile(r"(?<![\w.-])\d+(?= tokens)|(?<=_tokens\":)\d+|(?<=ts=)\d+")
"""Numbers of tokens, which only a tokenizer knows, and a time."""
FREE = ("created", "created_at", "completed_at", "id", "logprobs")
"""Fields whose values belong to one answer."""


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, FakeOllama]]:
    with ExitStack() as stack:
        yield {version: stack.enter_context(fake(version)) for version in VERSIONS}


def said(exchange: Exchange) -> Reply | None:
    """The script: what the recorded model wrote, and how it ended."""
    answer = exchange.answer
    if exchange.status != 200:
        is_models = "peg-native" in exchange.body  # it depends on the words of the model
        return Reply(status=500, message=answer["error"]) if is_models else None
    if isinstance(answer, list):
        text = "".join(each.get("message", {}).get("content", "") for each in answer)
        return Reply(text, finish_reason=answer[-1].get("done_reason", ""))
    if "output" in answer:
        return Reply(answer["output"][0]["content"][0]["text"])
    if "choices" in answer:
        (choice,) = answer["choices"]
        text = choice["text"] if "text" in choice else choice["message"]["content"]
        return Reply(text, finish_reason=choice["finish_reason"])
    message = answer.get("message") or {"content": answer.get("response")}
    return Reply(message["content"], message.get("thinking"), answer.get("done_reason", ""))


def sent(server: FakeOllama, exchange: Exchange) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        connection.request(
            exchange.method, exchange.path, exchange.content or None, exchange.headers
        )
        response = connection.getresponse()
        kind = (response.getheader("content-type") or "").partition(";")[0]
        return response.status, kind, response.read().decode()
    finally:
        connection.close()


def shape(value: Any, key: str = "") -> Any:
    """A body without what no rule can know: numbers of tokens, times, and names of answers."""
    if isinstance(value, dict):
        return {name: shape(each, name) for name, each in value.items()}
    if key in FREE:
        return key
    if isinstance(value, list):
        return [shape(each, key) for each in value]
    if isinstance(value, str):
        return NUMBERS.sub("0", value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_free = key.endswith(("duration", "count", "tokens", "embedding", "embeddings"))
    return "number" if is_number and is_free else value


def joined(parts: list[dict[str, Any]]) -> Any:
    """The parts of a stream as one: the cuts between them are those of tokens."""
    if "message" not in parts[0]:
        return parts
    text = "".join(part["message"]["content"] for part in parts)
    assert {part["done"] for part in parts[:-1]} == {False}
    return [shape(parts[0]).keys(), text.replace(" ", ""), shape(parts[-1])]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fake_answers_every_recorded_request_as_recorded(
    version: str, servers: dict[str, FakeOllama]
) -> None:
    server = servers[version]
    mine = [each for each in EXCHANGES if each.server == version]
    different = []
    for exchange in mine:
        server.set_answers([said(exchange)])
        status, kind, body = sent(server, exchange)
        expected = (exchange.status, exchange.content_type, content(exchange.body, kind))
        if (status, kind, content(body, kind)) != expected:
            different.append((exchange.case, (status, kind, content(body, kind)), expected))
    assert different == [], "\n".join(map(str, different))


def content(body: str, kind: str) -> Any:
    if "ndjson" in kind:
        return joined([json.loads(line) for line in body.splitlines()])
    return shape(json.loads(body)) if "json" in kind else body


def test_every_line_of_the_file_belongs_to_one_of_the_servers() -> None:
    assert len(EXCHANGES) == 314
    assert {each.server for each in EXCHANGES} == set(VERSIONS)


def test_the_package_reads_every_recorded_answer_of_a_chat() -> None:
    """The models of the `ollama` package are the check of what the recordings are."""
    chats = [each for each in EXCHANGES if each.path == "/api/chat" and each.status == 200]
    for each in chats:
        for part in each.answer if isinstance(each.answer, list) else [each.answer]:
            assert ollama.ChatResponse.model_validate(part).message.role == "assistant"
    assert len(chats) > 150

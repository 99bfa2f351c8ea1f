from __future__ import annotations

import pytest
from chainette.testing.contract import BackendContract
from chainette.testing.contract.structured import StructuredChecks
from chainette.testing.servers import FakeOpenAI


class TestChat(BackendContract):
    backend = "openai"
    fields = {"model": "m", "api": "chat"}
    server_class = FakeOpenAI


class TestChatInStrictSchemas(StructuredChecks):  # nothing else of a request differs
    backend = "openai"
    fields = {"model": "m", "api": "chat", "strict": True}
    server_class = FakeOpenAI


class TestResponses(BackendContract):
    backend = "openai"
    fields = {"model": "m", "api": "responses"}
    server_class = FakeOpenAI


@pytest.mark.exhaustive
class TestResponsesThroughTheSDK(BackendContract):
    backend = "openai"
    fields = {"model": "m", "api": "responses", "client": "sdk"}
    server_class = FakeOpenAI

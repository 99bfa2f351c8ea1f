from __future__ import annotations

from typing import Any

from chainette.testing.contract import BackendContract
from chainette.testing.servers import FakeOllama


class TestOllamaAPI(BackendContract):
    backend = "ollama_api"
    fields = {"model": "fake-model"}
    server_class = FakeOllama


class TestOllama(BackendContract):
    backend = "ollama"
    server_class = FakeOllama

    def engine_fields(self, server: Any) -> dict[str, Any]:
        return {"model": "fake-model", "port": server.port}

from __future__ import annotations

from chainette.testing.contract import BackendContract
from chainette.testing.servers import FakeVLLM


class TestVLLM(BackendContract):
    backend = "vllm_api"
    server_class = FakeVLLM


class OlderFakeVLLM(FakeVLLM):
    reasoning_field = "reasoning_content"


class TestOlderVLLM(BackendContract):
    backend = "vllm_api"
    server_class = OlderFakeVLLM

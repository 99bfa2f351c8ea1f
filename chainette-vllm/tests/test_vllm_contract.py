from __future__ import annotations

from chainette.testing.contract import BackendContract
from chainette.testing.contract.answers import AnswerChecks
from chainette.testing.contract.structured import StructuredChecks
from chainette.testing.servers import FakeVLLM


class TestVLLM(BackendContract):
    backend = "vllm_api"
    server_class = FakeVLLM


class TestVLLMsOwnField(StructuredChecks):  # nothing else of a request differs
    backend = "vllm_api"
    fields = {"schema_field": "structured_outputs"}
    server_class = FakeVLLM


class OlderFakeVLLM(FakeVLLM):
    version = "0.11.2"
    reasoning_field = "reasoning_content"


class TestOlderVLLM(AnswerChecks, StructuredChecks):  # names in requests and answers differ
    backend = "vllm_api"
    fields = {"vllm_version": "0.11.2"}
    server_class = OlderFakeVLLM

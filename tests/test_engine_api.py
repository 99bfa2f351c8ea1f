"""Code written for in-process engines, pointed at HTTP backends."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from chainette import EngineConfig, GuidedDecodingParams, SamplingParams, load_engines
from chainette.testing.servers import FakeOllama, FakeOpenAI, FakeVLLM
from pydantic import BaseModel

KEY = "sk-SENTINEL-0123456789abcdef"


class Animal(BaseModel):
    name: str
    legs: int


@pytest.mark.parametrize(
    ("backend", "fake"),
    [("openai", FakeOpenAI), ("vllm_api", FakeVLLM), ("ollama_api", FakeOllama)],
)
def test_only_backend_endpoint_and_key_have_to_change(backend: str, fake: type[FakeOpenAI]) -> None:
    with fake(api_key=KEY) as server:
        config = EngineConfig(
            name="e", backend=backend, model="m", endpoint=server.endpoint, api_key=KEY
        )
        prompts = ["A bird?", "A cat?"]
        outputs = config.engine.generate(
            prompts, SamplingParams(temperature=0.2), output_model=Animal
        )
    assert [output.error for output in outputs] == [None, None]
    assert all(isinstance(output.outputs[0].parsed, Animal) for output in outputs)
    assert [request.sampling["temperature"] for request in server.requests] == [0.2, 0.2]


def test_an_engine_in_yaml_gets_its_key_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "engines.yml"
    with FakeOpenAI(api_key=KEY) as server:
        file.write_text(
            f"""
- name: gpt4o
  backend: openai
  model: gpt-4.1-mini
  endpoint: {server.endpoint}
  api_key_env: OPENAI_API_KEY        # optional helper
"""
        )
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        (config,) = load_engines(file)
        (output,) = config.engine.generate(["hi"], output_model=Animal)
    assert output.error is None
    assert server.requests[0].body["model"] == "gpt-4.1-mini"


@pytest.mark.parametrize(("backend", "fake"), [("openai", FakeOpenAI), ("ollama_api", FakeOllama)])
def test_unsupported_guided_decoding_is_left_out_with_a_warning(
    backend: str, fake: type[FakeOpenAI], caplog: pytest.LogCaptureFixture
) -> None:
    guided = SamplingParams(guided_decoding=GuidedDecodingParams(json={"type": "object"}))
    with fake() as server:
        config = EngineConfig(name="e", backend=backend, model="m", endpoint=server.endpoint)
        (output,) = config.engine.generate(["hi"], guided)
    assert output.error is None
    assert "has no sampling parameter guided_decoding" in caplog.text
    assert "guided" not in str(server.requests[0].body)


def test_unsupported_reasoning_is_switched_off_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FakeOpenAI() as server, caplog.at_level(logging.WARNING):
        config = EngineConfig(
            name="e", backend="openai", model="m", endpoint=server.endpoint, enable_reasoning=True
        )
        engine = config.engine
        assert engine.generate(["hi"])[0].error is None
    assert engine.config.enable_reasoning is False
    assert caplog.text.count("enable_reasoning is switched off") == 1

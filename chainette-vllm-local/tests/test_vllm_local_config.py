from __future__ import annotations

import importlib.util
import sys

import pytest
from chainette import register_engine
from chainette.errors import ConfigError, EngineStartError


def test_fields_have_the_names_of_vllm() -> None:
    config = register_engine(
        "e", backend="vllm_local", model="m", max_model_len=2048, engine_args={"seed": 3}
    )
    assert config.async_engine_args() == {  # type: ignore[attr-defined]
        "model": "m", "dtype": "auto", "max_model_len": 2048, "tensor_parallel_size": 1,
        "enforce_eager": False, "seed": 3,
    }  # fmt: skip


def test_mistakes_are_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'max_model_len'"):
        register_engine("e", backend="vllm_local", model="m", max_model_length=1)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_error_suggests_the_distribution() -> None:
    engine = register_engine("e", backend="vllm_local", model="m").engine
    outputs = engine.generate(["a", "b"])
    assert all(isinstance(output.error, EngineStartError) for output in outputs)
    assert "pip install chainette-vllm-local" in str(outputs[0].error)
    assert "vllm" not in sys.modules

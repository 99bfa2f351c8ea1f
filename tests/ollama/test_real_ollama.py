"""The Ollama backends on the real `ollama`, where it is installed; run by `make test-ollama`."""

from __future__ import annotations

import shutil

import pytest
from chainette import SamplingParams, register_engine
from chainette.testing.contract import BackendContract

if shutil.which("ollama") is None:
    pytest.skip("`ollama` is not on PATH", allow_module_level=True)

pytestmark = [pytest.mark.ollama, pytest.mark.timeout(1200)]  # the model is pulled
SMALL = "smollm2:135m"


class TestOllama(BackendContract):
    backend = "ollama"
    fields = {"model": SMALL, "timeout": 300}
    enforced_in_part = ("dates_and_decimals", "mapping_and_tuple")


def test_a_truncated_prompt_causes_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    engine = register_engine("cut", backend="ollama", model=SMALL, num_ctx=256).engine
    engine.generate(["word " * 5000], SamplingParams(max_tokens=2))
    assert "num_ctx" in caplog.text

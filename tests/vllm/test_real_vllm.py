"""Both vLLM backends on the real vLLM (its CPU build) and one small model.

Run by `make test-vllm`; everywhere else vLLM is missing and these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed: make test-vllm")
psutil = pytest.importorskip("psutil", reason="psutil is not installed: make test-vllm")

from chainette import GuidedDecodingParams, SamplingParams, register_engine  # noqa: E402
from chainette.errors import EngineStartError, RequestError  # noqa: E402
from chainette.testing.contract import BackendContract  # noqa: E402
from chainette_vllm.server import server_of  # noqa: E402
from chainette_vllm_local import client as local_client  # noqa: E402
from pydantic import BaseModel, Field  # noqa: E402

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore"),  # warnings of vLLM and torch
]
MODEL = Path(sys.prefix).parent / "model"
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
os.environ.update(QUIET)
GREEDY = SamplingParams(temperature=0, max_tokens=120)
PROMPTS = [
    f'A dog: {{"name": "dog", "legs": 4, "home": "house"}}. And a {name}?'
    for name in ("bird", "horse", "spider", "cat")
]


class Animal(BaseModel):
    name: str = Field(max_length=20)
    legs: int = Field(ge=0, le=8)
    home: Literal["house", "farm", "forest"]


class Herd(BaseModel):
    animals: list[Animal] = Field(min_length=1, max_length=2)
    leader: Animal | None = None


def children() -> list[Any]:
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in str(child.cmdline())
    ]


LOCAL = {
    "model": str(MODEL),
    "dtype": "bfloat16",
    "max_model_len": 2048,
    "enforce_eager": True,
    "engine_args": {"enable_prefix_caching": False},
}


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    engine = register_engine("local", backend="vllm_local", **LOCAL).engine
    yield engine
    engine.release()


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    flags = ["--served-model-name", "smol", "--enforce-eager", "--no-enable-prefix-caching"]
    config = register_engine(
        "started",
        backend="vllm_api",
        model=str(MODEL),
        dtype="bfloat16",
        max_model_len=2048,
        extra_serve_flags=flags,
        extra_env={"CHAINETTE_TEST": "1"},
    )
    server = server_of(config)  # type: ignore[arg-type]
    url = server.ensure_running()
    # The client asks the server for its model.
    yield register_engine("served", backend="vllm_api", endpoint=f"{url}/v1").engine
    server.stop()


@pytest.fixture(params=["local", "served"])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("model", [Animal, Herd])
def test_typed_answers_are_enforced(engine: Any, model: Any) -> None:
    outputs = engine.generate(PROMPTS * 2, GREEDY, output_model=model)
    assert [output.error for output in outputs] == [None] * 8
    assert all(isinstance(output.outputs[0].parsed, model) for output in outputs)
    assert all(output.usage.prompt_tokens and output.usage.completion_tokens for output in outputs)
    assert {output.outputs[0].finish_reason for output in outputs} == {"stop"}


def test_both_backends_give_the_same_answers(local: Any, served: Any) -> None:
    for prompt in PROMPTS:  # one by one: bfloat16 sums depend on the rest of the batch
        (here,) = local.generate([prompt], GREEDY, output_model=Animal)
        (there,) = served.generate([prompt], GREEDY, output_model=Animal)
        assert here.outputs[0].text == there.outputs[0].text
        assert here.usage.prompt_tokens == there.usage.prompt_tokens


def test_only_a_prompt_over_the_context_fails(engine: Any) -> None:
    outputs = engine.generate(["hi", "word " * 5000, "hi"], SamplingParams(max_tokens=3))
    assert [output.error is None for output in outputs] == [True, False, True]
    assert isinstance(outputs[1].error, RequestError)


@pytest.mark.parametrize(
    "constraint",
    [GuidedDecodingParams(choice=["yes", "no"]), GuidedDecodingParams(regex="(yes|no)")],
)
def test_guided_decoding_constrains_plain_text(engine: Any, constraint: Any) -> None:
    params = SamplingParams(temperature=0, max_tokens=10, guided_decoding=constraint)
    outputs = engine.generate(["Is water wet?", "Is fire cold?"], params)
    assert {output.outputs[0].text for output in outputs} <= {"yes", "no"}


def test_several_completions_and_other_sampling_parameters_are_supported(engine: Any) -> None:
    params = SamplingParams(n=2, temperature=0.9, top_k=20, min_p=0.01, seed=3, max_tokens=8)
    (output,) = engine.generate(["Tell me a story."], params)
    assert len(output.outputs) == 2
    assert {completion.finish_reason for completion in output.outputs} == {"length"}


def test_release_ends_the_processes_of_an_engine_that_can_start_again(local: Any) -> None:
    assert local.generate(["hi"], SamplingParams(max_tokens=2))[0].error is None
    before = {child.pid for child in children()}
    resident = sum(child.memory_info().rss for child in children())
    local.release()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and len({c.pid for c in children()} & before) > 1:
        time.sleep(0.2)
    left = sum(child.memory_info().rss for child in children())
    assert left < resident - 200_000_000
    assert local.generate(["hi"], SamplingParams(max_tokens=2))[0].error is None


def test_the_model_of_a_server_is_detected(served: Any) -> None:
    assert served.generate(["hi"], SamplingParams(max_tokens=2))[0].error is None
    assert served.model == "smol"


class TestServed(BackendContract):
    backend = "vllm_api"
    enforced_in_part = ("recursive",)  # a model this small nests without end

    @pytest.fixture(autouse=True)
    def _use_the_server(self, served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(self), "fields", {"endpoint": served.config.endpoint})


class TestLocal(BackendContract):
    backend = "vllm_local"
    fields = LOCAL
    http = False
    enforced_in_part = ("recursive",)

    @pytest.fixture(autouse=True)
    def _use_the_loaded_model(self, local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        assert local.generate(["hi"], SamplingParams(max_tokens=2))[0].error is None
        monkeypatch.setattr(local._engine, "close", lambda: None)
        monkeypatch.setattr(local_client, "LocalEngine", lambda _: local._engine)


@pytest.mark.parametrize("name", ["served", "local"])
def test_engines_check_reports_on_an_engine(name: str, served: Any, tmp_path: Path) -> None:
    fields = {"served": {"endpoint": served.config.endpoint}, "local": LOCAL}[name]
    backend = {"served": "vllm_api", "local": "vllm_local"}[name]
    engine = {"name": name, "backend": backend} | fields
    (tmp_path / "engines.yml").write_text(json.dumps([engine]))
    program = str(Path(sys.executable).with_name("chainette"))
    result = subprocess.run(
        [program, "engines", "check", name], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    report = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line.strip())
    assert report["backend"] == backend
    assert report["structured"] == "output yes"
    assert "tokens" in report
    assert "latency" in report


def test_a_server_that_does_not_start_quotes_its_log() -> None:
    config = register_engine("wrong", backend="vllm_api", model="/no/such/folder")
    (output,) = config.engine.generate(["hi"])
    assert isinstance(output.error, EngineStartError)
    assert "/no/such/folder" in str(output.error)


def test_a_missing_model_is_a_clear_error() -> None:
    config = register_engine("missing", backend="vllm_local", model="/no/such/folder")
    (output,) = config.engine.generate(["hi"])
    assert "vLLM did not start" in str(output.error)
    assert "/no/such/folder" in str(output.error)

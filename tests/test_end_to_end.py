"""Whole runs on a real model behind a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from chainette import SamplingParams, register_engine
from chainette.errors import StructuredOutputError
from chainette.loading.yaml_chain import load_yaml_chain
from pydantic import BaseModel, Field

pytestmark = pytest.mark.llamacpp
ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


class Animal(BaseModel):
    name: str = Field(max_length=20)
    legs: int = Field(ge=0, le=8)


def test_examples_without_an_engine_run_as_they_are(in_process: Any, tmp_path: Path) -> None:
    for name in ("python_chain", "branch_maths"):
        inputs = EXAMPLES / "numbers.jsonl"
        result = in_process("run", EXAMPLES / f"{name}.py", "-i", inputs, "-o", name)
        assert result.returncode == 0, result.stderr
        counts = json.loads((tmp_path / name / "run.json").read_text())["counts"]
        assert counts["ok"] + counts["dropped"] == 20
    lines = (tmp_path / "branch_maths/flattened/000000.jsonl").read_text().splitlines()
    assert json.loads(lines[2])["total.total"] == 6 + 36 + 216
    lines = (tmp_path / "python_chain/flattened/000000.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"row_id": 0, "number": 1, "dropped": True}
    assert [json.loads(line)["factors.factor"] for line in lines[2:4]] == [2, 3]


@pytest.mark.exhaustive
def test_every_answer_of_the_clinical_example_is_valid(
    chainette: Any, examples: Path, tmp_path: Path
) -> None:
    path, engines = examples / "engine_clinical_qa.yaml", examples / "engines.llamacpp.yml"
    result = chainette("run-yaml", path, "-o", "out", "--engines", engines, "--limit", 2)
    assert result.returncode == 0, result.stderr
    for step in load_yaml_chain(path).chain.steps:
        lines = (tmp_path / f"out/steps/{step.id}/000000.jsonl").read_text().splitlines()
        assert len(lines) == 2
        assert all(step.output_model.model_validate(json.loads(x)["output"]) for x in lines)


def test_the_examples_have_enough_valid_inputs() -> None:
    clinical = load_yaml_chain(EXAMPLES / "engine_clinical_qa.yaml")
    for path, model in [(clinical.inputs, clinical.chain.input_model)]:
        lines = path.read_text().splitlines() if path else []
        assert len(lines) >= 20
        assert all(model.model_validate_json(line) for line in lines)
    assert len((EXAMPLES / "support_tickets.jsonl").read_text().splitlines()) >= 20


@pytest.mark.exhaustive
def test_the_openai_backend_is_pointed_at_a_llama_server_by_the_environment(
    chainette: Any, tmp_path: Path, llama_server: str
) -> None:
    environment = {"OPENAI_BASE_URL": llama_server, "OPENAI_API_KEY": "k", "OPENAI_MODEL": "smol"}
    path = EXAMPLES / "openai_structured.py"
    inputs = EXAMPLES / "support_tickets.jsonl"
    result = chainette("run", path, "-i", inputs, "-o", "out", "--limit", 2, env=environment)
    assert result.returncode == 0, result.stderr
    manifest = json.loads((tmp_path / "out/run.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["counts"]["rows"] == 2


def test_chat_mode_gives_valid_answers(llama_server: str) -> None:
    engine = register_engine("chat", backend="openai", model="smol", endpoint=llama_server).engine
    params = SamplingParams(temperature=0, max_tokens=200)
    prompts = ['A dog: {"name": "dog", "legs": 4}. And a bird?'] * 4
    outputs = engine.generate(prompts, params, output_model=Animal)
    assert [type(output.outputs[0].parsed) for output in outputs] == [Animal] * 4
    assert all(output.usage and output.usage.completion_tokens for output in outputs)


def responses_engine(server: str, sender: str) -> Any:
    fields = {"endpoint": server, "api": "responses", "client": sender, "api_key": "k"}
    return register_engine("resp", backend="openai", model="smol", **fields).engine


@pytest.mark.parametrize("sender", ["http", "sdk"])
def test_a_server_that_ignores_the_schema_is_detected(llama_server: str, sender: str) -> None:
    engine = responses_engine(llama_server, sender)
    params = SamplingParams(temperature=0, max_tokens=30)
    (output,) = engine.generate(["Tell me about cats."], params, output_model=Animal)
    assert isinstance(output.error, StructuredOutputError)
    assert output.error.raw_text
    (output,) = engine.generate(["Tell me about cats."], params)
    assert output.error is None


@pytest.mark.parametrize("sender", ["http", "sdk"])
def test_the_responses_api_of_llama_cpp_takes_a_conversation(
    llama_server: str, sender: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = responses_engine(llama_server, sender)
    prompt = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Count to one hundred."},
    ]
    (output,) = engine.generate([prompt], SamplingParams(temperature=0, max_tokens=3))
    assert output.error is None
    assert output.outputs[0].text
    assert output.usage.completion_tokens == 3
    assert "it may be cut" in caplog.text  # the server calls it completed
    (output,) = engine.generate(["word " * 20_000], SamplingParams(max_tokens=3))
    assert "context" in str(output.error)


def test_only_a_prompt_over_the_context_fails(llama_server: str) -> None:
    engine = register_engine("long", backend="openai", model="smol", endpoint=llama_server).engine
    outputs = engine.generate(["hi", "word " * 20_000, "hi"], SamplingParams(max_tokens=3))
    assert [output.error is None for output in outputs] == [True, False, True]
    assert "context" in str(outputs[1].error)


def test_engines_check_works_on_the_embedded_engine(chainette: Any, examples: Path) -> None:
    result = chainette("engines", "check", "default", "-e", examples / "engines.llamacpp.yml")
    assert result.returncode == 0, result.stderr
    assert "structured output yes" in result.stdout


def test_a_model_that_does_not_load_quotes_the_log(chainette: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF and nothing else")
    engines = "- {name: default, backend: llamacpp, model_path: bad.gguf, lazy: false}\n"
    (tmp_path / "engines.yml").write_text(engines)
    path = EXAMPLES / "engine_clinical_qa.yaml"
    result = chainette("run-yaml", path, "-o", "out", "--engines", "engines.yml")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "bad.gguf" in result.stderr
    assert "log" in result.stderr


def test_a_server_is_shared_in_a_process_and_ends_with_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from chainette import SamplingParams, register_engine\n"
        "from chainette.engine.server.process import _registry\n"
        "params = SamplingParams(max_tokens=2)\n"
        "for name in ('a', 'b'):\n"
        "    engine = register_engine(name, backend='llamacpp', threads=1).engine\n"
        "    assert engine.generate(['hi'], params)[0].error is None\n"
        "print(*(server.pid for server in _registry.values()))\n"
    )
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, timeout=60
    )
    (pid,) = map(int, result.stdout.split())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(pid):
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True

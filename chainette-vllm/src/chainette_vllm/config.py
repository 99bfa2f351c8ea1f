"""Configuration of the backend `vllm_api`."""

from __future__ import annotations

from typing import Literal

from chainette.backend import EngineConfig
from pydantic import Field, model_validator
from typing_extensions import Self


class VLLMConfig(EngineConfig):
    """An engine behind a vLLM server.

    With an `endpoint`, that server is used, and `model` may be left out where it serves one model.
    Without an endpoint, `vllm serve` is started on loopback and ends with this process; the fields
    below are its options.

    Attributes:
        model: Name of the model, from the server's `--served-model-name` or `--model`.
        vllm_version: The server's version, such as `0.11.2`, where it is older than 0.12 and so
            has other names for structured output; also the tag of the image that `--docker` runs.
        schema_field: The field that asks for a typed answer: the protocol's `response_format`, or
            vLLM's own `structured_outputs`.
        dtype: Type of the weights, such as `bfloat16`.
        max_model_len: Tokens of context.
        gpu_memory_utilization: Share of the GPU's memory to take.
        tensor_parallel_size: GPUs to spread the model over.
        reasoning_parser: vLLM's name of the parser for the model's reasoning.
        gpu_ids: The GPUs to use, by number; all by default.
        port: Port of the server on loopback; 0 is a free one.
        extra_serve_flags: Further arguments of `vllm serve`.
        extra_env: Further environment variables for the server.
        startup_timeout: Maximum seconds until the server is healthy.
    """

    vllm_version: str | None = Field(default=None, pattern=r"^\d+\.\d+(\.\w+)*$")
    schema_field: Literal["response_format", "structured_outputs"] = "response_format"
    dtype: str | None = None
    max_model_len: int | None = Field(default=None, ge=1)
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    reasoning_parser: str | None = None
    gpu_ids: list[int] | None = None
    port: int = Field(default=0, ge=0, le=65535)
    extra_serve_flags: list[str] = Field(default_factory=list)
    extra_env: dict[str, str] = Field(default_factory=dict)
    startup_timeout: float = Field(default=600.0, gt=0)

    @property
    def is_before_0_12(self) -> bool:
        """Whether the server knows only the older names of structured output."""
        major, minor = (self.vllm_version or "1.0").split(".")[:2]
        return (int(major), int(minor)) < (0, 12)

    @model_validator(mode="after")
    def _model_to_start(self) -> Self:
        if self.endpoint is None and not self.model:
            raise ValueError("give the endpoint of a server, or the model to start one with")
        return self

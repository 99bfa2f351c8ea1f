"""Client of the backend `vllm_api`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import anyio.to_thread
from chainette.backend import (
    Container,
    NotFoundError,
    OpenAIChatClient,
    Request,
    SamplingParams,
    ServerProcess,
    model_names,
)

from chainette_vllm.config import VLLMConfig
from chainette_vllm.server import container_of, server_of


class VLLMClient(OpenAIChatClient[VLLMConfig]):
    """A client of chat completions with vLLM's extensions."""

    async def start(self) -> None:
        """Start a server if none is configured, and find the model if none is named."""
        if self.config.endpoint is None:
            # Quick while the server runs; one that has died starts again.
            self.base_url: str = await anyio.to_thread.run_sync(self.server_address) + "/v1"
        if self.model is None:
            self.model: str | None = await self._only_model()

    def server(self) -> ServerProcess | None:
        """The command `vllm serve`, where no endpoint is configured."""
        return server_of(self.config) if self.config.endpoint is None else None

    def container(self) -> Container | None:
        """The official image of vLLM, where no endpoint is configured."""
        return container_of(self.config) if self.config.endpoint is None else None

    async def _only_model(self) -> str:
        names = model_names(await self.send("GET", "/models")) or []
        if len(names) != 1:
            served = ", ".join(names) or "no list of models"
            raise NotFoundError(f"set the engine's model: the server has {served}")
        return names[0]

    def body_fields(self, request: Request) -> dict[str, Any]:
        """The fields beside the conversation; they say whether its last message is continued.

        vLLM takes `continue_final_message` only without a prompt for a new turn (vLLM
        documentation, "OpenAI-Compatible Server", extra parameters of the chat API:
        https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html).
        """
        is_new = not request.prefill
        more = {} if is_new else {"continue_final_message": True, "add_generation_prompt": False}
        return more | super().body_fields(request)

    def sampling_fields(self, sampling: SamplingParams) -> dict[str, Any]:
        """The sampling parameters, with the constraint of guided decoding."""
        fields = super().sampling_fields(sampling)
        if sampling.guided_decoding is not None:
            fields |= self._constraint(asdict(sampling.guided_decoding))
        return fields

    def response_format(self, request: Request) -> dict[str, Any]:
        """The fields that ask for a typed answer, vLLM's own where it is configured."""
        assert request.output is not None
        own_field = self.config.is_before_0_12 or self.config.schema_field == "structured_outputs"
        if own_field and request.mode == "json_schema":
            return self._constraint({"json": self.schema_of(request)})
        return super().response_format(request)

    def _constraint(self, constraint: dict[str, Any]) -> dict[str, Any]:
        """A constraint on the answer, under the names of the server's version.

        Since vLLM 0.12 the name is `structured_outputs` (vLLM documentation, "Structured
        Outputs"), and a server ignores the older names without an error.
        """
        fields = {name: value for name, value in constraint.items() if value is not None}
        if self.config.is_before_0_12:
            return {f"guided_{name}": value for name, value in fields.items()}
        return {"structured_outputs": fields}

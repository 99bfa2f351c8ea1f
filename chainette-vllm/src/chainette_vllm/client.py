"""Client of the backend `vllm_api`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import anyio.to_thread
from chainette.engine.client.request import Request
from chainette.engine.http.openai_chat import OpenAIChatClient, model_names
from chainette.engine.server.docker import Container
from chainette.engine.server.process import ServerProcess
from chainette.errors import NotFoundError
from chainette.types import SamplingParams

from chainette_vllm.config import VLLMConfig
from chainette_vllm.server import container_of, server_of


class VLLMClient(OpenAIChatClient):
    """Chat completions with what vLLM adds to them."""

    config: VLLMConfig

    async def start(self) -> None:
        """Start a server where none is configured, and find the model where none is named."""
        if self.config.endpoint is None:
            # Cheap while the server runs, and it starts one anew that has died.
            self.base_url = await anyio.to_thread.run_sync(self.server_address) + "/v1"
        if self.model is None:
            self.model = await self._only_model()

    def server(self) -> ServerProcess | None:
        """The server of vLLM itself, where no endpoint is configured."""
        return server_of(self.config) if self.config.endpoint is None else None

    def container(self) -> Container | None:
        """The official image of vLLM, where no endpoint is configured."""
        return container_of(self.config) if self.config.endpoint is None else None

    async def _only_model(self) -> str:
        names = model_names(await self._send("GET", "/models")) or []
        if len(names) != 1:
            served = ", ".join(names) or "none that it names"
            raise NotFoundError(f"set the engine's model: the server has {served}")
        return names[0]

    def _sampling(self, sampling: SamplingParams) -> dict[str, Any]:
        fields = super()._sampling(sampling)
        if sampling.guided_decoding is not None:
            fields |= self._constraint(asdict(sampling.guided_decoding))
        return fields

    def _response_format(self, request: Request) -> dict[str, Any]:
        assert request.output is not None
        own_field = self.config.is_before_0_12 or self.config.schema_field == "structured_outputs"
        if own_field and request.mode == "json_schema":
            return self._constraint({"json": request.output.schema})
        return super()._response_format(request)

    def _constraint(self, constraint: dict[str, Any]) -> dict[str, Any]:
        """What an answer must be, under the names of the server's version.

        Since vLLM 0.12 it is `structured_outputs` (vLLM documentation, "Structured Outputs"), and
        a server ignores the older names in silence.
        """
        given = {name: value for name, value in constraint.items() if value is not None}
        if self.config.is_before_0_12:
            return {f"guided_{name}": value for name, value in given.items()}
        return {"structured_outputs": given}

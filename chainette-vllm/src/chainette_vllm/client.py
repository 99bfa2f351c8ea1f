"""Client of the backend `vllm_api`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import anyio.to_thread
from chainette.engine.openai_chat import OpenAIChatClient, model_names
from chainette.errors import NotFoundError
from chainette.types import SamplingParams

from chainette_vllm.config import VLLMConfig
from chainette_vllm.server import server_of


class VLLMClient(OpenAIChatClient):
    """Chat completions with what vLLM adds to them."""

    config: VLLMConfig

    async def start(self) -> None:
        """Start a server where none is configured, and find the model where none is named."""
        if self.config.endpoint is None:
            # Cheap while the server runs, and it starts one anew that has died.
            server = await anyio.to_thread.run_sync(server_of, self.config)
            self.base_url = await anyio.to_thread.run_sync(server.ensure_running) + "/v1"
        if self.model is None:
            self.model = await self._only_model()

    async def _only_model(self) -> str:
        names = model_names(await self._send("GET", "/models")) or []
        if len(names) != 1:
            served = ", ".join(names) or "none that it names"
            raise NotFoundError(f"set the engine's model: the server has {served}")
        return names[0]

    def _sampling(self, sampling: SamplingParams) -> dict[str, Any]:
        fields = super()._sampling(sampling)
        if sampling.guided_decoding is not None:
            # The field's name since vLLM 0.12 (vLLM documentation, "Structured Outputs"); a
            # server ignores older names in silence.
            given = asdict(sampling.guided_decoding)
            fields["structured_outputs"] = {k: v for k, v in given.items() if v is not None}
        return fields

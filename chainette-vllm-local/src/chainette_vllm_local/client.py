"""Client of the backend `vllm_local`."""

from __future__ import annotations

import asyncio
import atexit
import threading

import anyio.to_thread
from chainette.backend import (
    BaseClient,
    Capabilities,
    EngineError,
    EngineStartError,
    LLMOutput,
    Request,
)

from chainette_vllm_local.config import VLLMLocalConfig
from chainette_vllm_local.engine import LocalEngine


class VLLMLocalClient(BaseClient[VLLMLocalConfig]):
    """A client of vLLM's asynchronous engine, which batches rows as they come.

    The engine starts with the first request and runs in its own event loop, so that it serves
    every thread and loop of the process. `release` frees its memory.
    """

    def __init__(self, config: VLLMLocalConfig, capabilities: Capabilities | None = None) -> None:
        super().__init__(config, capabilities)
        self._lock = threading.Lock()
        self._engine: LocalEngine | None = None

    async def start(self) -> None:
        """Load the model, unless it is loaded."""
        if self._engine is None:
            await anyio.to_thread.run_sync(self._ensure_engine)

    def release(self) -> None:
        """End the engine and its processes; they start again when they are next needed."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            atexit.unregister(self.release)
            engine.close()

    async def _chat(self, request: Request) -> LLMOutput:
        engine = self._engine
        if engine is None:
            raise EngineError("the engine was released while requests were in flight")
        return await asyncio.wrap_future(engine.submit(request))

    def _ensure_engine(self) -> None:
        with self._lock:
            if self._engine is None:
                try:
                    self._engine = LocalEngine(self.config)
                except ImportError as error:
                    hint = "pip install chainette-vllm-local"
                    raise EngineStartError(f"vLLM cannot be imported: {error}; {hint}") from None
                except Exception as error:  # of the device, the model or the memory
                    first_line = str(error).strip().partition("\n")[0]
                    raise EngineStartError(
                        f"vLLM did not start: {type(error).__name__}: {first_line}"
                    ) from error
                atexit.register(self.release)

"""Completion of lists of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, overload

import anyio
from typing_extensions import TypeVar

from chainette.engine.client.sync import run_sync
from chainette.types import LLMOutput, Prompt, SamplingParams

if TYPE_CHECKING:
    from typing_extensions import TypeForm

Parsed = TypeVar("Parsed")
on_direct_request: ContextVar[Callable[[str], None] | None] = ContextVar(
    "on_direct_request", default=None
)
"""Called with the engine's name before a request that does not come from a run."""


def notice(engine: str) -> None:
    """Tell of a request that does not come from a run."""
    if (tell := on_direct_request.get()) is not None:
        tell(engine)


class Generation(ABC):
    """The part of a client that completes several prompts at a time."""

    @property
    @abstractmethod
    def max_concurrency(self) -> int:
        """Maximum requests in flight."""

    @abstractmethod
    async def complete(
        self,
        prompt: Prompt,
        sampling_params: SamplingParams | None = None,
        *,
        output_model: Any = None,
    ) -> LLMOutput[Any]:
        """Complete one prompt."""

    async def aclose(self) -> None:
        """Release what the client holds in the running event loop; it can be used again."""
        return

    @overload
    def generate(
        self, prompts: Sequence[Prompt], sampling_params: SamplingParams | None = None
    ) -> list[LLMOutput[Any]]: ...
    @overload
    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling_params: SamplingParams | None = None,
        *,
        output_model: TypeForm[Parsed],
    ) -> list[LLMOutput[Parsed]]: ...
    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling_params: SamplingParams | None = None,
        *,
        output_model: Any = None,
    ) -> list[LLMOutput[Any]]:
        """Complete prompts; like `agenerate`, for code without `await` and for notebooks.

        Args:
            prompts: Texts, or lists of messages.
            sampling_params: The sampling parameters.
            output_model: The type of the answers, any that Pydantic validates; `None` is text.

        Returns:
            One output for each prompt, in their order. A prompt that failed has `error` set.
        """
        tell = on_direct_request.get()

        async def call() -> list[LLMOutput[Any]]:
            on_direct_request.set(tell)  # it may run in another thread
            try:
                return await self.agenerate(prompts, sampling_params, output_model=output_model)
            finally:
                await self.aclose()

        return run_sync(call)

    @overload
    async def agenerate(
        self, prompts: Sequence[Prompt], sampling_params: SamplingParams | None = None
    ) -> list[LLMOutput[Any]]: ...
    @overload
    async def agenerate(
        self,
        prompts: Sequence[Prompt],
        sampling_params: SamplingParams | None = None,
        *,
        output_model: TypeForm[Parsed],
    ) -> list[LLMOutput[Parsed]]: ...
    async def agenerate(
        self,
        prompts: Sequence[Prompt],
        sampling_params: SamplingParams | None = None,
        *,
        output_model: Any = None,
    ) -> list[LLMOutput[Any]]:
        """Complete prompts; see `generate`."""
        if isinstance(prompts, str):
            raise TypeError("prompts is a list of prompts; put a single text into a list")
        outputs: list[LLMOutput[Any]] = [None] * len(prompts)  # type: ignore[list-item]
        left = iter(enumerate(prompts))

        async def work() -> None:
            for index, prompt in left:
                outputs[index] = await self.complete(
                    prompt, sampling_params, output_model=output_model
                )

        async with anyio.create_task_group() as workers:
            for _ in range(min(len(prompts), self.max_concurrency)):
                workers.start_soon(work)
        return outputs

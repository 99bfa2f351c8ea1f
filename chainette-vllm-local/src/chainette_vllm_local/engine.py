"""vLLM's asynchronous engine, in its own event loop."""

from __future__ import annotations

import dataclasses
import gc
import itertools
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

from anyio.from_thread import start_blocking_portal
from chainette.backend import (
    Completion,
    EngineConnectionError,
    LLMOutput,
    Request,
    RequestError,
    SamplingParams,
    Usage,
)

from chainette_vllm_local.config import VLLMLocalConfig


class LocalEngine:
    """A loaded model.

    Args:
        config: The engine's configuration.

    Raises:
        Exception: vLLM cannot be imported or started; the exception is its own.
    """

    def __init__(self, config: VLLMLocalConfig) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._config = config
        self._numbers = itertools.count()
        arguments = AsyncEngineArgs(**config.async_engine_args())
        with ExitStack() as undo:
            self._portal = undo.enter_context(start_blocking_portal())
            self._llm = AsyncLLM.from_engine_args(arguments)
            undo.callback(self._llm.shutdown)
            self._tokenizer: Any = self._llm.get_tokenizer()
            self._parser = self._reasoning_parser()
            self._close = undo.pop_all()

    def submit(self, request: Request) -> Future[LLMOutput]:
        """Start a request; cancelling the future removes it from the engine."""
        return self._portal.start_task_soon(self._generate, request)

    def close(self) -> None:
        """End the engine, its processes and its event loop."""
        self._close.close()
        del self._llm, self._tokenizer
        gc.collect()  # its objects form reference cycles

    async def _generate(self, request: Request) -> LLMOutput:
        from vllm.v1.engine.exceptions import EngineDeadError

        final: Any = None
        try:
            tokens = self._prompt(request)
            params = self._sampling(request, len(tokens))
            prompt = {"prompt_token_ids": tokens}
            async for output in self._llm.generate(prompt, params, f"row-{next(self._numbers)}"):
                final = output
        except EngineDeadError as error:
            raise EngineConnectionError(f"vLLM's engine died: {error}") from None
        except Exception as error:  # too long a prompt, a schema that cannot be enforced
            # A ValueError in earlier releases, a class of vLLM's own in later ones.
            raise RequestError(f"vLLM refused the request: {error}") from None
        return self._read(final)

    def _prompt(self, request: Request) -> list[int]:
        """The conversation in the model's own chat template, as tokens."""
        options: dict[str, Any] = {"add_generation_prompt": True}
        if request.prefill:
            # Hugging Face docs, "Chat templates", `continue_final_message`.
            options = {"add_generation_prompt": False, "continue_final_message": True}
        if self._config.reasoning_parser:
            options["enable_thinking"] = self._config.enable_reasoning
        tokens: list[int] = self._tokenizer.apply_chat_template(
            request.messages, return_dict=False, **options
        )
        return tokens

    def _sampling(self, request: Request, prompt_length: int) -> Any:
        """The sampling parameters as vLLM has them; the others are the model's own defaults."""
        from vllm import SamplingParams as VLLMSamplingParams
        from vllm.sampling_params import RequestOutputKind

        model = self._llm.vllm_config.model_config
        left = max(1, model.max_model_len - prompt_length)
        own = request.sampling.model_dump(exclude_none=True, exclude={"guided_decoding"})
        fields = {"max_tokens": left} | model.get_diff_sampling_param() | own
        return VLLMSamplingParams(
            **fields,
            output_kind=RequestOutputKind.FINAL_ONLY,
            structured_outputs=_constraint(
                request.sampling, request, self._config.schema_dialect or "xgrammar"
            ),
        )

    def _reasoning_parser(self) -> Any:
        if not self._config.reasoning_parser:
            return None
        from vllm.reasoning import ReasoningParserManager

        name = self._config.reasoning_parser
        return ReasoningParserManager.get_reasoning_parser(name)(self._tokenizer)

    def _read(self, final: Any) -> LLMOutput:
        completions = []
        for output in final.outputs:
            reasoning, text = None, output.text
            if self._parser is not None:
                reasoning, text = self._parser.extract_reasoning(text, None)
            completions.append(
                Completion(
                    text or "", reasoning_content=reasoning, finish_reason=output.finish_reason
                )
            )
        written = sum(len(output.token_ids) for output in final.outputs)
        cached = final.num_cached_tokens or 0
        usage = Usage(len(final.prompt_token_ids), written, cached_tokens=cached)
        return LLMOutput(completions, usage=usage)


def _constraint(sampling: SamplingParams, request: Request, dialect: str) -> Any:
    """The constraint on the text as vLLM has it; an output type takes precedence."""
    from vllm.sampling_params import StructuredOutputsParams

    if request.output is not None and not request.prefill:
        return StructuredOutputsParams(json=request.output.in_dialect(dialect))
    if sampling.guided_decoding is None:
        return None
    fields = dataclasses.asdict(sampling.guided_decoding)
    return StructuredOutputsParams(**{name: value for name, value in fields.items() if value})

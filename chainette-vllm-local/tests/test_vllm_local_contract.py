"""The backend's promises, on modules with vLLM's names whose engine answers by script.

They replace vLLM, which takes gigabytes, so that the promises are checked everywhere;
`make test-vllm` checks them on the real vLLM.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from types import ModuleType, SimpleNamespace
from typing import Any

from chainette.testing.contract import BackendContract
from chainette.testing.fake_server import ReceivedRequest, count_words
from chainette.testing.script import Answers, Reply, Script, text_of


class Fields(SimpleNamespace):
    """An object with its arguments as attributes."""


class Tokenizer:
    """One token for each character of the conversation as JSON."""

    def apply_chat_template(self, messages: Any, **options: Any) -> list[int]:
        is_begun = messages[-1]["role"] == "assistant"
        assert options["add_generation_prompt"] is not is_begun
        assert options.get("continue_final_message", False) is is_begun
        return [ord(character) for character in json.dumps(messages)]


class ReasoningParser:
    def __init__(self, tokenizer: Any) -> None:
        pass

    def extract_reasoning(self, text: str, request: Any) -> tuple[str | None, str]:
        thought, end, answer = text.rpartition("</think>")
        return (thought if end else None), answer


class ScriptedVLLM:
    """The model behind the modules, with the attributes of a fake server."""

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self.peak = self.connections = 0
        self.set_answers(None)

    def __enter__(self) -> ScriptedVLLM:
        self._before = {name: sys.modules.get(name) for name in MODULES}
        sys.modules.update(modules(self))
        return self

    def __exit__(self, *_: object) -> None:
        for name, module in self._before.items():
            if module is None:
                sys.modules.pop(name)
            else:
                sys.modules[name] = module

    def set_answers(self, answers: Answers) -> None:
        self._script = Script(answers)
        self.requests.clear()
        self.peak = 0

    async def answer(self, tokens: list[int], params: Any) -> Any:
        """The last output that vLLM's engine yields for a request."""
        request = read(tokens, params)
        self.requests.append(request)
        self.connections += 1
        self.peak = max(self.peak, self.connections)
        try:
            answer = self._script.answer(request.messages)
            if isinstance(answer, Exception):
                raise answer
            reply = answer if isinstance(answer, Reply) else Reply(text_of(answer, request.schema))
            await asyncio.sleep(reply.delay)
        finally:
            self.connections -= 1
        text = text_of(reply.text, request.schema)
        usage = count_words(request, [text])
        whole = f"{reply.reasoning}</think>{text}" if reply.reasoning else text
        completion = Fields(
            text=whole,
            finish_reason=reply.finish_reason,
            token_ids=[0] * usage.completion_tokens,
        )
        return Fields(
            outputs=[completion] * params.n,
            prompt_token_ids=[0] * usage.prompt_tokens,
            num_cached_tokens=None,
        )


def read(tokens: list[int], params: Any) -> ReceivedRequest:
    fields = dict(vars(params))
    guided = fields.pop("structured_outputs")
    schema = getattr(guided, "json", None)
    if guided is not None and schema is None:
        fields["guided_decoding"] = vars(guided)
    return ReceivedRequest("", None, json.loads("".join(map(chr, tokens))), schema, fields)


MODULES = (
    "vllm",
    "vllm.sampling_params",
    "vllm.reasoning",
    "vllm.engine",
    "vllm.engine.arg_utils",
    "vllm.v1",
    "vllm.v1.engine",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.exceptions",
)


def modules(model: ScriptedVLLM) -> dict[str, ModuleType]:
    """The modules that the backend imports from vLLM, all with one scripted model."""

    class AsyncLLM:
        vllm_config = Fields(
            model_config=Fields(max_model_len=4096, get_diff_sampling_param=lambda: {})
        )

        @classmethod
        def from_engine_args(cls, arguments: Any) -> AsyncLLM:
            return cls()

        def get_tokenizer(self) -> Tokenizer:
            return Tokenizer()

        def shutdown(self) -> None:
            pass

        async def generate(self, prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
            yield await model.answer(prompt["prompt_token_ids"], params)

    stand_ins = {name: ModuleType(name) for name in MODULES}
    contents: dict[str, dict[str, Any]] = {
        "vllm": {"SamplingParams": lambda n=1, **fields: Fields(n=n, **fields)},
        "vllm.sampling_params": {
            "RequestOutputKind": Fields(FINAL_ONLY=2),
            "StructuredOutputsParams": Fields,
        },
        "vllm.reasoning": {
            "ReasoningParserManager": Fields(get_reasoning_parser=lambda _: ReasoningParser)
        },
        "vllm.engine.arg_utils": {"AsyncEngineArgs": Fields},
        "vllm.v1.engine.async_llm": {"AsyncLLM": AsyncLLM},
        "vllm.v1.engine.exceptions": {"EngineDeadError": type("EngineDeadError", (Exception,), {})},
    }
    for name, names in contents.items():
        vars(stand_ins[name]).update(names)
    return stand_ins


class TestVLLMLocal(BackendContract):
    backend = "vllm_local"
    fields = {"model": "scripted", "reasoning_parser": "scripted"}
    server_class = ScriptedVLLM
    http = False
    failure = ValueError("a prompt that vLLM does not like")

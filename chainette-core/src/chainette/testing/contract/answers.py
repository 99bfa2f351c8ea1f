"""Order, length, sampling, reasoning and usage."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from chainette.engine.client.base import BaseClient
from chainette.testing.contract.checks import Checks, MakeEngine
from chainette.testing.fake_server import count_words
from chainette.testing.script import Reply
from chainette.types import GuidedDecodingParams, Message, SamplingParams

VALUES: dict[str, Any] = {
    "temperature": 0.25,
    "top_p": 0.9,
    "top_k": 7,
    "min_p": 0.05,
    "max_tokens": 33,
    "stop": ["END"],
    "seed": 11,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "repetition_penalty": 1.5,
    "n": 2,
}
"""A value of every sampling parameter, none of them a default."""
CONVERSATION: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Say one."},
    {"role": "assistant", "content": "One."},
    {"role": "user", "content": "Say two."},
]


def late_first(messages: list[Message]) -> Reply:
    """Answer `row 3` with `answer 3`, and the first rows later than the others."""
    number = int(messages[-1]["content"].split()[-1])
    return Reply(f"answer {number}", delay=0.2 if number < 5 else 0.0)


class AnswerChecks(Checks):
    """Checks of plain answers."""

    def test_outputs_have_the_length_and_order_of_the_prompts(
        self, engine: BaseClient, server: Any
    ) -> None:
        """The order holds when the first prompts are answered last."""
        if server is None:
            outputs = engine.generate(["Say a.", "Say b."], SamplingParams(max_tokens=8))
            assert [output.error for output in outputs] == [None, None]
            return
        server.set_answers(late_first)
        outputs = engine.generate([f"row {number}" for number in range(20)])
        assert [output.error for output in outputs] == [None] * 20
        texts = [output.outputs[0].text for output in outputs]
        assert texts == [f"answer {number}" for number in range(20)]

    def test_no_prompts_give_no_outputs(self, engine: BaseClient) -> None:
        """An empty list of prompts gives an empty list."""
        assert engine.generate([]) == []

    def test_a_conversation_arrives_unchanged(self, engine: BaseClient, server: Any) -> None:
        """Roles, texts and their order are the same."""
        self.needs_script(server)
        output = engine.generate([CONVERSATION])[0]
        assert output.error is None
        assert [dict(message) for message in server.requests[-1].messages] == CONVERSATION

    @pytest.mark.parametrize("name", VALUES)
    def test_a_sampling_parameter_arrives_or_is_warned_of(
        self, name: str, engine: BaseClient, server: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A claimed parameter arrives unchanged; for another one there is one warning."""
        self.needs_script(server)
        outputs = []
        with caplog.at_level(logging.WARNING, logger="chainette"):
            for _ in range(2):
                outputs += engine.generate(["row 1"], SamplingParams(**{name: VALUES[name]}))
        assert [output.error for output in outputs] == [None, None]
        received = server.requests[-1].sampling
        if name in engine.capabilities.sampling:
            assert received.get(name) == VALUES[name]
            assert caplog.text == ""
        else:
            assert name not in received
            warnings = [line for line in caplog.messages if re.search(rf"\b{name}\b", line)]
            assert len(warnings) == 1, "one warning names the parameter"

    def test_a_text_is_asked_for_without_a_schema(self, engine: BaseClient, server: Any) -> None:
        """An answer of the type `str` is plain text: no schema is sent, and no word of JSON."""
        self.needs_script(server)
        server.set_answers(lambda _: " Plain text. ")
        output = engine.generate(["row 1"], output_model=str)[0]
        assert output.error is None, str(output.error)
        assert output.outputs[0].parsed == "Plain text."
        request = server.requests[-1]
        assert request.schema is None
        assert "json" not in f"{request.body} {request.messages}".lower()

    def test_guided_decoding_arrives_or_is_warned_of(
        self, engine: BaseClient, server: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A constraint is never dropped without a warning."""
        self.needs_script(server)
        guided = SamplingParams(guided_decoding=GuidedDecodingParams(choice=["yes", "no"]))
        with caplog.at_level(logging.WARNING, logger="chainette"):
            output = engine.generate(["row 1"], guided)[0]
        assert output.error is None
        if "guided_decoding" in engine.capabilities.sampling:
            assert server.requests[-1].sampling["guided_decoding"] == {"choice": ["yes", "no"]}
        else:
            assert "guided_decoding" in caplog.text

    def test_n_completions_come_for_each_prompt(self, engine: BaseClient, server: Any) -> None:
        """There are `n` where the backend claims the parameter, else there is one."""
        number = 2 if "n" in engine.capabilities.sampling else 1
        output = engine.generate(["row 1"], SamplingParams(n=2, max_tokens=8))[0]
        assert output.error is None
        assert len(output.outputs) == number

    def test_usage_latency_and_finish_reason_are_reported(
        self, engine: BaseClient, server: Any
    ) -> None:
        """They have one meaning in every backend."""
        output = engine.generate(["one two three"], SamplingParams(max_tokens=8))[0]
        assert output.error is None
        assert output.latency > 0
        completion = output.outputs[0]
        assert completion.finish_reason in (("stop",) if server else ("stop", "length"))
        if not self.usage:
            assert output.usage is None
            return
        assert output.usage is not None
        assert output.usage.prompt_tokens > 0
        assert output.usage.completion_tokens > 0
        if server is not None:
            assert output.usage == count_words(server.requests[-1], [completion.text])

    def test_the_start_of_an_answer_is_continued(self, engine: BaseClient, server: Any) -> None:
        """It is sent as the assistant's turn at the end, and is in the answer once."""
        if not engine.capabilities.prefill:
            pytest.skip("the backend does not continue the start of an answer")
        start = "The number is"
        begun: list[Message] = [*CONVERSATION, {"role": "assistant", "content": start}]
        if server is None:
            text = engine.generate([begun], SamplingParams(max_tokens=8))[0].outputs[0].text
            assert text.count(start) == 1
            assert text.startswith(start)
            return
        for answer in (" two.", f"{start} two."):
            server.set_answers(lambda _, answer=answer: answer)
            output = engine.generate([begun])[0]
            assert output.error is None
            assert output.outputs[0].text == f"{start} two."
            assert server.requests[-1].messages == begun

    def test_reasoning_is_apart_from_the_answer(
        self, make_engine: MakeEngine, server: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A backend that does not report reasoning has it switched off, with one warning."""
        self.needs_script(server)
        server.set_answers(lambda _: Reply("answer", reasoning="because"))
        with caplog.at_level(logging.WARNING, logger="chainette"):
            engine = make_engine(enable_reasoning=True)
        completion = engine.generate(["row 1"])[0].outputs[0]
        assert completion.text == "answer"
        warnings = [line for line in caplog.messages if "enable_reasoning" in line]
        assert engine.config.enable_reasoning == engine.capabilities.reasoning
        if engine.capabilities.reasoning:
            assert completion.reasoning_content == "because"
            assert not warnings
        else:
            assert len(warnings) == 1, "one warning says that reasoning is switched off"

"""The contract accepts a correct backend and finds every broken promise."""

from __future__ import annotations

import gc
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from chainette.engine.client import retry
from chainette.testing.contract import BackendContract, checks, concurrency, failures
from chainette.testing.report import check_backend

BACKEND = """
import asyncio
import logging

import anyio
from chainette.backend import (
    CHAT_SAMPLING,
    Backend,
    Capabilities,
    Completion,
    EngineConfig,
    EngineConnectionError,
    EngineError,
    LLMOutput,
    OpenAIChatClient,
    RequestError,
    SamplingParams,
    ServerError,
    Usage,
    hookimpl,
)


class Config(EngineConfig):
    model: str = "m"
{config}

class Client(OpenAIChatClient):
    api_key_envs = ()
{client}

@hookimpl
def chainette_backends():
    capabilities = Capabilities(
        json_schema=True, reasoning={reasoning}, prefill=True, sampling=CHAT_SAMPLING
    )
    return [Backend("toy", Config, Client, capabilities, summary={summary!r})]
"""
CONTRACT = """
from chainette.testing.contract import BackendContract
from chainette.testing.servers import FakeOpenAI


class TestToy(BackendContract):
    backend = "toy"
    server_class = FakeOpenAI
"""


@dataclass(frozen=True)
class Mutation:
    """A broken promise, and the check that must find it."""

    check: str
    client: str = "    pass"
    config: str = ""
    summary: str = "a toy"
    reasoning: bool = True


MUTATIONS = {
    "outputs in the order of their arrival": Mutation(
        "test_outputs_have_the_length_and_order_of_the_prompts",
        """
        async def agenerate(self, prompts, *arguments, **options):
            outputs = await super().agenerate(prompts, *arguments, **options)
            return sorted(outputs, key=lambda output: output.latency)
        """,
    ),
    "failed outputs are left out": Mutation(
        "test_a_failing_prompt_fails_alone",
        """
        async def agenerate(self, prompts, *arguments, **options):
            outputs = await super().agenerate(prompts, *arguments, **options)
            return [output for output in outputs if output.error is None]
        """,
    ),
    "one failure ends the whole call": Mutation(
        "test_a_failing_prompt_fails_alone",
        """
        async def complete(self, *arguments, **options):
            output = await super().complete(*arguments, **options)
            if output.error:
                raise output.error
            return output
        """,
    ),
    "an error that names no engine": Mutation(
        "test_a_failing_prompt_fails_alone",
        """
        def _named(self, error):
            return error
        """,
    ),
    "no prompts are an error": Mutation(
        "test_no_prompts_give_no_outputs",
        """
        async def agenerate(self, prompts, *arguments, **options):
            prompts[0]
            return await super().agenerate(prompts, *arguments, **options)
        """,
    ),
    "a conversation is folded into one message": Mutation(
        "test_a_conversation_arrives_unchanged",
        """
        def messages(self, request):
            text = " ".join(message["content"] for message in request.messages)
            return [{"role": "user", "content": text}]
        """,
    ),
    "a claimed parameter is dropped": Mutation(
        "test_a_sampling_parameter_arrives_or_is_warned_of and seed",
        """
        def sampling_fields(self, sampling):
            return {k: v for k, v in super().sampling_fields(sampling).items() if k != "seed"}
        """,
    ),
    "a parameter arrives with another value": Mutation(
        "test_a_sampling_parameter_arrives_or_is_warned_of and top_p",
        """
        def sampling_fields(self, sampling):
            fields = super().sampling_fields(sampling)
            return fields | ({"top_p": fields["top_p"] / 2} if "top_p" in fields else {})
        """,
    ),
    "a parameter is dropped without a warning": Mutation(
        "test_a_sampling_parameter_arrives_or_is_warned_of and top_k",
        """
        def _supported(self, sampling):
            self._warned |= set(SamplingParams.model_fields)
            return super()._supported(sampling)
        """,
    ),
    "a warning for every request": Mutation(
        "test_a_sampling_parameter_arrives_or_is_warned_of and top_k",
        """
        def _supported(self, sampling):
            self._warned.clear()
            return super()._supported(sampling)
        """,
    ),
    "guided decoding is dropped without a warning": Mutation(
        "test_guided_decoding_arrives_or_is_warned_of",
        """
        def _supported(self, sampling):
            self._warned.add("guided_decoding")
            return super()._supported(sampling)
        """,
    ),
    "one completion where two were asked for": Mutation(
        "test_n_completions_come_for_each_prompt",
        """
        async def _chat(self, request):
            output = await super()._chat(request)
            del output.outputs[1:]
            return output
        """,
    ),
    "prompt and completion tokens are mixed up": Mutation(
        "test_usage_latency_and_finish_reason_are_reported",
        """
        async def _chat(self, request):
            output = await super()._chat(request)
            output.usage = Usage(output.usage.completion_tokens, output.usage.prompt_tokens)
            return output
        """,
    ),
    "no latency": Mutation(
        "test_usage_latency_and_finish_reason_are_reported",
        """
        async def complete(self, *arguments, **options):
            output = await super().complete(*arguments, **options)
            output.latency = 0.0
            return output
        """,
    ),
    "reasoning in the middle of the answer": Mutation(
        "test_reasoning_is_apart_from_the_answer",
        """
        async def _chat(self, request):
            output = await super()._chat(request)
            first = output.outputs[0]
            first.text = f"{first.reasoning_content} {first.text}"
            return output
        """,
    ),
    "reasoning that is claimed is lost": Mutation(
        "test_reasoning_is_apart_from_the_answer",
        """
        async def _chat(self, request):
            output = await super()._chat(request)
            output.outputs[0].reasoning_content = None
            return output
        """,
    ),
    "reasoning that is not claimed stays on": Mutation(
        "test_reasoning_is_apart_from_the_answer",
        """
        def __init__(self, config, *arguments, **options):
            config = config.model_copy(update={"enable_reasoning": True})
            super().__init__(config, *arguments, **options)
        """,
        reasoning=False,
    ),
    "the schema is not sent": Mutation(
        "test_a_typed_answer_is_an_instance_of and nested",
        """
        def response_format(self, request):
            return {}
        """,
    ),
    "typed answers stay plain JSON": Mutation(
        "test_a_typed_answer_is_an_instance_of and nested",
        """
        def _parse(self, output, request):
            import json
            for completion in output.outputs:
                completion.parsed = json.loads(completion.text)
        """,
    ),
    "a prompt that is too long is an error like any other": Mutation(
        "test_a_prompt_that_is_too_long_is_not_cut",
        """
        def status_error(self, *arguments):
            from chainette.backend import RequestError
            error = super().status_error(*arguments)
            return RequestError(str(error), status=error.status)
        """,
    ),
    "a prompt that is too long is cut": Mutation(
        "test_a_prompt_that_is_too_long_is_not_cut",
        """
        async def _chat(self, request):
            from dataclasses import replace
            from chainette.backend import RequestError
            try:
                return await super()._chat(request)
            except RequestError:
                last = {"role": "user", "content": request.messages[-1]["content"][-3:]}
                return await super()._chat(replace(request, messages=[last]))
        """,
    ),
    "a refused schema is held against all types": Mutation(
        "test_a_refused_schema_is_remembered_for_itself_alone",
        """
        async def _chat(self, request):
            from dataclasses import replace
            if getattr(self, "_refused", False):
                request = replace(request, mode="json_object")
            try:
                return await super()._chat(request)
            except RequestError:
                self._refused = True
                raise
        """,
    ),
    "a refused schema is sent again and again": Mutation(
        "test_a_refused_schema_is_remembered_for_itself_alone",
        """
        def _request(self, *arguments):
            self._fallback._forms.clear()
            self._fallback._proven.clear()
            return super()._request(*arguments)
        """,
    ),
    "a converter's words are a failure of the server": Mutation(
        "test_a_refused_schema_is_remembered_for_itself_alone and 500",
        """
        def status_error(self, status, body, url, headers):
            if status == 500:
                return ServerError(body.decode())
            return super().status_error(status, body, url, headers)
        """,
    ),
    "answers are not validated": Mutation(
        "test_an_answer_that_does_not_fit_is_an_error_that_keeps_the_text",
        """
        def _parse(self, output, request):
            return None
        """,
    ),
    "the text of an invalid answer is lost": Mutation(
        "test_an_answer_that_does_not_fit_is_an_error_that_keeps_the_text",
        """
        def _parse(self, output, request):
            error = super()._parse(output, request)
            if error:
                error.raw_text = None
            return error
        """,
    ),
    "the reason why the model stopped is lost": Mutation(
        "test_an_answer_cut_at_max_tokens_is_an_error_of_its_own",
        """
        async def _chat(self, request):
            output = await super()._chat(request)
            output.outputs[0].finish_reason = "stop"
            return output
        """,
    ),
    "a refusal is an answer like any other": Mutation(
        "test_a_refusal_is_an_error_of_its_own",
        """
        async def _chat(self, request):
            output = await super()._chat(request)
            output.outputs[0].finish_reason = "stop"
            return output
        """,
    ),
    "a server's failure is blamed on the request": Mutation(
        "test_a_fault_of_the_connection_becomes_its_error and 503",
        """
        def status_error(self, status, body, url, headers):
            return RequestError("bad request", status=status)
        """,
    ),
    "a page becomes an answer": Mutation(
        "test_a_fault_of_the_connection_becomes_its_error and html",
        """
        async def _chat(self, request):
            try:
                return await super()._chat(request)
            except EngineError as error:
                return LLMOutput([Completion(str(error))])
        """,
    ),
    "a failed output without a completion": Mutation(
        "test_a_fault_of_the_connection_becomes_its_error and 500",
        """
        async def complete(self, *arguments, **options):
            output = await super().complete(*arguments, **options)
            if output.error:
                output.outputs = []
            return output
        """,
    ),
    "no timeouts": Mutation(
        "test_a_fault_of_the_connection_becomes_its_error and stalled",
        """
        def __init__(self, config, capabilities=None):
            super().__init__(config.model_copy(update={"timeout": 3600.0}), capabilities)
        """,
    ),
    "nothing is sent again": Mutation(
        "test_a_transient_failure_is_sent_again",
        """
        def __init__(self, config, capabilities=None):
            super().__init__(config.model_copy(update={"max_retries": 0}), capabilities)
        """,
    ),
    "everything is sent again": Mutation(
        "test_a_permanent_failure_is_sent_once",
        """
        def status_error(self, *arguments):
            error = super().status_error(*arguments)
            error.transient = True
            return error
        """,
    ),
    "long answers are cut": Mutation(
        "test_a_huge_answer_arrives_whole",
        """
        async def _chat(self, request):
            output = await super()._chat(request)
            output.outputs[0].text = output.outputs[0].text[:1_000_000]
            return output
        """,
    ),
    "a server that is gone is one bad row after another": Mutation(
        "test_a_server_that_is_down_is_unreachable",
        """
        async def _chat(self, request):
            try:
                return await super()._chat(request)
            except EngineConnectionError as error:
                raise EngineConnectionError(str(error)) from None
        """,
    ),
    "more requests in flight than allowed": Mutation(
        "test_no_more_requests_are_in_flight_than_max_concurrency",
        """
        def __init__(self, config, capabilities=None):
            super().__init__(config.model_copy(update={"max_concurrency": 64}), capabilities)
        """,
    ),
    "one request after another": Mutation(
        "test_no_more_requests_are_in_flight_than_max_concurrency",
        """
        async def agenerate(self, prompts, *arguments, **options):
            return [await self.complete(prompt, *arguments, **options) for prompt in prompts]
        """,
    ),
    "the whole queue is sent again": Mutation(
        "test_a_long_queue_in_front_of_the_server_fails_no_prompt",
        """
        def _failed(self, error, sending):
            super()._failed(error, None)
        """,
    ),
    "no use in a running event loop": Mutation(
        "test_generate_works_inside_a_running_event_loop",
        """
        def generate(self, prompts, sampling_params=None, *, output_model=None):
            call = self.agenerate(prompts, sampling_params, output_model=output_model)
            try:
                return asyncio.run(call)
            finally:
                call.close()
        """,
    ),
    "the request in hand is kept in the client": Mutation(
        "test_an_engine_serves_several_threads",
        """
        async def _chat(self, request):
            self._in_hand = request
            await anyio.sleep(0.01)
            return await super()._chat(self._in_hand)
        """,
    ),
    "one connection pool for all event loops": Mutation(
        "test_an_engine_serves_one_event_loop_after_another",
        """
        async def _chat(self, request):
            self._made = getattr(self, "_made", None) or anyio.Event()
            asyncio.get_running_loop().call_later(0.01, self._made.set)
            self._loop = getattr(self, "_loop", None) or asyncio.get_running_loop()
            if self._loop is not asyncio.get_running_loop():
                raise RuntimeError("bound to a different event loop")
            return await super()._chat(request)
        """,
    ),
    "a cancellation is an error of the row": Mutation(
        "test_cancelled_requests_leave_nothing_behind",
        """
        async def complete(self, *arguments, **options):
            try:
                return await super().complete(*arguments, **options)
            except asyncio.CancelledError:
                return LLMOutput.failed(EngineError("cancelled"))
        """,
    ),
    "requests go on after their cancellation": Mutation(
        "test_cancelled_requests_leave_nothing_behind",
        """
        async def _chat(self, request):
            return await asyncio.shield(asyncio.ensure_future(super()._chat(request)))
        """,
    ),
    "cancelled requests keep their places": Mutation(
        "test_cancelled_requests_leave_nothing_behind",
        """
        async def complete(self, *arguments, **options):
            self._places = getattr(self, "_places", None) or anyio.Semaphore(4)
            await self._places.acquire()
            output = await super().complete(*arguments, **options)
            self._places.release()
            return output
        """,
    ),
    "connections are never closed": Mutation(
        "test_a_closed_engine_leaves_no_connection_and_can_be_used_again",
        """
        kept = []

        async def aclose(self):
            transport = self._transport.get()
            self.kept.append(transport)
        """,
    ),
    "the key is not sent": Mutation(
        "test_the_api_key_is_sent",
        """
        def headers(self):
            return {k: v for k, v in super().headers().items() if k != "Authorization"}
        """,
    ),
    "errors are not scrubbed": Mutation(
        "test_the_api_key_is_never_shown and quotes",
        """
        def scrub(self, text):
            return text
        """,
    ),
    "headers are logged": Mutation(
        "test_the_api_key_is_never_shown and dropped",
        """
        async def send(self, method, path, body=None):
            logging.getLogger("toy").debug("headers: %s", self.headers())
            return await super().send(method, path, body)
        """,
    ),
    "the key is in the client's repr": Mutation(
        "test_the_api_key_is_never_shown and dropped",
        """
        def __repr__(self):
            return f"Client({self.api_key!r})"
        """,
    ),
    "the key is no secret in the configuration": Mutation(
        "test_a_configuration_is_frozen_and_hides_its_key",
        config="""
        api_key: str | None = None

        def secret_key(self, *_):
            from pydantic import SecretStr
            return SecretStr(self.api_key) if self.api_key else None
        """,
    ),
    "a configuration that can be changed": Mutation(
        "test_a_configuration_is_frozen_and_hides_its_key",
        config="""
        model_config = {"frozen": False}
        """,
    ),
    "unknown fields are ignored": Mutation(
        "test_an_unknown_field_is_refused_with_the_closest_one",
        config="""
        model_config = {"extra": "ignore"}
        """,
    ),
    "any number is a timeout": Mutation(
        "test_a_value_out_of_range_is_refused",
        config="""
        timeout: float = 60.0
        """,
    ),
    "models are listed as objects": Mutation(
        "test_the_models_of_the_server_are_listed",
        """
        async def list_models(self):
            return (await self.send("GET", "/models"))["data"]
        """,
    ),
    "a plugin that does not say what it is": Mutation(
        "test_the_plugin_is_found_and_whole", summary=""
    ),
}


@pytest.fixture
def outcome(
    make_plugin: Callable[..., str], pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, int]]:
    """A function that runs the checks on a mutated backend and counts the results."""

    for module in (checks, concurrency, failures):
        monkeypatch.setattr(module, "PATIENCE", 3.0)
    monkeypatch.setattr(retry, "FIRST", 0.01)

    def run(mutation: Mutation, *options: str) -> dict[str, int]:
        source = BACKEND.format(
            client=textwrap.indent(textwrap.dedent(mutation.client), "    "),
            config=textwrap.indent(textwrap.dedent(mutation.config), "    "),
            summary=mutation.summary,
            reasoning=mutation.reasoning,
        )
        make_plugin(source, "toy")
        pytester.makepyfile(test_toy=CONTRACT)
        counts = pytester.runpytest_inprocess("-q", *options).parseoutcomes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()  # a wrong backend leaves connections open
        return counts

    return run


@pytest.mark.timeout(240)
@pytest.mark.exhaustive
def test_a_correct_backend_passes_every_check(outcome: Callable[..., dict[str, int]]) -> None:
    counts = outcome(Mutation(""))
    assert set(counts) == {"passed"}
    assert counts["passed"] > 70


def test_a_correct_backend_without_reasoning_passes_its_check(
    outcome: Callable[..., dict[str, int]],
) -> None:
    check = "test_reasoning_is_apart_from_the_answer"
    counts = outcome(Mutation(check, reasoning=False), "-k", check)
    assert counts["passed"] == 1
    assert "failed" not in counts


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.exhaustive if number % 3 else (), id=name)
        for number, name in enumerate(MUTATIONS)
    ],
)
def test_a_broken_promise_is_caught(name: str, outcome: Callable[..., dict[str, int]]) -> None:
    mutation = MUTATIONS[name]
    assert outcome(mutation, "-k", mutation.check).get("failed", 0) > 0


def test_a_check_is_overridden_only_with_a_reason() -> None:
    class Marked(BackendContract):
        backend = "toy"

        @pytest.mark.xfail(reason="the server closes its connections late")
        def test_no_prompts_give_no_outputs(self) -> None:
            raise NotImplementedError

        def test_a_promise_of_its_own(self) -> None: ...

    class Derived(Marked):
        backend = "other"

    with pytest.raises(TypeError, match=r"overrides the check test_no_prompts.*xfail\(reason=…\)"):

        class Unmarked(BackendContract):
            def test_no_prompts_give_no_outputs(self) -> None: ...

    with pytest.raises(TypeError, match="Without overrides the check"):

        class Without(Derived):
            test_no_prompts_give_no_outputs = None

    class Mixin:
        @pytest.mark.xfail
        def test_no_prompts_give_no_outputs(self) -> None: ...

    with pytest.raises(TypeError, match="Mixin overrides the check"):

        class Mixed(Mixin, BackendContract):
            pass


WITLESS = """
from chainette.backend import Backend, BaseClient, Capabilities, Completion, EngineConfig
from chainette.backend import LLMOutput, RequestError, Usage, hookimpl

class Client(BaseClient):
    async def _chat(self, request):
        if request.output is not None and request.output.name == "Tree":
            raise RequestError("recursion is not supported")
        return LLMOutput([Completion("Yes.", finish_reason="stop")], usage=Usage(1, 1))

@hookimpl
def chainette_backends():
    capabilities = Capabilities(json_schema=True)
    return [Backend("witless", EngineConfig, Client, capabilities, summary="no wit")]
"""


def test_an_answer_of_a_real_model_that_does_not_fit_is_not_the_plugin_s_failure(
    make_plugin: Callable[..., str],
) -> None:
    make_plugin(WITLESS, "witless")
    promises = {promise.name: promise for promise in check_backend("witless", "none", {})}
    typed = promises["a typed answer is an instance of"]
    assert (typed.passed, typed.failed, typed.model) == (0, 1, 9)
    assert "recursion is not supported" in str(typed)
    assert "the model's answer: engine 'contract-0': the answer is not a valid Person" in str(typed)
    assert sum(promise.failed for promise in promises.values()) == 1
    typed.failed = 0
    assert str(typed).startswith("model   a typed answer is an instance of (0 of 9)")

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import ollama
import pytest
from chainette import Chain, LLMOutput, SamplingParams, Step, Usage, register_engine
from chainette.backend import BaseClient
from chainette.engine.client import retry
from chainette.engine.server.progress import Startup, listening
from chainette.errors import (
    AuthenticationError,
    ConfigError,
    ContextLengthError,
    EngineStartError,
    EngineUnreachableError,
    NotFoundError,
    OutputTruncatedError,
    RequestError,
    ServerError,
)
from chainette.testing import faults
from chainette.testing.ollama.recorded import Modelfile, Version
from chainette.testing.ollama.server import FakeOllama
from chainette.testing.script import Reply
from ollama_recordings import VERSIONS, fake, recorded
from pydantic import BaseModel

SENTINEL = "sk-SENTINEL-0123456789"
SMALL = "smollm2:135m"


class City(BaseModel):
    name: str


class Row(BaseModel):
    text: str = ""


def step(engine: str = "e", **fields: Any) -> Step:
    fields = {"user_prompt": "{{ text }}.", "input_model": Row, "output_model": str, **fields}
    return Step(id=engine, engine_name=engine, **fields)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST", 0.0)
    monkeypatch.delenv("OLLAMA_HOST", raising=False)


def make_client(server: FakeOllama | None = None, **fields: Any) -> BaseClient:
    endpoint = {} if server is None else {"endpoint": server.endpoint}
    fields = {"backend": "ollama_api", "model": SMALL, **endpoint, **fields}
    return register_engine(fields.pop("name", "e"), **fields).engine


def one(client: BaseClient, *arguments: Any, **keywords: Any) -> LLMOutput:
    return client.generate(["hi"], *arguments, **keywords)[0]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_every_field_of_a_request_is_sent_and_of_an_answer_is_read() -> None:
    with fake("0.33 template", lambda _: Reply('{"name": "Oslo"}', "hm")) as server:
        client = make_client(
            server, model="smol-think", num_ctx=8192, keep_alive="10m", enable_reasoning=True,
            options={"num_gpu": 0, "typical_p": 0.5}, extra_body={"shift": False},
        )  # fmt: skip
        params = SamplingParams(
            temperature=0.1, top_k=4, min_p=0.2, max_tokens=9, stop=["x"], seed=3,
            repetition_penalty=1.1,
        )  # fmt: skip
        output = one(client, params, output_model=City)
        sent = server.requests[-1].body
    assert output.outputs[0].parsed == City(name="Oslo")
    assert output.outputs[0].reasoning_content == "hm"
    assert output.usage is not None
    assert output.usage.completion_tokens == 2
    assert sent["format"]["required"] == ["name"]
    assert (sent["stream"], sent["truncate"], sent["think"]) == (False, False, True)
    assert (sent["keep_alive"], sent["shift"]) == ("10m", False)
    assert sent["options"] == {
        "temperature": 0.1, "top_k": 4, "min_p": 0.2, "num_predict": 9, "stop": ["x"], "seed": 3,
        "repeat_penalty": 1.1, "num_ctx": 8192, "num_gpu": 0, "typical_p": 0.5,
    }  # fmt: skip
    known = ollama.Options(**sent["options"]).model_dump(exclude_none=True)
    assert known == {name: it for name, it in sent["options"].items() if name != "min_p"}


def test_our_options_are_those_of_the_package() -> None:
    """The package has names of older servers beside them, and no `min_p`."""
    older = {"logits_all", "vocab_only", "embedding_only", "f16_kv"}
    for name in {*ollama.Options.model_fields, "min_p"} - older:
        with pytest.raises(ConfigError, match=f"the option '{name}' is "):
            make_client(options={name: {}})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"options": {"num_ctx": "4096"}}, "the option 'num_ctx' is an integer"),
        ({"options": {"num_ctx": True}}, "the option 'num_ctx' is an integer"),
        ({"options": {"stop": "x"}}, "the option 'stop' is a list of texts"),
        ({"options": {"stop": [1]}}, "the option 'stop' is a list of texts"),
        ({"options": {"temperature": "0"}}, "the option 'temperature' is a number"),
        ({"options": {"use_mmap": 1}}, "the option 'use_mmap' is true or false"),
        ({"options": {"tempratur": 1}}, "Ollama has no option 'tempratur'"),
        ({"options": {"num_ctx": 5}, "num_ctx": 6}, "give num_ctx once"),
        ({"keep_alive": "5 min"}, "a time such as 10m"),
        ({"keep_alive": True}, "a time such as 10m"),
        ({"keep_alive": ""}, "a time such as 10m"),
        ({"keep_alive": float("inf")}, "a time such as 10m"),
        ({"keep_alive": float("nan")}, "a time such as 10m"),
        ({"options": {"temperature": float("nan")}}, "the option 'temperature' is a number"),
        ({"extra_body": {"options": {}}}, "use options"),
        ({"extra_body": {"num_ctx": 8192}}, "num_ctx .use options: Ollama reads it nowhere else"),
        ({"extra_body": {"temperature": 0}}, "temperature .use options"),
        ({"extra_body": {"truncate": True}}, "use context_overflow"),
        ({"extra_body": {"stream": True}}, "answers come whole"),
        ({"context_overflow": "shift"}, "context_overflow"),
        ({"reasoning_effort": "minimal"}, "reasoning_effort"),
        ({"endpoint": "host:abc"}, "endpoint"),
    ],
)
def test_what_ollama_would_refuse_is_refused_when_the_engine_is_read(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_client(**fields)


@pytest.mark.parametrize(
    ("given", "sent"),
    [("-1", -1.0), ("300", 300.0), (" 5 ", 5.0), ("10m", "10m"), ("1h30m", "1h30m"), (60, 60)],
)
def test_a_number_of_seconds_is_sent_as_a_number(given: Any, sent: Any) -> None:
    with fake("0.33 native") as server:
        assert one(make_client(server, keep_alive=given)).error is None
        assert server.requests[-1].body["keep_alive"] == sent
        assert server.loads[-1]["keep_alive"] == sent


def test_a_model_that_is_not_kept_is_not_unloaded_in_place_of_loading() -> None:
    with fake("0.33 native") as server:
        assert one(make_client(server, keep_alive=0)).error is None
        assert "keep_alive" not in server.loads[-1]
        assert server.requests[-1].body["keep_alive"] == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_a_prompt_that_is_too_long_fails_its_row_once(version: Any) -> None:
    prompts = ["word " * 300, "fine"]
    with fake(version) as server:
        long, short = make_client(server, model="smol-ctx").generate(prompts, output_model=City)
        assert len(server.requests) == 2
        assert all(request.schema for request in server.requests)
    assert short.error is None
    assert isinstance(long.error, ContextLengthError)
    assert "and 256 fit (num_ctx 256 in the model's own parameters): raise num_ctx" in str(
        long.error
    )
    assert long.error.context_tokens == 256
    assert long.error.prompt_tokens == (None if version == "0.25" else 300)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cut_that_is_allowed_marks_the_line_of_its_row(version: Any, tmp_path: Path) -> None:
    with fake(version, lambda _: "fine") as server:
        make_client(server, num_ctx=50, context_overflow="cut")
        chain = Chain(name="c", steps=[step()])
        run = chain.run([{"text": "a"}, {"text": "word " * 90}], output_dir=tmp_path)
    lines = (tmp_path / "steps/e/000000.jsonl").read_text().splitlines()
    marks = {line["row_id"]: line.get("prompt_cut") for line in map(json.loads, lines)}
    if version == "0.33 native":  # llama-server refuses, whatever is asked
        assert marks == {0: None}
        assert "ContextLengthError" in (tmp_path / "errors.jsonl").read_text()
        assert run.counts.failed == 1
    else:
        assert marks == {0: None, 1: True}


def test_the_conversation_so_far_is_not_cut_either() -> None:
    turns: Any = [
        {"role": "user", "content": "word " * 300},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "good or bad?"},
    ]
    with fake("0.33 template") as server:
        output = make_client(server, model="smol-ctx").generate([turns])[0]
    assert isinstance(output.error, ContextLengthError)


THINKING = {
    ("smol-think", "0.33 template"): False,
    ("smol-think", "0.33 native"): None,
    ("smol-think", "0.25"): False,
    (SMALL, "0.33 template"): None,
}


@pytest.mark.parametrize(("model", "version"), THINKING)
def test_thinking_that_nobody_asked_for_is_switched_off(model: str, version: Any) -> None:
    with fake(version) as server:
        output = one(make_client(server, model=model), output_model=City)
        assert output.error is None
        assert server.requests[-1].body.get("think") is THINKING[model, version]


def test_reasoning_of_a_model_without_it_is_switched_off_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with fake("0.33 template") as server:
        outputs = make_client(server, enable_reasoning=True).generate(["a", "b", "c"])
        assert [output.error for output in outputs] == [None] * 3
        assert "think" not in server.requests[-1].body
    assert warnings(caplog) == [f"engine 'e': {SMALL} does not think; reasoning is switched off"]


def test_a_refusal_to_think_is_learnt_where_the_capabilities_did_not_say_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Without(FakeOllama):
        def other(self, path: str, body: Any) -> Any:
            return self._plain(404, "404") if path == "/api/show" else super().other(path, body)

    with Without(modelfiles={SMALL: Modelfile()}) as server:
        outputs = make_client(server, reasoning_effort="low", max_concurrency=1).generate(
            ["a", "b"]
        )
        assert [output.error for output in outputs] == [None, None]
        assert [each.reasoning for each in server.requests] == ["low", None, None]
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("effort", ["low", "medium", "high", "max"])
def test_the_effort_is_passed_on_and_words_say_the_schema(effort: str) -> None:
    with fake("0.33 template", lambda _: '{"name": "Oslo"}') as server:
        client = make_client(server, model="smol-think", reasoning_effort=effort)
        assert one(client, output_model=City).error is None
        sent = server.requests[-1].body
    assert sent["think"] == effort
    assert sent["format"]["required"] == ["name"]
    assert "JSON schema" in sent["messages"][0]["content"]


@pytest.mark.parametrize("form", [str, City])
@pytest.mark.parametrize("end", ["stop", "length"])
def test_an_answer_that_is_all_thoughts_says_so(form: Any, end: str) -> None:
    with fake("0.33 template", lambda _: Reply("", "Well, well.", end)) as server:
        client = make_client(server, model="smol-think", enable_reasoning=True)
        output = one(client, SamplingParams(max_tokens=9), output_model=form)
    assert "all tokens went into the model's thinking" in str(output.error)


def test_an_answer_that_the_server_gave_up_on_is_cut_and_its_usage_unknown() -> None:
    answers = {
        "ha": Reply("ha ha ha", finish_reason=""),
        "JSON": Reply('{"name": "Oslo"}' + "\n" * 50, finish_reason=""),
        "half": Reply('{"name": "Oslo"' + "\n" * 50, finish_reason=""),
    }
    with fake("0.33 template", answers) as server:
        client = make_client(server)
        ha = client.generate(["ha"], output_model=str)[0]
        whole, half = client.generate(["JSON", "half"], output_model=City)
    assert isinstance(ha.error, OutputTruncatedError)
    assert isinstance(half.error, OutputTruncatedError)
    assert "gave up on a repeating answer" in str(ha.error)
    assert (whole.error, whole.usage) == (None, None)
    assert whole.outputs[0].parsed == City(name="Oslo")


@pytest.mark.parametrize(
    ("model", "words"),
    [("smol-short", "num_predict 5 in the model's own parameters"), ("smol-stop", '("}")')],
)
def test_a_limit_of_the_modelfile_is_named(model: str, words: str) -> None:
    answer = '{"name": "a city in the north of the world"}'
    with fake("0.33 template", lambda _: answer) as server:
        output = one(make_client(server, model=model), output_model=City)
        own = SamplingParams(max_tokens=99, stop=["zzz"])
        assert one(make_client(server, model=model), own, output_model=City).error is None
    assert isinstance(output.error, OutputTruncatedError)
    assert words in str(output.error)


def test_a_limit_of_the_configuration_is_named() -> None:
    with fake("0.33 template", lambda _: faults.cut()) as server:
        client = make_client(server, options={"num_predict": 7})
        assert "num_predict 7 in the engine's configuration" in str(
            one(client, output_model=City).error
        )


def scripted(**fields: Any) -> Reply:
    """An answer of `/api/chat` as it is, whatever is asked."""
    known = {"model": SMALL, "done": True, "done_reason": "stop", "eval_count": 5}
    known |= {"prompt_eval_count": 9, "message": {"role": "assistant", "content": '{"name": "A"}'}}
    return Reply(status=200, body=json.dumps(known | fields).encode())


def test_what_was_read_is_not_dropped_while_an_answer_is_written() -> None:
    """Ollama shifts the context by default: the start of the prompt goes, without a word."""
    with fake("0.33 template", lambda _: Reply('{"name": "A"}')) as server:
        one(make_client(server))
        assert server.requests[-1].body["shift"] is False


@pytest.mark.parametrize("limit", [None, 400])
def test_an_answer_that_fills_the_context_is_no_matter_of_max_tokens(limit: int | None) -> None:
    cut = scripted(done_reason="length", eval_count=247, message={"content": '{"name": "A'})
    with fake("0.33 template", lambda _: cut) as server:
        client = make_client(server, num_ctx=256)
        message = str(one(client, SamplingParams(max_tokens=limit), output_model=City).error)
    assert "9 tokens of the prompt and 247 of the answer; num_ctx 256 in the engine's" in message
    assert "max_tokens" not in message


def test_a_limit_of_minus_one_is_none() -> None:
    with fake("0.33 template", lambda _: faults.cut()) as server:
        client = make_client(server, options={"num_predict": -1})
        assert "num_predict" not in str(one(client, output_model=City).error)


def test_whole_json_at_the_limit_counts_and_a_number_may_have_further_digits() -> None:
    cut = {"done_reason": "length"}
    with fake("0.33 template") as server:
        client = make_client(server)
        server.set_answers(lambda _: scripted(**cut))
        assert one(client, output_model=City).outputs[0].parsed == City(name="A")
        server.set_answers(lambda _: scripted(**cut, message={"content": "12"}))
        assert isinstance(one(client, output_model=int).error, OutputTruncatedError)
        server.set_answers(lambda _: scripted(done=False, message={"content": "12"}))
        assert isinstance(one(client, output_model=int).error, OutputTruncatedError)


def test_the_arguments_of_a_tool_call_are_an_answer_where_there_is_no_other() -> None:
    call = {"function": {"name": "City", "arguments": {"name": "Oslo"}}}
    answer = scripted(message={"role": "assistant", "content": "", "tool_calls": [call]})
    with fake("0.33 template", lambda _: answer) as server:
        output = one(make_client(server), output_model=City)
    assert output.outputs[0].parsed == City(name="Oslo")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stream_that_nothing_asked_for_is_read(version: Version) -> None:
    """Proxies leave `stream: false` out."""
    exchange = recorded("stream", version)
    assert exchange is not None
    parts = [part["message"].get("content", "") for part in exchange.answer]
    with fake(version) as server:
        client = make_client(server, max_retries=0)
        server.set_answers(lambda _: Reply(status=200, body=exchange.body.encode()))
        output = one(client, SamplingParams(max_tokens=40))
        assert output.outputs[0].text == "".join(parts)
        assert output.usage is not None
        lines = [*exchange.body.splitlines()[:1], '{"error": "CUDA error"}']
        server.set_answers(lambda _: Reply(status=200, body="\n".join(lines).encode()))
        assert "CUDA error" in str(one(client).error)
        server.set_answers(lambda _: Reply(status=200, body=(lines[0] + "\n" + lines[0]).encode()))
        assert "not JSON" in str(one(client).error)


def test_json_of_several_lines_with_half_a_surrogate_pair_is_read() -> None:
    body = json.dumps(json.loads(scripted().body or ""), indent=1).replace('"A', '"\\ud83d')
    with fake("0.33 template", lambda _: Reply(status=200, body=body.encode())) as server:
        assert one(make_client(server, max_retries=0)).error is None


@pytest.mark.parametrize("count", ["9", -1, True, 1.5, [1]])
def test_a_count_that_is_none_is_unknown(count: Any) -> None:
    with fake("0.33 template", lambda _: scripted(prompt_eval_count=count)) as server:
        assert one(make_client(server)).usage is None


@pytest.mark.parametrize("never", ["0s", "0", "0m0s", "-0h"])
def test_a_model_that_does_not_stay_is_loaded_all_the_same(never: str) -> None:
    """`messages: []` with a `keep_alive` of nothing unloads it."""
    with fake("0.33 template") as server:
        one(make_client(server, keep_alive=never))
        assert ["keep_alive" in body for body in server.loads] == [False]
        assert server.requests[-1].body["keep_alive"] == 0


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ({"models": [{"name": "a"}, {"name": "b", "model": "b:latest"}]}, ["a", "b:latest"]),
        ({"models": [{}]}, None),
        ({"models": None}, None),
        ({"models": ["a"]}, None),
        ([], None),
    ],
)
def test_lists_of_models_have_their_names_or_are_none(
    answer: Any, names: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()

    async def send(*_: Any, **__: Any) -> Any:
        return answer

    monkeypatch.setattr(client, "send", send)
    assert anyio.run(client.list_models) == names  # type: ignore[attr-defined]


def test_the_model_is_loaded_once_before_many_rows_and_the_display_says_so() -> None:
    seen: list[Startup] = []
    with fake("0.33 native") as server, listening(seen.append):
        outputs = make_client(server, options={"num_gpu": 1}, num_ctx=99).generate(["a"] * 30)
        assert [output.error for output in outputs] == [None] * 30
        assert [body["options"] for body in server.loads] == [{"num_gpu": 1, "num_ctx": 99}]
    assert [(each.what, each.over) for each in seen] == [
        (f"loading {SMALL}", False),
        (f"loading {SMALL}", True),
    ]


class Slow(FakeOllama):
    """A server that takes its time to load a model, and then answers at once.

    Attributes:
        seconds: The time.
    """

    seconds = 0.4

    def other(self, path: str, body: Any) -> Any:
        answer = super().other(path, body)
        if path != "/api/chat":
            return answer
        return Reply(delay=self.seconds), json.dumps(answer).encode()


def test_loading_has_a_limit_of_its_own() -> None:
    with Slow() as server:
        client = make_client(server, timeout=0.2, max_retries=0)
        assert one(client).error is None
        client = make_client(server, load_timeout=0.1)
        outputs = client.generate(["a", "b", "c"])
        assert len(server.loads) == 2
    assert {type(output.error) for output in outputs} == {EngineStartError}
    assert "raise load_timeout" in str(outputs[0].error)


def test_a_model_that_was_unloaded_is_loaded_before_the_row_is_sent_again() -> None:
    with FakeOllama([Reply(delay=9), "fine"]) as server:
        client = make_client(server, timeout=0.2, max_retries=1)
        assert one(client).error is None
        assert (len(server.requests), len(server.loads)) == (2, 2)


def test_a_model_is_loaded_again_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainette_ollama import client as module

    with FakeOllama() as server:
        client = make_client(server)
        client.generate(["a", "b"])
        monkeypatch.setattr(module, "IDLE", -1.0)
        client.generate(["c"])
        assert len(server.loads) == 2


def test_the_cloud_loads_nothing_and_has_a_price_that_is_unknown() -> None:
    with FakeOllama() as server:
        server._missing = lambda path, model: None  # type: ignore[method-assign]
        cloud = make_client(server, model="gpt-oss:20b-cloud")
        assert (one(cloud).cost, server.loads) == (None, [])
        assert one(make_client(server)).cost == 0
    assert not make_client(endpoint="https://ollama.com").is_free


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("1.2.3.4", "http://1.2.3.4:11434"),
        ("1.2.3.4:5678", "http://1.2.3.4:5678"),
        (":5678", "http://127.0.0.1:5678"),
        ("ollama.com", "https://ollama.com"),
        ("Ollama.com:443/api", "https://ollama.com"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:5678", "http://127.0.0.1:5678"),
        ("http://0.0.0.0:5678", "http://127.0.0.1:5678"),
        ("example.com", "http://example.com:11434"),
        ("http://example.com", "http://example.com"),
        ("https://example.com/prefix/", "https://example.com/prefix"),
        ("example.com:5678/prefix/", "http://example.com:5678/prefix"),
        ("[::1]", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::]:5678", "http://[::1]:5678"),
        (' "localhost:5678" ', "http://localhost:5678"),
        ("localhost/v1", "http://localhost:11434"),
        ("localhost:5678/api", "http://localhost:5678"),
        ("http://localhost:5678/api/chat", "http://localhost:5678"),
        ("http://localhost:5678/v1/", "http://localhost:5678"),
    ],
)
def test_an_address_is_read_as_ollama_reads_its_own(
    written: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", written)
    assert make_client().base_url == url
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:abc")
    if written:
        assert make_client(endpoint=written).base_url == url


def test_a_wrong_address_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0:abc")
    with pytest.raises(ConfigError, match="OLLAMA_HOST"):
        make_client()


def test_what_the_package_dies_of_hurts_nobody_who_does_not_pull() -> None:
    """In a process of its own, since the package is imported here."""
    code = """
import os, sys
from chainette import register_engine
fields = {"backend": "ollama_api", "model": "m", "endpoint": sys.argv[1]}
deadly = {
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "OLLAMA_HOST": "0.0.0.0:abc",
    "SSL_CERT_FILE": "/no/such/file",
}
for variable, value in deadly.items():
    os.environ[variable] = value
    print(variable, register_engine("e", **fields).engine.generate(["hi"])[0].error)
    del os.environ[variable]
assert "ollama" not in sys.modules
"""
    with FakeOllama() as server:
        command = [sys.executable, "-c", code, server.endpoint]
        process = subprocess.run(command, capture_output=True, text=True)
    assert process.stdout.split() == [
        *("ALL_PROXY", "None", "OLLAMA_HOST", "None", "SSL_CERT_FILE", "None"),
    ], process.stderr


def test_two_engines_with_one_model_and_two_contexts_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FakeOllama() as server:
        make_client(server, name="a", num_ctx=100)
        make_client(server, name="b", num_ctx=200)
        make_client(server, name="c", model="other", num_ctx=300)
        chain = step("a") | step("b") | step("c")
        Chain(name="c", steps=[chain]).run([{}])
    (warning,) = warnings(caplog)
    assert "engines 'a' and 'b' use one model with different settings" in warning
    assert "(num_ctx 100; num_ctx 200)" in warning


@pytest.mark.parametrize("mode", ["json_object", "prompt"])
def test_other_modes_describe_the_schema_in_words(mode: str) -> None:
    with FakeOllama(lambda _: '{"name": "Oslo"}') as server:
        output = one(make_client(server, structured_output=mode), output_model=City)
        sent = server.requests[-1].body
    assert output.outputs[0].parsed == City(name="Oslo")
    assert sent.get("format") == {"json_object": "json"}.get(mode)
    assert "JSON schema" in sent["messages"][0]["content"]


def test_half_of_a_character_fails_its_row_at_once() -> None:
    with FakeOllama() as server:
        bad, good = make_client(server).generate(["half \ud83d", "fine"])
        assert len(server.requests) == 1
    assert isinstance(bad.error, RequestError)
    assert "lone surrogate" in str(bad.error)
    assert good.error is None


def test_a_server_that_is_down_is_unreachable() -> None:
    error = one(make_client(endpoint="http://127.0.0.1:9")).error
    assert isinstance(error, EngineUnreachableError)
    assert "ollama serve" in str(error)


def test_a_sign_in_is_asked_for() -> None:
    body = json.dumps({"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=x"})
    reply = Reply(status=401, body=body.encode())
    with FakeOllama(lambda _: reply) as server:
        error = one(make_client(server)).error
    assert isinstance(error, AuthenticationError)
    assert "open https://ollama.com/connect?name=x" in str(error)
    assert "api_key_env" not in str(error)


def test_models_are_listed() -> None:
    async def listed(client: BaseClient) -> list[str] | None:
        try:
            return await client.list_models()
        finally:
            await client.aclose()

    with fake("0.25") as server:
        names = anyio.run(listed, make_client(server))
    assert names is not None
    assert {"smollm2:135m", "smol-ctx:latest"} < set(names)


@pytest.mark.parametrize(
    "body", ["[]", "null", "{}", '{"message": 3}', '{"message": {"content": 3}}']
)
def test_a_success_without_an_answer_fails_its_row(body: str) -> None:
    with FakeOllama(lambda _: Reply(body=body.encode())) as server:
        assert isinstance(one(make_client(server, max_retries=0)).error, ServerError)


def test_an_error_in_a_success_is_an_error() -> None:
    with FakeOllama(lambda _: Reply(body=b'{"error": "out of memory"}')) as server:
        assert "out of memory" in str(one(make_client(server, max_retries=0)).error)


@pytest.mark.parametrize("is_theirs", [False, True])
def test_the_key_of_the_environment_goes_only_to_ollama_itself(
    is_theirs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", SENTINEL)
    client = make_client(endpoint="https://ollama.com" if is_theirs else "http://host.test")
    sent = client.headers().get("Authorization")  # type: ignore[attr-defined]
    assert sent == (f"Bearer {SENTINEL}" if is_theirs else None)


def test_a_parameter_that_ollama_lacks_causes_a_warning_and_is_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with FakeOllama() as server:
        one(make_client(server), SamplingParams(n=2, presence_penalty=1.0))
        assert server.requests[-1].body["options"] == {"presence_penalty": 1.0}
    assert warnings(caplog) == [
        "engine 'e': backend 'ollama_api' has no sampling parameter n; ignored"
    ]


def test_a_start_of_an_answer_is_refused_since_ollama_does_not_continue_it() -> None:
    with FakeOllama() as server:
        make_client(server)
        begun = step(prefill="The answer is")
        with pytest.raises(ConfigError, match="cannot continue a prefill"):
            Chain(name="c", steps=[begun]).run([{}])


def test_the_local_backend_pulls_a_model_that_is_missing_and_announces_it() -> None:
    seen: list[Startup] = []
    with FakeOllama() as server, listening(seen.append):
        server.models.clear()
        client = register_engine("e", backend="ollama", model="tiny", port=server.port).engine
        assert [each.error for each in client.generate(["a", "b"])] == [None, None]
        assert server.models == ["tiny"]
    pulls = [each for each in seen if each.what == "pulling tiny"]
    assert [each.share for each in pulls] == [None, 0.0, 0.5, 1.0, None, None]
    assert pulls[-1].over
    assert seen[-1].what == "loading tiny"


def test_a_pull_that_fails_is_an_error() -> None:
    with FakeOllama(modelfiles={}) as server:
        client = register_engine("e", backend="ollama", model="tiny", port=server.port).engine
        (output,) = client.generate(["hi"])
    assert "no such host" in str(output.error)


def test_a_missing_program_is_an_error_of_the_local_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    error = one(register_engine("e", backend="ollama", model="m", port=9).engine).error
    assert isinstance(error, EngineStartError)
    assert "install it" in str(error)


def test_the_fake_server_answers_as_the_package_expects() -> None:
    with FakeOllama() as server, ExitStack() as stack:
        client = ollama.Client(server.endpoint)
        stack.callback(client.close)
        answer = client.chat("fake-model", [{"role": "user", "content": "hi there"}], think=True)
        assert (answer.message.content, answer.done_reason) == ("text", "stop")
        assert (answer.prompt_eval_count, answer.eval_count) == (2, 1)
        assert [model.model for model in client.list().models] == ["fake-model:latest"]
        states = [state.status for state in client.pull("other", stream=True)]
        assert (states[0], states[-1]) == ("pulling manifest", "success")
        assert client.show("fake-model").capabilities == ["completion", "thinking"]


def test_threads_share_a_client_and_its_model() -> None:
    outputs: list[LLMOutput] = []
    with FakeOllama() as server:
        client = make_client(server)
        threads = [threading.Thread(target=lambda: outputs.append(one(client))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [output.error for output in outputs] == [None] * 4


def test_the_tokens_are_those_of_the_answer() -> None:
    with FakeOllama(lambda _: "one two") as server:
        assert one(make_client(server)).usage == Usage(1, 2)
        server.set_answers(lambda _: faults.status(404, "model 'x' not found"))
        assert isinstance(one(make_client(server)).error, NotFoundError)

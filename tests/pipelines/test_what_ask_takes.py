"""What `ask` takes in functions: conversations, starts of answers, tries and their sampling."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chainette import Calls, Chain, SamplingParams, Step, SyncCalls, apply, register_engine
from chainette.errors import ApplyError, StructuredOutputError
from chainette.testing import fake_engine
from chainette.testing.servers import FakeOpenAI, FakeVLLM
from pydantic import BaseModel

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello"}
ASSISTANT = {"role": "assistant", "content": "Hi"}


class Row(BaseModel):
    n: int = 1


class Score(BaseModel):
    n: int


def asking(prompt: Any = "?", *, threaded: bool = False, **options: Any) -> Chain[Any, Any]:
    """A chain whose one function asks once."""

    async def ask(row: Row, calls: Calls) -> Any:
        return await calls["judge"].ask(prompt, **options)

    def ask_in_thread(row: Row, calls: SyncCalls) -> Any:
        return calls["judge"].ask(prompt, **options)

    fn: Callable[..., Any] = ask_in_thread if threaded else ask
    return Chain(
        name="c", steps=apply(fn, id="ask", engines=["judge"], threaded=threaded, output_model=Any)
    )


ENDS = "a conversation ends with the turn of the user"
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "an answer at the end": (
        [USER, ASSISTANT], {},
        rf"the last message is that of the assistant; {ENDS}; for the start .* use prefill=",
    ),
    "only a system turn": ([SYSTEM], {}, f"the last message is that of the system; {ENDS}"),
    "a system turn at the end": ([USER, SYSTEM], {}, "is that of the system"),
    "an empty turn": (
        [USER, ASSISTANT | {"content": ""}, USER], {}, "message 1, of the assistant, is empty"
    ),
    "a blank turn": ([USER | {"content": " \n"}], {}, "message 0, of the user, is empty"),
    "an empty prompt": ("", {}, "the prompt is empty"),
    "a start that is not a text": ("?", {"prefill": 3}, "prefill is a int"),
    "reasks below 0": ("?", {"reasks": -1}, r"ask: reasks is -1; give the number"),
    "reasks that is true": ("?", {"reasks": True}, "reasks is True"),
    "no attempts": ("?", {"sampling": {"temperature": []}}, "temperature is an empty list"),
    "samples": ("?", {"sampling": [{"n": 3}]}, "n=3 gives one answer; ask 3 times"),
    "a wrong attempt": (
        "?", {"sampling": {"temperature": [0, -1]}}, r"calls\['judge'\].ask, sampling, attempt 2:"
    ),
    "a keyword with a slip": (
        "?", {"output_modell": Score}, r"ask: unknown keyword 'output_modell' \(did you mean "
        r"'output_model'\?\); keywords: prompt, output_model, sampling, reasks, prefill",
    ),
}  # fmt: skip


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_sent_is_refused_and_nothing_is_sent(name: str, threaded: bool) -> None:
    prompt, options, message = REFUSED[name]
    with fake_engine("judge") as engine, pytest.raises(ApplyError, match=message):
        asking(prompt, threaded=threaded, **options).run_one({})
    assert engine.requests == []


def test_a_start_is_continued_where_the_backend_can_do_so() -> None:
    with FakeVLLM(["2}"]) as server:
        register_engine("judge", backend="vllm_api", endpoint=server.endpoint, model="m")
        assert asking([SYSTEM, USER], output_model=Score, prefill='{"n": ').run_one({}) == Score(
            n=2
        )
    assert server.requests[0].body["messages"][-1] == {"role": "assistant", "content": '{"n":'}
    assert server.requests[0].body["continue_final_message"] is True


def test_a_start_is_refused_before_a_request_where_the_backend_cannot() -> None:
    with FakeOpenAI() as server:
        engine = register_engine("judge", backend="openai", endpoint=server.endpoint, model="m")
        with pytest.raises(ApplyError, match=r"'judge' .*'openai'.* cannot continue a prefill"):
            asking(prefill="{").run_one({})
        # The client itself says so, too, in the place of an answer to something else.
        (output,) = engine.engine.generate([[USER, ASSISTANT]])
    assert "the last message is that of the assistant" in str(output.error)
    assert "'openai' cannot continue an answer" in str(output.error)
    assert server.requests == []


@pytest.mark.parametrize("threaded", [False, True])
def test_an_answer_is_asked_for_again_as_often_as_said_with_the_sampling_of_each_try(
    threaded: bool,
) -> None:
    sampling = {"temperature": [0, 0.4, 0.8], "max_tokens": 9}
    chain = asking(output_model=Score, reasks=3, sampling=sampling, threaded=threaded)
    with fake_engine("judge", ["a", "b", "c", '{"n": 4}']) as engine:
        assert chain.run_one({}) == Score(n=4)
    assert [it.temperature for it in engine.samplings] == [0, 0.4, 0.8, 0.8]
    assert {it.max_tokens for it in engine.samplings} == {9}
    assert [len(messages) for messages in engine.requests] == [1, 4, 4, 4]
    whole = [SamplingParams(seed=1), {"seed": 2}]
    with fake_engine("judge", ["a", '{"n": 4}']) as engine:
        asking(output_model=Score, sampling=whole, threaded=threaded).run_one({})
    assert [it.seed for it in engine.samplings] == [1, 2]
    with fake_engine("judge", ["a"]) as engine, pytest.raises(StructuredOutputError):
        asking(output_model=Score, reasks=0, threaded=threaded).run_one({})
    assert len(engine.requests) == 1


def test_the_tries_of_a_call_count_for_its_row_also_on_resume(tmp_path: Path) -> None:
    async def both(row: Row, calls: Calls) -> Row:
        first = await calls["judge"].ask("first", output_model=Score, reasks=2)
        second = await calls["judge"].ask("second", output_model=Score, reasks=5)
        return Row(n=first.n + second.n)

    chain = Chain(name="c", steps=apply(both, engines=["judge"]))
    with fake_engine("judge", ["a", "b", '{"n": 1}', *"cdefgh"]) as engine:
        run = chain.run([{}], output_dir=tmp_path, max_requests_per_row=5)
    assert len(engine.requests) == 5
    assert "has taken 5 requests" in str(run.results[0].error)
    (lines,) = [file.read_text().splitlines() for file in tmp_path.glob("steps/both.calls/*")]
    assert [json.loads(line).get("requests") for line in lines] == [3, 2]


def test_each_call_begins_with_the_first_sampling_and_a_replay_finds_it(tmp_path: Path) -> None:
    async def twice(row: Row, calls: Calls) -> Row:
        asked = [
            await calls["judge"].ask("?", output_model=Score, sampling={"temperature": [0.1, 0.9]})
            for _ in range(2)
        ]
        return Row(n=sum(it.n for it in asked))

    chain = Chain(name="c", steps=apply(twice, engines=["judge"]))
    with fake_engine("judge", ["a", '{"n": 1}', '{"n": 2}']) as engine:
        first = chain.run([{}], output_dir=tmp_path)
        assert [it.temperature for it in engine.samplings] == [0.1, 0.9, 0.1]
        for file in tmp_path.glob("steps/twice/*"):
            file.write_text("")
        manifest = json.loads((tmp_path / "run.json").read_text())
        (tmp_path / "run.json").write_text(json.dumps(manifest | {"status": "running"}))
        again = chain.run([{}], output_dir=tmp_path, resume=True)
    assert len(engine.requests) == 3
    assert first.results[0].value == again.results[0].value == Row(n=3)


class Case(BaseModel):
    turns: list[dict[str, str]]


@pytest.mark.parametrize(("role", "text"), [("assistant", ""), ("user", " "), ("system", "")])
def test_an_empty_turn_of_a_history_fails_its_row_alone(role: str, text: str) -> None:
    step = Step(
        id="s",
        input_model=Case,
        engine_name="judge",
        messages=[{"history": "turns"}, {"role": "user", "content": "And?"}],
        constant_prompt=True,
    )
    rows = [{"turns": [USER, {"role": role, "content": text}]}, {"turns": [USER, ASSISTANT]}]
    with fake_engine("judge") as engine:
        bad, good = Chain(name="c", steps=step).run(rows).results
    assert f"turns[1]: the turn of the {role} is empty" in str(bad.error)
    assert good.ok
    assert len(engine.requests) == 1


def test_an_assistants_turn_that_a_row_leaves_empty_fails_its_row() -> None:
    turns = [USER, ASSISTANT | {"content": "{{ n if n else '' }}"}, USER]
    step = Step(id="s", input_model=Row, engine_name="judge", messages=turns)
    with fake_engine("judge"):
        bad, good = Chain(name="c", steps=step).run([{"n": 0}, {"n": 1}]).results
    assert "messages[1]: the turn of the assistant is empty" in str(bad.error)
    assert good.ok

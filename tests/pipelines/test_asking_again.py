"""How often a step puts an invalid answer back to the model, and with which sampling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chainette import (
    Branch,
    Calls,
    Chain,
    Group,
    SamplingParams,
    Step,
    apply,
    load_chain,
    reduce,
    register_engine,
    repeat,
)
from chainette.engine.client.asking import Asks
from chainette.engine.client.sync import run_sync
from chainette.engine.sampling import by_attempt
from chainette.errors import (
    ChainError,
    EngineError,
    OutputDirError,
    OutputTruncatedError,
    StructuredOutputError,
)
from chainette.pipeline.graph import graph
from chainette.testing.fake_engine import FakeClient, fake_engine
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from chainette.types import Completion, LLMOutput
from pydantic import BaseModel


class Row(BaseModel):
    word: str


class Count(BaseModel):
    letters: int


GOOD = {"letters": 4}
ROW = {"word": "door"}


def count(id: str = "count", **fields: Any) -> Step[Row, Count]:
    fields = {"output_model": Count, "user_prompt": "Count {{ word }}", **fields}
    return Step(id=id, input_model=Row, engine_name="e", **fields)


def chain(**fields: Any) -> Chain[Row, Count]:
    return Chain(name="c", steps=count(**fields))


def temperatures(engine: FakeClient) -> list[float | None]:
    return [it.temperature for it in engine.samplings]


@pytest.mark.parametrize(
    ("fields", "asked"),
    [({}, 2), ({"reasks": 1}, 2), ({"reasks": 0}, 1), ({"reasks": 3}, 4), ({"reasks": 9}, 10)],
)
def test_an_invalid_answer_is_put_back_as_often_as_the_step_says(
    fields: dict[str, Any], asked: int
) -> None:
    with fake_engine("e", ["no"] * (asked - 1) + [GOOD]) as engine:
        assert chain(**fields).run_one(ROW) == Count(letters=4)
        assert len(engine.requests) == asked
    with fake_engine("e", [f"no {n}" for n in range(asked)] + [GOOD]) as engine:
        with pytest.raises(StructuredOutputError) as caught:
            chain(**fields).run_one(ROW)
        assert len(engine.requests) == asked
    assert caught.value.raw_text == f"no {asked - 1}"


def test_the_conversation_has_the_last_answer_alone() -> None:
    with fake_engine("e", ["one", '{"letters": "two"}', "three", GOOD]) as engine:
        chain(reasks=3, system_prompt="You count.").run_one(ROW)
    for request, echo in zip(
        engine.requests[1:], ["one", '{"letters": "two"}', "three"], strict=True
    ):
        assert [it["role"] for it in request] == ["system", "user", "assistant", "user"]
        assert request[2]["content"] == echo
        assert request[0]["content"].count("Respond ONLY with JSON") == 1
    assert "letters" in engine.requests[2][3]["content"]


def test_what_cannot_be_mended_is_not_asked_again() -> None:
    with fake_engine("e", ["no", EngineError("broken"), GOOD]) as engine:
        with pytest.raises(StructuredOutputError):  # the last answer that there was
            chain(reasks=5).run_one(ROW)
        assert len(engine.requests) == 2


def test_one_retry_is_told_and_counted_for_each(tmp_path: Path) -> None:
    with fake_engine("e", ["no", "no", GOOD]):
        chain(reasks=2).run([ROW], output_dir=tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["retries"] == {"count": 2}


FORMS: list[tuple[Any, list[float | None]]] = [
    ({"temperature": [0, 0.4, 0.8]}, [0, 0.4, 0.8, 0.8, 0.8]),
    ({"temperature": (0, 0.4)}, [0, 0.4, 0.4, 0.4, 0.4]),
    ({"temperature": [0, None]}, [0, None, None, None, None]),
    ({"temperature": [0.5]}, [0.5] * 5),
    ({"temperature": 0.5}, [0.5] * 5),
    ([SamplingParams(temperature=0), SamplingParams(temperature=1)], [0, 1, 1, 1, 1]),
    ([{"temperature": 0}, SamplingParams(temperature=1), {}], [0, 1, None, None, None]),
    ([SamplingParams(temperature=0.1)], [0.1] * 5),
]


@pytest.mark.parametrize(("sampling", "sent"), FORMS, ids=str)
def test_each_attempt_has_its_own_sampling_and_the_last_repeats(
    sampling: Any, sent: list[float | None]
) -> None:
    with fake_engine("e", ["no"] * 4 + [GOOD]) as engine:
        chain(reasks=4, sampling=sampling).run_one(ROW)
    assert temperatures(engine) == sent


def test_lists_of_several_parameters_go_on_side_by_side() -> None:
    sampling = {"temperature": [0, 1], "seed": [1, 2, 3], "top_p": 0.5, "stop": ["A", "B"]}
    with fake_engine("e", ["no"] * 3 + [GOOD]) as engine:
        chain(reasks=3, sampling=sampling).run_one(ROW)
    assert [(it.temperature, it.seed, it.top_p, it.stop) for it in engine.samplings] == [
        (0, 1, 0.5, ["A", "B"]),
        (1, 2, 0.5, ["A", "B"]),
        (1, 3, 0.5, ["A", "B"]),
        (1, 3, 0.5, ["A", "B"]),
    ]


def test_every_row_and_item_begins_with_the_first_entry() -> None:
    def twice(row: Row) -> list[Row]:
        return [row, row]

    steps = [apply(twice), count(sampling={"temperature": [0, 1]})]
    with fake_engine("e", ["no", GOOD] * 4, max_concurrency=1) as engine:
        run = Chain(name="c", steps=steps).run([ROW, ROW])
    assert run.counts.ok == 2
    assert sorted(map(float, temperatures(engine))) == [0, 0, 0, 0, 1, 1, 1, 1]  # type: ignore[arg-type]


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"reasks": -1}, "step 'count': reasks is -1; give the number of times that"),
    ({"reasks": 1.5}, "reasks is 1.5"),
    ({"reasks": True}, "reasks is True"),
    ({"reasks": "3"}, "reasks is '3'"),
    ({"reasks": None}, "reasks is None"),
    ({"sampling": {"temperature": []}}, "sampling: temperature is an empty list; give a value"),
    ({"sampling": []}, "step 'count', sampling: the list is empty"),
    ({"sampling": {"temperature": [0, -1]}}, "attempt 2: SamplingParams: temperature: expected"),
    ({"sampling": {"temperature": [0, "hot"]}}, "attempt 2: SamplingParams: temperature: expected"),
    ({"sampling": {"temperature": [0, [1]]}}, "attempt 2: SamplingParams: temperature: expected"),
    ({"sampling": {"temprature": [0, 1]}}, "(did you mean 'temperature'?)"),
    ({"sampling": [{"temperature": [0, 1]}]}, "sampling: SamplingParams: temperature: expected"),
    ({"sampling": [{}, 0.5]}, "step 'count': sampling, attempt 2 is a float; give SamplingParams"),
    ({"sampling": [{}, {"n": 2}]}, "n=2 would pay for 2 completions"),
    ({"sampling": {"n": [1, 2]}}, "n: expected a whole number"),
]


@pytest.mark.parametrize(("fields", "message"), MISTAKES)
def test_mistakes_are_found_when_the_step_is_built(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ChainError) as caught:
        count(**fields)
    assert message in str(caught.value)


YAML = """
name: c
models:
  Row: {{word: str}}
  Count: {{letters: int}}
steps:
  - id: count
    input_model: Row
    output_model: Count
    engine_name: e
    user_prompt: "Count {{{{ word }}}}"
    {0}
"""


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        ("emoji: x", [None, None, None]),
        ("sampling: {temperature: [0, 0.5]}", [0, 0.5, 0.5]),
        ("sampling: [{temperature: 0}, {temperature: 1, stop: END}]", [0, 1, 1]),
    ],
)
def test_yaml_says_the_same(line: str, sent: list[float | None], tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(YAML.format(line + "\n    reasks: 2"))
    with fake_engine("e", ["no", "no", GOOD]) as engine:
        load_chain(str(file)).run_one(ROW)
    assert temperatures(engine) == sent


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("reasks: -1", "chain.yaml:12: steps.0.reasks: expected a number of at least 0"),
        ("reasks: many", "chain.yaml:12: steps.0.reasks: expected a whole number"),
        ("sampling: {temperature: [0, hot]}", "steps.0.sampling.temperature.1: expected a number"),
        ("sampling: {temperature: [0, -1]}", "sampling.temperature.1: expected a number of at"),
        (
            "sampling: {temperature: []}",
            "steps.0.sampling.temperature: expected a list of at least",
        ),
        ("sampling: []", "steps.0.sampling: expected a list of at least 1"),
        (
            "sampling: [{temprature: 1}]",
            "chain.yaml:12: unknown key 'temprature' (did you mean 'temperature'?)",
        ),
        ("sampling: {temperature: hot}", "steps.0.sampling.temperature: expected a number"),
    ],
)
def test_mistakes_in_yaml_have_their_place(line: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(YAML.format(line))
    with pytest.raises(ChainError) as caught:
        load_chain(str(file))
    assert message in str(caught.value)


def lines(folder: Path, id: str = "count") -> list[dict[str, Any]]:
    text = (folder / f"steps/{id}/000000.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_says_how_many_requests_its_answer_took(tmp_path: Path) -> None:
    with fake_engine("e", ["no", "no", GOOD, GOOD], max_concurrency=1):
        chain(reasks=2).run([ROW, ROW], output_dir=tmp_path)
    assert [line.get("requests") for line in lines(tmp_path)] == [3, None]


def test_more_tries_need_no_redo(tmp_path: Path) -> None:
    with fake_engine("e", ["no", "no", GOOD], max_concurrency=1):
        first = chain().run([ROW, ROW], output_dir=tmp_path)
    assert (first.counts.ok, first.counts.failed) == (1, 1)
    with fake_engine("e", ["no"] * 3 + [GOOD]) as engine:
        again = chain(reasks=3).run([ROW, ROW], output_dir=tmp_path, retry_errors=True)
    assert (again.counts.ok, len(engine.requests)) == (2, 4)


def test_another_sampling_of_a_later_attempt_is_a_change(tmp_path: Path) -> None:
    with fake_engine("e", [GOOD]):
        chain(sampling={"temperature": [0, 0.4]}).run([ROW], output_dir=tmp_path)
    with fake_engine("e", [GOOD]), pytest.raises(OutputDirError, match="sampling"):
        chain(sampling={"temperature": [0, 0.8]}).run([ROW], output_dir=tmp_path, resume=True)


def test_the_cache_knows_the_sampling_of_later_attempts(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    warm, hot = ({"temperature": [0, it]} for it in (0.4, 1))
    with fake_engine("e", ["no", GOOD, "no", GOOD]) as engine:
        for sampling, asked in ((warm, 2), (warm, 2), (hot, 4)):
            folder = tmp_path / "out"
            chain(sampling=sampling).run(
                [ROW], cache=tmp_path / "c", output_dir=folder, overwrite=True
            )
            assert len(engine.requests) == asked
            assert lines(folder)[0]["requests"] == 2
    with fake_engine("e", ["no", {"letters": 1}, "no", {"letters": 2}], max_concurrency=1):
        run = chain(sampling=warm, system_prompt="2").run([ROW, ROW], cache=tmp_path / "c")
    assert sorted(it.unwrap().letters for it in run.results) == [1, 2]


def test_the_graph_shows_what_is_not_the_default() -> None:
    (plain,) = graph(chain())["nodes"]
    assert "reasks" not in plain
    assert plain["sampling"] == {"n": 1}
    (node,) = graph(chain(reasks=3, sampling={"temperature": [0, 1]}))["nodes"]
    assert node["reasks"] == 3
    assert node["sampling"] == [{"temperature": 0.0, "n": 1}, {"temperature": 1.0, "n": 1}]


@pytest.mark.parametrize(
    ("first", "now", "later"),
    [(0, 0.0, [0.4, 0.8]), (1, 0.4, [0.8]), (2, 0.8, []), (7, 0.8, [])],
)
def test_attempts_before_the_first_request_count(
    first: int, now: float, later: list[float]
) -> None:
    schedule = by_attempt("s", {"temperature": [0, 0.4, 0.8]})
    asks = Asks(2, schedule, first)
    sampling = asks.at(0)
    assert sampling is not None
    assert sampling.temperature == now
    assert [it.temperature for it in asks.later] == later
    with fake_engine("e", ["no", "no", GOOD]) as engine:
        output = run_sync(lambda: engine.complete("Hi", sampling, output_model=Count, asks=asks))
    assert output.requests == 3
    assert temperatures(engine) == [now, *later, *[0.8] * (2 - len(later))]


# Answers that were cut.


def cut(text: str = '{"letters": 4444') -> LLMOutput:
    return LLMOutput([Completion(text, finish_reason="length")])


CUT: dict[str, tuple[dict[str, Any], list[float | None]]] = {
    "another temperature": ({"temperature": [0.1, 0.2, 0.8]}, [0.1, 0.2, 0.8]),
    "more tokens": ({"max_tokens": [5, 10, 20]}, [5, 10, 20]),
    "no limit": ({"max_tokens": [5, None]}, [5, None]),
    "another seed": ({"seed": [1, 2]}, [1, 2]),
    "the same until the last": ({"temperature": [0, 0, 0.5]}, [0, 0.5]),
    "one for all": ({"temperature": 0.5}, [0.5]),
    "a list of one": ({"temperature": [0.5]}, [0.5]),
    "all the same": ({"temperature": [0.5, 0.5]}, [0.5]),
    "fewer tokens": ({"max_tokens": [20, 10]}, [20]),
    "a limit where there was none": ({"max_tokens": [None, 10]}, [None]),
}


@pytest.mark.parametrize("output_model", [Count, str], ids=["typed", "text"])
@pytest.mark.parametrize("name", CUT)
def test_a_cut_answer_is_asked_for_again_where_the_sampling_differs(
    name: str, output_model: Any
) -> None:
    sampling, sent = CUT[name]
    (parameter,) = sampling
    asking = chain(reasks=2, sampling=sampling, output_model=output_model)
    cuts = [cut()] * len(sent)
    with fake_engine("e", cuts) as engine, pytest.raises(OutputTruncatedError, match="output cut"):
        asking.run_one(ROW)
    assert [getattr(it, parameter) for it in engine.samplings] == sent
    assert all(request == engine.requests[0] for request in engine.requests)


@pytest.mark.parametrize("sampling", [{"temperature": [0, 1, 2]}, [{}, {"seed": 1}, {"seed": 2}]])
def test_values_that_could_never_be_used_are_refused_when_the_chain_is_built(sampling: Any) -> None:
    def told(*steps: Any, says: str) -> None:
        with pytest.raises(ChainError) as caught:
            Chain(name="c", steps=list(steps))
        assert says in str(caught.value)

    chain(sampling=sampling, reasks=2)
    with pytest.raises(ChainError, match="step 'count', sampling: there are values for 3 attempts"):
        chain(sampling=sampling)
    with pytest.raises(
        ChainError, match=r"at most 1 request for an answer: reasks=0; .* give reasks=2"
    ):
        chain(sampling=sampling, reasks=0)
    judged = {"until": "true", "id": "loop"}
    Chain(name="c", steps=repeat(count(sampling=sampling, reasks=0), max_rounds=3, **judged))
    told(
        repeat(count(sampling=sampling, reasks=0), max_rounds=2, **judged),
        says="at most 2 requests for an item: 2 rounds with reasks=0; the last values are never "
        "used: give reasks=1, or fewer values",
    )
    told(Branch("b", count(sampling=sampling)), says="give reasks=2")


def test_the_parts_of_a_group_begin_with_the_first_sampling(tmp_path: Path) -> None:
    step = Step(
        id="count",
        input_model=Group[Row],
        output_model=str,
        engine_name="e",
        user_prompt="{{ so_far }} {{ items }}",
        sampling={"temperature": [0, 1]},
    )
    parts = Chain(name="c", steps=reduce(step, fold=1))
    with fake_engine("e", ["a", "", "b", "c"]) as engine:
        parts.run([ROW] * 3, output_dir=tmp_path)
    assert temperatures(engine) == [0, 0, 1, 0]


def test_cut_and_invalid_answers_take_turns() -> None:
    sampling = {"temperature": [0.1, 0.2, 0.3, 0.4]}
    with fake_engine("e", [cut(), "no", cut(), GOOD]) as engine:
        assert chain(reasks=3, sampling=sampling).run_one(ROW) == Count(letters=4)
    assert temperatures(engine) == [0.1, 0.2, 0.3, 0.4]
    first, second, third, fourth = engine.requests
    assert first == second == fourth
    assert [it["role"] for it in third] == ["system", "user", "assistant", "user"]
    assert third[2]["content"] == "no"


def test_a_cut_answer_is_not_asked_for_again_without_tries_or_a_limit_of_the_row() -> None:
    sampling = {"temperature": [0.1, 0.2]}
    with fake_engine("e", [cut()]), pytest.raises(OutputTruncatedError):
        chain(reasks=0, sampling={"temperature": 0.1}).run_one(ROW)
    with fake_engine("e", [cut()]) as engine:
        run = chain(sampling=sampling).run([ROW], max_requests_per_row=1)
    assert "the last answer was cut, and row 0 has taken 1 request" in str(run.results[0].error)
    assert len(engine.requests) == 1


def test_nothing_differs_where_the_backend_does_not_know_the_parameter() -> None:
    answer = Reply(text="unfin", finish_reason="length")
    with FakeOpenAI({"": answer}) as server:
        register_engine("e", backend="openai", endpoint=server.endpoint, model="m")
        with pytest.raises(OutputTruncatedError):
            chain(sampling={"top_k": [1, 2]}, output_model=str).run_one(ROW)
    assert len(server.requests) == 1


def test_a_call_of_a_function_asks_again_for_a_cut_answer() -> None:
    async def ask(row: Row, calls: Calls) -> Row:
        sampling = {"max_tokens": [5, 10], "temperature": 0.5}
        return Row(word=await calls["e"].ask(row.word, sampling=sampling))

    with fake_engine("e", [cut("fin"), "fine"]) as engine:
        assert Chain(name="c", steps=apply(ask, engines=["e"])).run_one(ROW) == Row(word="fine")
    assert [it.max_tokens for it in engine.samplings] == [5, 10]


def test_the_message_of_a_cut_answer_says_how_to_ask_for_more() -> None:
    with fake_engine("e", [cut()]), pytest.raises(OutputTruncatedError) as caught:
        chain(sampling={"max_tokens": 200}).run_one(ROW)
    assert 'sampling={"max_tokens": [200, 400]}' in str(caught.value)

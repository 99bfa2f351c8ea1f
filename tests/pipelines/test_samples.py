"""Steps that take several answers: `samples=`, its requests, lines, costs and failures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from chainette import (
    Branch,
    Chain,
    Code,
    Step,
    apply,
    pipe,
    register_engine,
    repeat,
    split,
    vote,
)
from chainette.errors import ChainError, RequestError, ServerError
from chainette.folder.lines import read_file, read_lines
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.registry import engines as registry
from chainette.testing import fake_engine, faults
from chainette.testing.servers import FakeOpenAI
from pydantic import BaseModel, field_validator


class Row(BaseModel):
    text: str


class Label(BaseModel):
    label: str


def step(id: str = "label", *, samples: Any = 3, **more: Any) -> Step[Any, Any]:
    fields = {"input_model": Row, "output_model": Label, "user_prompt": "{{ chain_input.text }}"}
    return Step(id=id, engine_name="e", samples=samples, **{**fields, **more})


def chain_of(*nodes: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=pipe(*nodes))


def in_turn(*answers: Any) -> Callable[[Any], Any]:
    left = iter(answers)
    return lambda messages: next(left)


def labels(*names: str) -> list[Label]:
    return [Label(label=name) for name in names]


A, B, C = ({"label": name} for name in "abc")
BAD = "no JSON"
ROWS = [{"text": "x"}]


def test_the_output_is_a_list_of_answers_from_one_request() -> None:
    with fake_engine("e", in_turn(A, B, A)) as engine:
        (found,) = chain_of(step(), vote("label")).run(ROWS).results
    assert found["label"] == labels("a", "b", "a")
    assert found.value == Label(label="a")
    assert [it.n for it in engine.samplings] == [3]


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize(
    ("model", "answer", "value"),
    [
        (str, " text ", "text"),
        (None, "text", "text"),
        (Code("python"), "```python\nx = 1\n```", "x = 1"),
        (Literal["a", "b"], '"b"', "b"),
        (list[Label], [A], labels("a")),
    ],
)
def test_answers_are_of_any_type(
    model: Any, answer: Any, value: Any, samples: int, tmp_path: Path
) -> None:
    chain = chain_of(step(output_model=model, samples=samples))
    with fake_engine("e", lambda messages: answer):
        (memory,) = chain.run(ROWS).results
        chain.run(ROWS, output_dir=tmp_path / "out")
        (stored,) = chain.run(ROWS, output_dir=tmp_path / "out", resume=True).results
        (tmp_path / "out/run.json").write_text(
            (tmp_path / "out/run.json").read_text().replace('"finished"', '"running"')
        )
        (resumed,) = chain.run(ROWS, output_dir=tmp_path / "out", resume=True).results
    assert memory.value == stored.value == resumed.value == [value] * samples


def test_an_invalid_answer_does_not_waste_the_others() -> None:
    with fake_engine("e", in_turn(A, BAD, B, C)) as engine:
        (found,) = chain_of(step(reasks=1)).run(ROWS).results
    assert found.value == labels("a", "c", "b")
    assert [it.n for it in engine.samplings] == [3, 1]
    assert engine.requests[1][-2] == {"role": "assistant", "content": BAD}


def test_what_fails_is_recorded_and_tried_again_alone(tmp_path: Path) -> None:
    chain, out = chain_of(step(reasks=0), vote("label")), tmp_path / "out"
    with fake_engine("e", in_turn(A, BAD, B, B)) as engine:
        run = chain.run(ROWS, output_dir=out)
        (found,) = run.results
        assert (found.state, found["label"]) == ("partial", labels("a", "b"))
        assert found["vote"].agreement == 0.5
        assert run.counts.partial == 1
        (error,) = read_file(out / "errors.jsonl")
        assert (error["node_id"], error["sample"], error["raw_text"]) == ("label", 1, BAD)
        (resumed,) = chain.run(ROWS, output_dir=out, resume=True).results
        assert (resumed.state, resumed["label"]) == ("partial", labels("a", "b"))
        assert len([*read_file(out / "errors.jsonl")]) == 1
        (again,) = chain.run(ROWS, output_dir=out, retry_errors=True).results
    assert (again.state, again["label"]) == ("ok", labels("a", "b", "b"))
    assert again.value == Label(label="b")
    assert [it.n for it in engine.samplings] == [3, 1]
    assert [*read_file(out / "errors.jsonl")] == []


class Short(BaseModel):
    label: str

    @field_validator("label")
    @classmethod
    def check(cls, label: str) -> str:
        if len(label) > 1:
            raise ValueError("too long")
        return label


class Longer(BaseModel):
    label: str

    @field_validator("label")
    @classmethod
    def check(cls, label: str) -> str:
        if len(label) > 3:
            raise ValueError("too long")
        return label


Longer.__name__, Longer.__qualname__ = "Short", "Short"


def test_where_a_validator_changed_samples_that_were_not_valid_are_asked_for_again(
    tmp_path: Path,
) -> None:
    rows = [{"text": it} for it in ("one fails", "all fail", "none fails")]
    words = iter(["a", "bb", "c", "dd", "ee", "ff", "g", "h", "i"])
    again = iter(["bbb", "ddd", "eee", "fff"])
    with fake_engine("e", lambda messages: {"label": next(words)}, max_concurrency=1):
        first = chain_of(step(output_model=Short, reasks=0)).run(rows, output_dir=tmp_path)
    assert [it.state for it in first.results] == ["partial", "failed", "ok"]
    with fake_engine("e", lambda messages: {"label": next(again)}, max_concurrency=1) as engine:
        chain = chain_of(step(output_model=Longer, reasks=0))
        run = chain.run(rows, output_dir=tmp_path, resume=True)
        found = [[it.label for it in result.value or ()] for result in run.results]
    assert found == [["a", "bbb", "c"], ["ddd", "eee", "fff"], ["g", "h", "i"]]
    assert sorted(it.n for it in engine.samplings) == [1, 3]
    assert [*read_file(tmp_path / "errors.jsonl")] == []


def test_a_retry_that_fails_again_can_be_tried_again(tmp_path: Path) -> None:
    chain, out = chain_of(step(reasks=0)), tmp_path / "out"
    with fake_engine("e", in_turn(A, BAD, BAD, BAD, B, BAD, C)) as engine:
        states = [chain.run(ROWS, output_dir=out).results[0].state]
        for _ in range(3):
            (found,) = chain.run(ROWS, output_dir=out, retry_errors=True).results
            states.append(found.state)
    assert states == ["partial", "partial", "partial", "ok"]
    assert found.value == labels("a", "c", "b")
    assert [it.n for it in engine.samplings] == [3, 2, 1, 1]


def test_a_step_fails_if_all_of_its_answers_do(tmp_path: Path) -> None:
    chain, out = chain_of(step(reasks=0)), tmp_path / "out"
    with fake_engine("e", in_turn(BAD, BAD, BAD, A, B, C)):
        (found,) = chain.run(ROWS, output_dir=out).results
        assert (found.state, found.value) == ("failed", None)
        (error,) = read_file(out / "errors.jsonl")
        assert "sample" not in error
        (again,) = chain.run(ROWS, output_dir=out, retry_errors=True).results
    assert again.value == labels("a", "b", "c")


@pytest.mark.parametrize(
    ("options", "state"), [({}, "partial"), ({"on_error": "none"}, "ok"), ({"default": []}, "ok")]
)
def test_a_tolerated_failure_leaves_the_row_ok(
    options: dict[str, Any], state: str, tmp_path: Path
) -> None:
    chain = chain_of(step(reasks=0, **options), apply(len, id="count", output_model=int))
    with fake_engine("e", in_turn(A, BAD, B)):
        run = chain.run(ROWS, output_dir=tmp_path / "out")
    assert [(it.state, it.value) for it in run.results] == [(state, 2)]
    assert run.counts.tolerated == (state == "ok")
    (error,) = read_file(tmp_path / "out/errors.jsonl")
    assert error.get("tolerated", False) is (state == "ok")


def test_a_failure_in_a_branch_does_not_keep_it_from_being_joined() -> None:
    def join(row: Row, names: Any) -> int:
        return len(names["seen"])

    chain = chain_of(Branch("beside", step(reasks=0)).join("seen"), apply(join))
    with fake_engine("e", in_turn(A, BAD, B)):
        (found,) = chain.run(ROWS).results
    assert (found.state, found.value) == ("partial", 2)


def test_samples_are_split_and_repeated() -> None:
    rounds = repeat(step(samples=2), until="label | length > 1", id="again")
    with fake_engine("e", in_turn(A, B, C, C)) as engine:
        chain = chain_of(rounds, split(), step("second", input_model=Label, samples=None))
        (found,) = chain.run(ROWS).results
    assert found.value == labels("c", "c")
    assert len(found.items) == 2
    assert len(engine.requests) == 3


def test_the_costs_of_answers_are_counted_once(tmp_path: Path) -> None:
    chain, out = chain_of(step(reasks=1)), tmp_path / "out"
    price = {"input": 1, "output": 2}
    with fake_engine("e", in_turn(A, BAD, B, C), price=price) as engine:
        run = chain.run(ROWS, output_dir=out)
        (line,) = read_lines(out / "steps/label")
        assert (run.usage["label"].as_dict(), line["calls"]) == (line["usage"], 3)
        assert float(run.cost or 0) == pytest.approx(line["cost"])
        calls = [*read_lines(out / "steps/label.calls")]
        assert sum(it["cost"] for it in calls) == pytest.approx(line["cost"])
        assert sum(it.get("requests", 1) for it in calls) == 2
        (out / "run.json").write_text((out / "run.json").read_text().replace("finished", "running"))
        again = chain.run(ROWS, output_dir=out, resume=True)
    assert (again.usage, again.cost) == (run.usage, run.cost)
    assert len(engine.requests) == 2


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sampling": {"temperature": 0}}, "samples=3 at temperature 0 would pay for 3 equal answers"),
    ({"sampling": {"temperature": [0, 0.5]}}, "at temperature 0"),
    ({"samples": 0}, "samples is 0; give a number of answers, from 1"),
    ({"samples": True}, "samples is True"),
    ({"samples": "3"}, "samples is '3'"),
    ({"sampling": {"n": 2}}, "give the step samples=2"),
    ({"keep_reasoning": True}, "keep_reasoning has one text"),
]


@pytest.mark.parametrize(("fields", "message"), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ChainError, match=message):
        step(**fields)


def test_one_answer_at_temperature_0_is_a_list_of_one() -> None:
    with fake_engine("e", lambda messages: A):
        (found,) = chain_of(step(samples=1, sampling={"temperature": 0})).run(ROWS).results
    assert found.value == labels("a")


def test_each_sample_has_its_own_seed() -> None:
    sampling = {"seed": 7, "temperature": [0.5, 0.9]}
    with fake_engine("e", in_turn(A, BAD, C, B)) as engine:
        (found,) = chain_of(step(sampling=sampling)).run(ROWS).results
    assert found.ok
    sent = Counter((it.seed, it.temperature, it.n) for it in engine.samplings)
    assert sent == Counter([(7, 0.5, 1), (8, 0.5, 1), (9, 0.5, 1), (8, 0.9, 1)])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOpenAI]:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})
    with FakeOpenAI() as server:
        register_engine(
            "e", backend="openai", model="m", endpoint=server.endpoint, max_retries=0,
        )  # fmt: skip
        yield server


def test_a_server_is_asked_once_for_all_of_them(server: FakeOpenAI) -> None:
    server.set_answers(in_turn(A, B, C))
    (found,) = chain_of(step()).run(ROWS).results
    assert found.value == labels("a", "b", "c")
    assert [it.sampling.get("n") for it in server.requests] == [3]


def test_a_server_that_refuses_n_is_asked_one_by_one(server: FakeOpenAI) -> None:
    def refuse(request: Any) -> Any:
        return faults.status(400, "n must be 1") if request.sampling.get("n") else None

    server.refuse = refuse  # type: ignore[method-assign]
    server.set_answers(lambda messages: A)
    results = chain_of(step()).run(ROWS * 3, max_errors=1).results
    assert [it.value for it in results] == [labels("a", "a", "a")] * 3
    counts = Counter(it.sampling.get("n") for it in server.requests)
    assert counts[None] == 9
    assert counts[3] <= 3


def test_a_server_that_passes_over_n_is_asked_for_the_rest(server: FakeOpenAI) -> None:
    write = server.write

    def one_choice(request: Any, answer: Any) -> Any:
        body = write(request, answer)
        return body | {"choices": body["choices"][:1]}

    server.write = one_choice  # type: ignore[method-assign]
    server.set_answers(in_turn(A, "-", "-", B, C))
    (found,) = chain_of(step()).run(ROWS).results
    assert sorted(it.label for it in found.unwrap()) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("problem", "states"),
    [(RequestError("refused"), ["failed"]), (ServerError("down"), ["failed"])],
)
def test_a_request_that_fails_fails_all(problem: Exception, states: list[str]) -> None:
    with fake_engine("e", lambda messages: problem) as engine:
        run = chain_of(step()).run(ROWS)
    assert [it.state for it in run.results] == states
    assert len(engine.requests) <= 2


def test_a_run_that_was_cut_asks_for_what_is_missing(tmp_path: Path) -> None:
    chain, out = chain_of(step(), vote("label")), tmp_path / "out"
    with fake_engine("e", in_turn(A, B, B)):
        whole = chain.run(ROWS, output_dir=out).results[0]
    for kept in range(4):
        calls = out / "steps/label.calls/000000.jsonl"
        lines = calls.read_bytes().splitlines(keepends=True)
        calls.write_bytes(b"".join(lines[:kept]))
        for gone in ("steps/label", "steps/vote", "flattened"):
            (out / gone / "000000.jsonl").write_bytes(b"")
        (out / "run.json").write_text((out / "run.json").read_text().replace("finished", "running"))
        with fake_engine("e", in_turn(*[A, B, B][kept:])) as engine:
            (found,) = chain.run(ROWS, output_dir=out, resume=True).results
        assert found == whole
        assert [it.n for it in engine.samplings] == ([] if kept == 3 else [3 - kept])


def test_samples_of_one_prompt_are_cached_apart(server: FakeOpenAI, tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    names = iter(range(100))
    server.set_answers(lambda messages: {"label": f"{next(names)}"})
    for sampling in ({}, {"seed": 3}, {"temperature": [0.5, 0.6]}):
        chain = chain_of(step(sampling=sampling))
        first = [it.value for it in chain.run(ROWS * 2, cache=tmp_path).results]
        before = len(server.requests)
        again = chain.run(ROWS * 2, cache=tmp_path)
        assert sorted(map(str, first)) == sorted(str(it.value) for it in again.results)
        assert len({it.label for value in first for it in value or []}) == (
            3 if "seed" in sampling else 6
        )
        assert len(server.requests) == before
        assert again.cost == 0


def test_another_number_of_samples_is_another_step(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with fake_engine("e", lambda messages: A):
        chain_of(step()).run(ROWS, output_dir=out)
        with pytest.raises(Exception, match=r'redo=\["label"\]'):
            chain_of(step(samples=5)).run(ROWS, output_dir=out, resume=True)
        (found,) = chain_of(step(samples=5)).run(ROWS, output_dir=out, redo=["label"]).results
    assert len(found.unwrap()) == 5


def test_a_limit_of_requests_keeps_what_there_is() -> None:
    chain = chain_of(step(sampling={"seed": 1}))
    with fake_engine("e", lambda messages: A) as engine:
        (found,) = chain.run(ROWS, max_requests_per_row=2).results
    assert (found.state, found.value) == ("partial", labels("a", "a"))
    assert len(engine.requests) == 2


def test_a_single_row_has_several_answers() -> None:
    with fake_engine("e", in_turn(A, B, B)):
        assert chain_of(step(), vote("label")).run_one(ROWS[0]) == Label(label="b")


def test_yaml_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "name: c\nmodels: {Row: {text: str}}\nsteps:\n"
        "- {id: a, input_model: Row, engine_name: e, user_prompt: '{{ text }}', samples: 3}\n"
        "- {vote: null}\n"
    )
    chain = load_yaml_chain(tmp_path / "c.yaml").chain
    assert json.dumps([node.output_model for node in chain.nodes.values()], default=repr)
    with fake_engine("e", in_turn("x", "y", "y")):
        assert chain.run_one({"text": "t"}) == "y"


def test_yaml_has_prices_formats_texts_and_lists(server: FakeOpenAI, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "c.yaml").write_text(
        f"""
name: c
engines:
  - {{name: priced, backend: openai, model: m, endpoint: "{server.endpoint}",
     price: {{input: 1000, output: 2000}}}}
run: {{fmt: parquet, output_dir: out}}
models:
  Row: {{text: str, tags: {{items: str}}}}
steps:
  - {{split: tags, input_model: Row, id: tag}}
  - {{id: said, input_model: str, output_model: str, engine_name: priced, samples: 3,
     user_prompt: "{{{{ tag }}}}"}}
  - {{vote: null}}
"""
    )
    loaded = load_yaml_chain(tmp_path / "c.yaml")
    server.set_answers(in_turn("a", "b", "b"))
    run = loaded.chain.run([{"text": "t", "tags": ["x"]}], **loaded.options)
    assert run.results[0].value == ["b"]
    assert float(run.cost or 0) == pytest.approx(run.usage["said"].prompt_tokens / 1000 + 3 / 500)
    assert (tmp_path / "out/flattened.parquet").exists()
    row = run.to_arrow().to_pylist()[0]
    assert (row["tag"], row["said"], row["vote.value"]) == ("x", ["a", "b", "b"], "b")

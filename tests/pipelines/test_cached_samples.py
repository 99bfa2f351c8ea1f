"""Samples of one prompt, whose answers come from the cache."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, SamplingParams, Step, apply, register_engine
from chainette.registry import engines as registry
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOpenAI
from chainette.types import Message
from pydantic import BaseModel

pytest.importorskip("diskcache")

SAMPLED = [{}, {"temperature": 0.7}]
FIXED = [{"temperature": 0}, {"temperature": 0.0}, {"seed": 7}, {"temperature": 1, "seed": 0}]


class Row(BaseModel):
    topic: str


class Vote(BaseModel):
    number: int


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    """A server whose every answer is another number."""
    numbers = itertools.count()
    with FakeOpenAI() as server:
        server.set_answers(lambda _: {"number": next(numbers)})
        register_engine("e", backend="openai", model="m", endpoint=server.endpoint)
        yield server


def vote(id: str = "vote", **sampling: Any) -> Step[Row, Vote]:
    return Step(
        id=id,
        input_model=Row,
        output_model=Vote,
        engine_name="e",
        user_prompt="Vote on {{ chain_input.topic }}.",
        sampling=SamplingParams(**sampling),
    )


def votes_of(run: Any) -> list[int]:
    return sorted(result.unwrap().number for result in run.results)


SAME = [{"topic": "dogs"}] * 10


@pytest.mark.parametrize("sampling", SAMPLED, ids=str)
def test_equal_prompts_of_a_run_keep_their_own_answers_and_a_second_run_has_the_same(
    sampling: dict[str, Any], server: FakeOpenAI, tmp_path: Path
) -> None:
    chain = Chain(name="votes", steps=vote(**sampling))
    first = votes_of(chain.run(SAME, cache=tmp_path))
    assert len(set(first)) == 10
    again = chain.run(SAME, cache=tmp_path)
    assert votes_of(again) == first
    assert again.cost == 0
    assert len(server.requests) == 10
    more = votes_of(chain.run(SAME + SAME[:2], cache=tmp_path))
    assert len(set(more)) == 12
    assert set(first) < set(more)
    assert len(server.requests) == 12


@pytest.mark.parametrize("sampling", FIXED, ids=str)
@pytest.mark.parametrize("in_flight", [1, 10])
def test_at_temperature_0_or_with_a_seed_one_answer_serves_all(
    sampling: dict[str, Any], in_flight: int, server: FakeOpenAI, tmp_path: Path
) -> None:
    register_engine(
        "e",
        backend="openai",
        model="m",
        endpoint=server.endpoint,
        max_concurrency=in_flight,
    )
    run = Chain(name="votes", steps=vote(**sampling)).run(SAME, cache=tmp_path)
    assert len(set(votes_of(run))) == 1
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "sampling", "different"),
    [
        ({"temperature": 0}, {}, 1),
        ({"seed": 3}, {"temperature": 1}, 1),
        ({"temperature": 1}, {"temperature": 0}, 10),
    ],
)
def test_the_extra_body_of_the_engine_says_whether_answers_are_sampled(
    body: dict[str, Any],
    sampling: dict[str, Any],
    different: int,
    server: FakeOpenAI,
    tmp_path: Path,
) -> None:
    register_engine("e", backend="openai", model="m", endpoint=server.endpoint, extra_body=body)
    run = Chain(name="votes", steps=vote(**sampling)).run(SAME, cache=tmp_path)
    assert len(set(votes_of(run))) == different


def test_items_of_one_row_and_steps_with_one_prompt_are_samples_too(
    server: FakeOpenAI, tmp_path: Path
) -> None:
    def thrice(row: Row) -> list[Row]:
        return [row] * 3

    chain = Chain(name="votes", steps=[apply(thrice), vote()])
    (result,) = chain.run(SAME[:1], cache=tmp_path / "a").results
    assert len({each.number for each in result.unwrap()}) == 3

    both = Chain(name="two", steps=[vote("first"), Step(
        id="second", input_model=Vote, output_model=Vote, engine_name="e",
        user_prompt="Vote on {{ chain_input.topic }}.",
    )])  # fmt: skip
    (result,) = both.run(SAME[:1], cache=tmp_path / "b", output_dir=tmp_path / "out").results
    assert result.outputs["first"] != result.outputs["second"]


def test_a_row_alone_is_a_run_of_its_own(server: FakeOpenAI, tmp_path: Path) -> None:
    chain = Chain(name="votes", steps=vote())
    one = chain.run_one(SAME[0], cache=tmp_path)
    assert chain.run_one(SAME[0], cache=tmp_path) == one
    assert len(server.requests) == 1


def limited(server: FakeOpenAI, most: int) -> Callable[[list[Message]], Any]:
    """Answers with another number until there were so many; the account is empty then."""
    numbers = itertools.count()

    def answer(_: list[Message]) -> Any:
        number = next(numbers)
        return {"number": number} if number < most else Reply(status=402, message="pay first")

    return answer


@pytest.mark.parametrize("journaled", [1, 4, 9])
def test_a_resume_counts_on_from_the_journal(
    journaled: int, server: FakeOpenAI, tmp_path: Path
) -> None:
    server.set_answers(limited(server, journaled))
    chain = Chain(name="votes", steps=vote())
    folder, cache = tmp_path / "out", tmp_path / "cache"
    stopped = chain.run(SAME, output_dir=folder, cache=cache)
    assert stopped.counts.ok == journaled
    more = itertools.count(100)
    server.set_answers(lambda _: {"number": next(more)})
    resumed = chain.run(SAME, output_dir=folder, cache=cache, resume=True, retry_errors=True)
    first = votes_of(resumed)
    assert len(set(first)) == 10
    asked = len(server.requests)
    assert votes_of(chain.run(SAME, cache=cache)) == first
    assert len(server.requests) == asked


def test_an_answer_whose_line_was_lost_is_used_by_the_resumed_run(
    server: FakeOpenAI, tmp_path: Path
) -> None:
    chain = Chain(name="votes", steps=vote())
    folder, cache = tmp_path / "out", tmp_path / "cache"
    first = votes_of(chain.run(SAME, output_dir=folder, cache=cache))
    journal = folder / "steps/vote/000000.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    ordinals = [json.loads(line)["ordinal"] for line in lines]
    assert sorted(ordinals) == list(range(10))
    assert len({json.loads(line)["request"] for line in lines}) == 1
    journal.write_text("".join(lines[:3] + lines[5:]))  # two were paid and never written
    manifest = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**manifest, "status": "running"}))
    assert votes_of(chain.run(SAME, output_dir=folder, cache=cache, resume=True)) == first
    assert len(server.requests) == 10


def test_a_run_without_a_cache_writes_no_numbers(server: FakeOpenAI, tmp_path: Path) -> None:
    Chain(name="votes", steps=vote()).run(SAME, output_dir=tmp_path / "out")
    lines = (tmp_path / "out/steps/vote/000000.jsonl").read_text().splitlines()
    assert all(not {"request", "ordinal"} & json.loads(line).keys() for line in lines)


def test_an_equal_request_is_sent_when_the_one_it_waited_for_fails(
    server: FakeOpenAI, tmp_path: Path
) -> None:
    turns = itertools.count()
    server.set_answers(
        lambda _: Reply(status=400, message="no") if next(turns) == 0 else {"number": 1}
    )
    run = Chain(name="votes", steps=vote(temperature=0)).run(SAME, cache=tmp_path)
    assert Counter(result.ok for result in run.results) == {True: 9, False: 1}

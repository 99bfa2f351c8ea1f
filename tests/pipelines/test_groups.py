"""All rows of a key: `reduce`, in memory and on disk, from the first run to the last retry."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from chainette import (
    Branch,
    Calls,
    Chain,
    Drop,
    Group,
    Step,
    apply,
    distinct,
    filter,
    load_chain,
    pipe,
    reduce,
    repeat,
    route,
)
from chainette.cli.commands.run import _stops as dry_run_stops
from chainette.errors import ChainError, ConfigError, EngineError, OutputDirError
from chainette.events import GroupFinished, GroupsStarted, NodeFailed, NodeStarted
from chainette.pipeline.graph import dependents, graph, mermaid
from chainette.run.dry_run import Unknown, dry_run
from chainette.run.executor import Executor
from chainette.testing import fake_engine
from pydantic import BaseModel, ConfigDict


class Review(BaseModel):
    product: str
    n: int


class Summary(BaseModel):
    text: str


def doubled(review: Review) -> Review:
    return Review(product=review.product, n=2 * review.n)


def total(group: Group[Review]) -> Summary:
    return Summary(text=f"{group.key}: {sum(it.n for it in group.items)} of {group.row_ids}")


def told(messages: Any) -> dict[str, str]:
    """The fake model says what it was told."""
    return {"text": messages[-1]["content"]}


BLIND = "{{ key }}:{% for item in items %} {{ item.n }}{% endfor %}"
PROMPT = "{{ so_far.text ~ ',' if so_far }}" + BLIND


def summary(prompt: str = PROMPT, **options: Any) -> Step[Group[Review], Summary]:
    return Step(
        id="summary", input_model=Group[Review], output_model=Summary, engine_name="e",
        user_prompt=prompt, **options,
    )  # fmt: skip


def titled(prompt: str = "{{ group.key }} = {{ text }}", **options: Any) -> Step[Summary, Summary]:
    return Step(
        id="title", input_model=Summary, output_model=Summary, engine_name="e", user_prompt=prompt,
        **options,
    )  # fmt: skip


def again(node: Any, **options: Any) -> Any:
    return repeat(node, until="true", id="again", **options)


ROWS = [{"product": product, "n": n} for n, product in enumerate("abcab")]


def chain_of(*parts: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=pipe(*parts))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def values(run: Any, node: str) -> dict[Any, Any]:
    return {group.key: getattr(group.value, "text", group.value) for group in run.groups(node)}


@pytest.fixture(params=["memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return {} if request.param == "memory" else {"output_dir": tmp_path / "out"}


@pytest.fixture(autouse=True)
def engine() -> Iterator[Any]:
    with fake_engine("e", told) as client:
        yield client


def test_groups_come_in_the_order_of_their_first_rows(place: dict[str, Any]) -> None:
    run = chain_of(apply(doubled), reduce(summary(), by="product"), titled()).run(ROWS, **place)
    assert [(it.key, it.row_ids, it.unwrap().text) for it in run.groups("summary")] == [
        ("a", [0, 3], "a: 0 6"),
        ("b", [1, 4], "b: 2 8"),
        ("c", [2], "c: 4"),
    ]
    assert values(run, "title") == {"a": "a = a: 0 6", "b": "b = b: 2 8", "c": "c = c: 4"}
    assert [result.value.n for result in run.results] == [0, 2, 4, 6, 8]
    assert (run.counts.rows, run.counts.groups, run.counts.failed_groups) == (5, 3, 0)
    with pytest.raises(KeyError, match="'doubled' does not work on groups"):
        run.groups("doubled")
    with pytest.raises(KeyError, match=r"no node has the id 'titel' .did you mean 'title'"):
        run.groups("titel")
    with pytest.raises(KeyError, match="no node has the id 'zzz'; those on groups: 'summary'"):
        run.groups("zzz")


def test_the_files_name_a_group_by_its_key(tmp_path: Path) -> None:
    chain_of(apply(doubled), reduce(summary(), by="product"), titled()).run(
        ROWS, output_dir=tmp_path
    )
    assert lines(tmp_path / "groups/summary.jsonl")[0] == {
        "key": "a",
        "row_ids": [0, 3],
        "output": {"text": "a: 0 6"},
        "outputs": {"title": {"text": "a = a: 0 6"}},
    }
    for node in ("summary", "title"):
        found = lines(tmp_path / f"steps/{node}/000000.jsonl")
        assert {line["group"] for line in found} == {"a", "b", "c"}
        assert not any("row_id" in line for line in found)
    assert [*lines(tmp_path / "flattened/000000.jsonl")[0]] == [
        "row_id", "product", "n", "doubled.product", "doubled.n",
    ]  # fmt: skip


class Colour(Enum):
    RED = 1
    BLUE = "b"


KEYS = [
    "1", 1, True, None, "b", Colour.BLUE, Colour.RED, date(2024, 1, 2), "2024-01-02", ("a", 1),
    ("a", "1"), "", "\ud800", UUID(int=5), ((), None), "('a', 1)", 10**30, "$text", "ä\n",
]  # fmt: skip


def test_keys_that_only_look_alike_are_different_groups(place: dict[str, Any]) -> None:
    def key(review: Review) -> Any:
        return KEYS[review.n % len(KEYS)]

    rows = [{"product": "a", "n": n} for n in range(2 * len(KEYS))]
    run = chain_of(reduce(apply(total), by=key)).run(rows, **place)
    assert [(type(it.key), it.key) for it in run.groups("total")] == [(type(it), it) for it in KEYS]
    assert [it.row_ids for it in run.groups("total")] == [
        [n, n + len(KEYS)] for n in range(len(KEYS))
    ]


@pytest.mark.parametrize("key", [1.5, float("nan"), [1], {}, ("a", 1.0), object(), b"a"])
def test_what_cannot_be_a_key_fails_its_row(key: Any, place: dict[str, Any]) -> None:
    chain = chain_of(reduce(apply(total), by=lambda it: key if it.n == 1 else "a"))
    run = chain.run(ROWS, **place)
    assert [result.state for result in run.results] == ["ok", "failed", "ok", "ok", "ok"]
    assert "reduce 'total', by: the key is" in str(run.results[1].error)
    assert values(run, "total") == {"a": "a: 9 of [0, 2, 3, 4]"}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("product", ["a", "b", "c"]),
        ("product | upper", ["A", "B", "C"]),
        ("doubled.n > 4", [False, True]),
        ("chain_input.n % 2 == 0", [True, False]),
        (["product", "n > 2"], [("a", False), ("b", False), ("c", True), ("a", True), ("b", True)]),
        (["product"], [("a",), ("b",), ("c",)]),
        (lambda review: review.product, ["a", "b", "c"]),
        (lambda review, names: names["chain_input"].n // 3, [0, 1]),
        ([lambda review: review.product, "n // 100"], [("a", 0), ("b", 0), ("c", 0)]),
        (None, [None]),
    ],
)
def test_what_the_rows_have_in_common(by: Any, expected: list[Any], place: dict[str, Any]) -> None:
    run = chain_of(apply(doubled), reduce(apply(total), by=by)).run(ROWS, **place)
    assert [group.key for group in run.groups("total")] == expected
    assert sorted(id for group in run.groups("total") for id in group.row_ids) == [*range(5)]


def test_a_key_may_be_that_of_a_joined_branch(place: dict[str, Any]) -> None:
    kind = Branch("b", [apply(lambda it: it.n % 2, id="kind", input_model=Review)]).join("kind_of")
    run = chain_of(apply(doubled), kind, reduce(apply(total), by="kind_of")).run(ROWS, **place)
    assert values(run, "total") == {0: "0: 20 of [0, 1, 2, 3, 4]"}


def pick(review: Review) -> Review:
    if review.n == 0:
        raise ValueError("none")
    if review.n == 1:
        raise Drop("one")
    return review


def split(review: Review) -> list[Review]:
    return [Review(product=str(n % 2), n=n) for n in range(review.n)]


def test_failed_and_dropped_rows_are_in_no_group(place: dict[str, Any]) -> None:
    run = chain_of(apply(pick), reduce(apply(total))).run(ROWS, **place)
    (group,) = run.groups("total")
    assert (group.key, group.row_ids, run.counts.failed, run.counts.dropped) == (
        None, [2, 3, 4], 1, 1,
    )  # fmt: skip


def test_items_of_a_row_are_members_of_their_own(place: dict[str, Any]) -> None:
    run = chain_of(apply(split), reduce(apply(total), by="product")).run(ROWS, **place)
    assert values(run, "total") == {
        "0": "0: 4 of [1, 2, 3, 3, 4, 4]",
        "1": "1: 6 of [2, 3, 4, 4]",
    }
    assert [result.state for result in run.results][:2] == ["dropped", "ok"]


def test_the_flow_of_a_group_can_split_drop_branch_and_fail(place: dict[str, Any]) -> None:
    def parts(group: Group[Review]) -> list[Summary]:
        return [Summary(text=str(it.n)) for it in group.items if it.n]

    def picked(part: Summary, names: Any) -> Summary:
        if part.text == "4":
            raise ValueError("four")
        if part.text == "2":
            raise Drop("two")
        return Summary(text=f"{names['group'].key}{part.text} {names['side'].text}")

    side = Branch("s", [apply(lambda it: it, id="same", input_model=Summary)]).join("side")
    run = chain_of(reduce(apply(parts), by="product"), side, apply(picked)).run(ROWS, **place)
    found = [(it.key, it.state, [v.text for v in it.value or ()]) for it in run.groups("picked")]
    assert found == [("a", "ok", ["a3 3"]), ("b", "partial", ["b1 1"]), ("c", "dropped", [])]
    assert str(run.groups("picked")[1].error).endswith("four")
    assert run.counts.failed_groups == 1


def test_groups_of_groups(place: dict[str, Any]) -> None:
    def joined(group: Group[Summary]) -> Summary:
        return Summary(text=f"{group.row_ids} {'; '.join(it.text for it in group.items)}")

    chain = chain_of(
        reduce(apply(total), by="product"), reduce(apply(joined), by="group.key > 'a'")
    )
    run = chain.run(ROWS, **place)
    assert values(run, "joined") == {
        False: "[0, 3] a: 3 of [0, 3]",
        True: "[1, 4, 2] b: 5 of [1, 4]; c: 2 of [2]",
    }
    assert run.counts.groups == 5


def test_a_group_that_belongs_to_no_group_fails_and_its_error_stays(tmp_path: Path) -> None:
    def joined(group: Group[Summary]) -> int:
        return len(group.items)

    by = "1.5 if group.key == 'b' else 1"
    chain = chain_of(reduce(apply(total), by="product"), reduce(apply(joined), by=by))
    for options in ({"limit": 4}, {"resume": True, "limit": 4}, {"resume": True}):
        run = chain.run(ROWS, output_dir=tmp_path, **options)
        assert values(run, "joined") == {1: 2}
        assert [group.state for group in run.groups("total")] == ["ok", "failed", "ok"]
        (line,) = lines(tmp_path / "errors.jsonl")
        assert (line["group"], line["node_id"], run.counts.failed_groups) == ("b", "joined", 1)


def test_a_kind_of_group_may_have_methods(place: dict[str, Any]) -> None:
    class Reviews(Group[Review]):
        @property
        def most(self) -> int:
            return max(it.n for it in self.items)

    chain = chain_of(
        reduce(apply(lambda it: it.most, id="most", input_model=Reviews), by="product")
    )
    assert values(chain.run(ROWS, **place), "most") == {"a": 3, "b": 4, "c": 2}


def test_a_function_cannot_change_what_others_see() -> None:
    def spoil(group: Group[Review]) -> Summary:
        group.items[0].n = 1000
        group.items.clear()
        group.row_ids.clear()
        return Summary(text="spoilt")

    run = chain_of(apply(doubled), reduce(apply(spoil), by="product")).run(ROWS)
    assert [result.value.n for result in run.results] == [0, 2, 4, 6, 8]
    assert [group.row_ids for group in run.groups("spoil")] == [[0, 3], [1, 4], [2]]


FOLD = "{{ so_far.text if so_far else '-' }}>{% for item in items %}{{ item.n }}{% endfor %}"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6])
def test_a_big_group_is_handed_over_in_parts(size: int, place: dict[str, Any], engine: Any) -> None:
    run = chain_of(reduce(summary(FOLD), fold=size), titled()).run(ROWS, **place)
    parts = ["01234"[first : first + size] for first in range(0, 5, size)]
    assert values(run, "summary") == {None: f"->{'>'.join(parts)}"}
    assert values(run, "title") == {None: f"None = ->{'>'.join(parts)}"}
    assert len(engine.requests) == len(parts) + 1


def test_a_fold_over_several_nodes_fails_and_is_dropped_as_a_whole(place: dict[str, Any]) -> None:
    def risky(text: Summary) -> Summary:
        if "3" in text.text:
            raise ValueError("three")
        if "2" in text.text:
            raise Drop("two")
        return text

    chain = chain_of(reduce(summary(FOLD) >> apply(risky), by="product", fold=1, id="r"))
    run = chain.run(ROWS, **place)
    assert [(it.key, it.state) for it in run.groups("r")] == [
        ("a", "failed"), ("b", "ok"), ("c", "dropped"),
    ]  # fmt: skip
    assert values(run, "r")["b"] == "->1>4"


def reduce_in_a_branch() -> Any:
    return [apply(doubled), Branch("b", reduce(apply(total), by="product"))]


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: reduce(summary("{{ kez }}")), "'kez'.*did you mean 'key'"),
    (lambda: reduce(summary("{% for x in items %}{{ x.m }}{% endfor %}")), "no field 'm'"),
    (lambda: reduce(summary(), by="produkt"), "'produkt'.*did you mean 'product'"),
    (lambda: reduce(summary(), by="{{ product }}"), "braces"),
    (lambda: reduce(summary(), by=[]), "by is empty"),
    (lambda: reduce(summary(), by=3), "by is 3"),
    (lambda: reduce(summary(), by=lambda: 1), "takes nothing"),
    (lambda: reduce(summary(), by="product", fold=0), "fold is 0"),
    (lambda: reduce(summary(), by="product", fold=True), "fold is True"),
    (lambda: reduce(total, by="product"), r"wrap it: reduce\(apply\(total\)"),
    (lambda: reduce(reduce(summary())), "give a step or a function"),
    (lambda: reduce(summary(yield_output=False)), "yield_output=False"),
    (lambda: reduce(summary() >> titled(), id="summary"), "has the name"),
    (lambda: reduce(summary(), id="row_id"), "reduce id 'row_id'"),
    (reduce_in_a_branch, "in branch 'b'"),
    (lambda: [apply(total), reduce(titled())], "give it input_model=Group"),
    (lambda: [apply(split), reduce(apply(lambda it: [it], id="x", input_model=Group[int]))],
     "takes Group"),
    (lambda: reduce(apply(split, input_model=Group[Review]), fold=2), "returns several items"),
    (lambda: [apply(doubled), reduce(summary()), titled("{{ chain_input.n }}")],
     "belongs to a row"),
    (lambda: [apply(doubled), reduce(summary()), titled("{{ doubled.n }}")], "belongs to a row"),
    (lambda: [reduce(summary()), titled("{{ group.items }}")],
     "no field 'items': only the first node of a reduce sees it; .* returns the group in front"),
    (lambda: [reduce(summary()), titled("{{ text }} {{ items }}")],
     "'items' .only the first node of a reduce sees it"),
    (lambda: [reduce(summary()), titled("{{ text }} {{ so_far }}")],
     "'so_far' .only the first node of a reduce sees it"),
    (lambda: [reduce(summary()), titled("{{ text }} {{ key }}")], "'key' .*it is group.key"),
    (lambda: [reduce(summary()), titled("{{ text }} {{ row_ids }}")], "they are group.row_ids"),
    (lambda: [reduce(summary()), apply(lambda it: it, id="group")], "name 'group' is taken"),
    (lambda: reduce(apply(lambda group, row_id: 1, id="x")), "takes row_id"),
    (lambda: [apply(pick, on_error="none"), reduce(summary())], "may give None"),
    (lambda: reduce(again(summary(), on_error="none")),
     "repeat 'again' may give something else than its last node, as it has when=, on_error="),
    (lambda: reduce(repeat(again(summary(), default=None), until="true", id="outer")),
     "repeat 'outer' may give something else than its last node"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_does_not_fit_is_refused_when_the_chain_is_built(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ChainError, match=message):
        Chain(name="c", steps=make())


def test_a_function_in_front_gives_the_items_a_name(place: dict[str, Any]) -> None:
    def reviews(group: Group[Review]) -> Group[Review]:
        return group

    def checked(text: Summary, names: Any) -> str:
        return f"{text.text} of {len(names['reviews'].items)}"

    step = summary("{{ items[0].n }} {{ reviews.items[0].n }}")
    run = chain_of(reduce(pipe(apply(reviews), step), by="product"), apply(checked)).run(
        ROWS, **place
    )
    assert [it.value for it in run.groups("checked")] == ["0 0 of 2", "1 1 of 2", "2 2 of 1"]


def test_a_function_that_looks_for_the_items_is_told_where_they_are() -> None:
    def checked(text: Summary, names: Any) -> int:
        return len(names["group"].items)

    (group,) = chain_of(reduce(apply(total)), apply(checked)).run(ROWS).groups("checked")
    assert "the name 'group' has no field 'items': only the first node" in str(group.error)


@pytest.mark.parametrize(
    ("fold", "said"), [(None, "in parts, with fold=50"), (2, "a smaller fold makes the parts")]
)
def test_a_prompt_that_is_too_long_for_a_group_names_fold(fold: int | None, said: str) -> None:
    (group,) = (
        chain_of(reduce(summary(), fold=fold)).run(ROWS, max_prompt_chars=3).groups("summary")
    )
    assert str(group.error).startswith("group all rows: step 'summary', user_prompt: ")
    assert said in str(group.error)


def side(*steps: Any) -> Branch[Any, Any]:
    return Branch("s", [*steps]).join("side")


def other(prompt: str, **options: Any) -> Step[Group[Review], Summary]:
    return Step(
        id="other", input_model=Group[Review], output_model=Summary, engine_name="e",
        user_prompt=prompt, **options,
    )  # fmt: skip


TALK: list[Any] = [{"history": "so_far.turns"}, {"role": "user", "content": "{{ items }}"}]
KIND = route("key", id="kind")
FORGETFUL: list[tuple[Callable[[], Any], str]] = [
    (lambda: summary(BLIND), "summary"),
    (lambda: summary(BLIND, system_prompt="Say {{ key }}"), "summary"),
    (lambda: summary(BLIND) >> titled("{{ text }}"), "summary"),
    (lambda: pipe(side(other(BLIND)), summary(BLIND)), "summary"),
    (lambda: repeat(summary(BLIND), until="text", id="r") >> titled("{{ text }}"), "summary"),
    (lambda: KIND.case("a", summary(BLIND)).default(other(PROMPT)) >> titled(), "summary"),
    (lambda: KIND.case("a", other(BLIND)).default(apply(total)) >> titled(), "other"),
    (lambda: summary(BLIND, when="items | length > 1", otherwise=None), "summary"),
]
REMEMBERING: list[Callable[[], Any]] = [
    lambda: summary(PROMPT),
    lambda: summary(BLIND, system_prompt="Say {{ so_far }}"),
    lambda: Step(
        id="talk", input_model=Group[Review], output_model=Summary, engine_name="e", messages=TALK
    ),
    lambda: apply(total),
    lambda: apply(total) >> titled("{{ text }}"),
    lambda: pipe(side(other(PROMPT)), summary("{{ side.text }}")),
    lambda: pipe(side(apply(total)), summary("{{ side.text }}")),
    lambda: repeat(summary(PROMPT), until="text", id="r") >> titled("{{ text }}"),
    lambda: KIND.case("a", summary(PROMPT)).default(apply(total)) >> titled(),
    lambda: route("so_far is none", id="k").case(True, summary(BLIND)).default(other(PROMPT))
    >> titled(),
    lambda: route(lambda it: it.so_far is None, id="k").case(True, summary(BLIND)).default(
        other(PROMPT)
    )
    >> titled(),
    lambda: summary(BLIND, when="so_far is none", otherwise=None),
]  # fmt: skip


@pytest.mark.parametrize(("make", "named"), FORGETFUL)
def test_parts_that_would_forget_those_before_are_refused(
    make: Callable[[], Any], named: str
) -> None:
    message = f"reduce 'x' has fold=2, but the prompt of step '{named}' does not use so_far: "
    with pytest.raises(ChainError, match=message):
        chain_of(reduce(make(), fold=2, id="x"))
    chain_of(reduce(make(), id="x"))


@pytest.mark.parametrize("make", REMEMBERING)
def test_parts_that_may_look_at_those_before_are_not(make: Callable[[], Any]) -> None:
    chain_of(reduce(make(), fold=2, id="x"))


def test_a_key_that_is_a_float_by_its_type_is_refused_when_the_chain_is_built() -> None:
    class Rated(BaseModel):
        stars: float

    with pytest.raises(ChainError, match="'stars' is a float"):
        chain_of(reduce(apply(lambda it: it, id="x", input_model=Group[Rated]), by="stars"))


def test_one_row_is_refused_and_a_stream_has_rows_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = chain_of(apply(doubled), reduce(apply(total), by="product"))
    with pytest.raises(ChainError, match="reduce 'total' needs all rows"):
        chain.run_one(ROWS[0])

    async def streamed(**options: Any) -> list[Any]:
        return [result.value.n async for result in chain.stream(ROWS, **options)]

    assert sorted(anyio.run(streamed)) == [0, 2, 4, 6, 8]
    assert "without output_dir, those of 'total' are not made" in caplog.text
    anyio.run(lambda: streamed(output_dir=tmp_path))
    assert len(lines(tmp_path / "groups/total.jsonl")) == 3


def test_a_limit_counts_rows_and_more_rows_change_their_groups(tmp_path: Path, engine: Any) -> None:
    chain = chain_of(reduce(summary(), by="product"), titled())
    first = chain.run(ROWS, output_dir=tmp_path, limit=3)
    assert values(first, "summary") == {"a": "a: 0", "b": "b: 1", "c": "c: 2"}
    before = len(engine.requests)
    run = chain.run(ROWS, output_dir=tmp_path, resume=True)
    assert values(run, "title") == {"a": "a = a: 0 3", "b": "b = b: 1 4", "c": "c = c: 2"}
    assert len(engine.requests) - before == 4  # that of c is as it was
    moved = [*(tmp_path / "redone").rglob("*.jsonl")]
    assert Counter(line["group"] for path in moved for line in lines(path)) == {"a": 2, "b": 2}
    assert chain.run(ROWS, output_dir=tmp_path, resume=True).nothing_to_do
    assert values(chain.run(ROWS, output_dir=tmp_path, resume=True), "title")["c"] == "c = c: 2"


def test_a_retried_row_changes_its_group_alone(tmp_path: Path, engine: Any) -> None:
    is_broken = True

    def sometimes(review: Review) -> Review:
        if review.n == 3 and is_broken:
            raise ConnectionError("down")
        return review

    chain = chain_of(apply(sometimes), reduce(summary(), by="product"), titled())
    first = chain.run(ROWS, output_dir=tmp_path)
    assert values(first, "summary")["a"] == "a: 0"
    is_broken, before = False, len(engine.requests)
    run = chain.run(ROWS, output_dir=tmp_path, retry_errors=True, force=True)
    assert values(run, "title")["a"] == "a = a: 0 3"
    assert len(engine.requests) - before == 2
    assert run.counts.failed == 0


def test_failed_groups_are_told_apart_and_retried(tmp_path: Path, engine: Any) -> None:
    is_broken = True

    def picky(group: Group[Review]) -> Summary:
        if group.key == "b" and is_broken:
            raise ConnectionError("down")
        return total(group)

    chain = chain_of(reduce(apply(picky), by="product"), titled())
    first = chain.run(ROWS, output_dir=tmp_path)
    assert [(it.key, it.state) for it in first.groups("picky")] == [
        ("a", "ok"), ("b", "failed"), ("c", "ok"),
    ]  # fmt: skip
    assert (first.counts.groups, first.counts.failed_groups, first.counts.failed) == (3, 1, 0)
    (line,) = lines(tmp_path / "errors.jsonl")
    assert (line["group"], line["node_id"]) == ("b", "picky")
    with pytest.raises(Exception, match="down"):
        first.groups("picky")[1].unwrap()
    again = chain.run(ROWS, output_dir=tmp_path, resume=True)
    assert again.counts.failed_groups == 1
    assert len(lines(tmp_path / "errors.jsonl")) == 1
    is_broken, before = False, len(engine.requests)
    run = chain.run(ROWS, output_dir=tmp_path, retry_errors=True, force=True)
    assert run.counts.failed_groups == 0
    assert values(run, "title")["b"] == "b = b: 5 of [1, 4]"
    assert len(engine.requests) - before == 1


def test_a_function_of_all_groups_is_called_again_when_one_has_changed(tmp_path: Path) -> None:
    def share(all_of_them: list[Summary]) -> list[Summary]:
        return [Summary(text=f"1/{len(all_of_them)}") for _ in all_of_them]

    chain = chain_of(reduce(apply(total), by="product"), apply(share, batch="all"))
    chain.run(ROWS, output_dir=tmp_path, limit=2)
    run = chain.run(ROWS, output_dir=tmp_path, resume=True, limit=3)
    assert values(run, "share") == {"a": "1/3", "b": "1/3", "c": "1/3"}
    run = chain.run(ROWS, output_dir=tmp_path, resume=True)
    assert values(run, "share") == {"a": "1/3", "b": "1/3", "c": "1/3"}
    assert len(lines(tmp_path / "steps/share/000000.jsonl")) <= 3


@pytest.mark.parametrize(
    ("change", "named", "redone"),
    [
        ({"by": "product | upper"}, "by", 6),
        ({"fold": 1}, "fold", 8),
        ({"prompt": PROMPT + "!"}, "user_prompt", 6),
    ],
)
def test_a_change_is_refused_and_redone(
    change: dict[str, Any], named: str, redone: int, tmp_path: Path, engine: Any
) -> None:
    def made(prompt: str = PROMPT, **options: Any) -> Chain[Any, Any]:
        return chain_of(
            apply(doubled), reduce(summary(prompt), **{"by": "product", **options}), titled()
        )

    made().run(ROWS, output_dir=tmp_path)
    before = len(engine.requests)
    with pytest.raises(OutputDirError, match=rf"step 'summary' \({named}.*redo=..summary"):
        made(**change).run(ROWS, output_dir=tmp_path, resume=True)
    run = made(**change).run(ROWS, output_dir=tmp_path, redo=["summary"])
    assert len(engine.requests) - before == redone
    assert run.counts.groups == 3
    assert [group.ok for group in run.groups("title")] == [True] * 3


def test_redoing_a_row_s_node_redoes_its_groups(tmp_path: Path, engine: Any) -> None:
    chain = chain_of(apply(doubled), reduce(summary(), by="product"))
    assert dependents(chain, ["doubled"]) == ["doubled", "summary"]
    chain.run(ROWS, output_dir=tmp_path)
    run = chain.run(ROWS, output_dir=tmp_path, redo=["doubled"])
    assert len(engine.requests) == 6
    assert len(run.groups("summary")) == 3
    with pytest.raises(ConfigError, match="no node has the id 'x'"):
        chain.run(ROWS, output_dir=tmp_path, redo=["x"])


def _big(fold: int | None) -> Chain[Any, Any]:
    return chain_of(
        apply(doubled),
        reduce(summary(FOLD) >> apply(lambda it: it, id="same"), by="product", fold=fold, id="r"),
        titled(),
    )


def _contents(path: Path) -> dict[str, Any]:
    """The lines of a run, but for what differs between two runs."""
    found: dict[str, Any] = {}
    for file in sorted(path.rglob("*.jsonl")):
        name = str(
            file.relative_to(path).parent if "steps" in file.parts else file.relative_to(path)
        )
        for line in lines(file):
            line.pop("latency", None)
            line.pop("at", None)
            found.setdefault(name, []).append(json.dumps(line, sort_keys=True))
    return {name: sorted(them) for name, them in found.items()}


@pytest.mark.parametrize("fold", [None, 2])
def test_a_run_that_is_cut_anywhere_ends_as_one_that_was_not(
    fold: int | None, tmp_path: Path, engine: Any
) -> None:
    rows = [{"product": str(n % 7), "n": n} for n in range(40)]
    whole = tmp_path / "whole"
    _big(fold).run(rows, output_dir=whole)
    requests, expected = len(engine.requests), _contents(whole)
    chance = random.Random(7)
    for number in range(6):
        path = tmp_path / str(number)
        shutil.copytree(whole, path)
        lost = 0
        for file in path.glob("steps/*/*.jsonl"):
            content = file.read_bytes()
            end = chance.choice([len(content), chance.randrange(len(content) + 1)])
            kept = content[:end]
            if file.parent.name in ("summary", "title"):
                lost += content.count(b"\n") - kept.count(b"\n")
            file.write_bytes(kept)
        manifest = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps({**manifest, "status": "running"}))
        before = len(engine.requests)
        _big(fold).run(rows, output_dir=path, resume=True)
        assert _contents(path) == expected
        assert len(engine.requests) - before == lost <= requests


SCRIPT = """
import sys, time
from chainette import Chain, Group, apply, reduce
from pydantic import BaseModel

class Row(BaseModel):
    n: int

class Sum(BaseModel):
    n: int

def slow(group: Group[Row]) -> Sum:
    print("call", flush=True)
    time.sleep(0.002)
    return Sum(n=sum(it.n for it in group.items) + (group.so_far.n if group.so_far else 0))

def half(n: Row) -> Row:
    return n

CHAIN = Chain(name="c", steps=apply(half) >> reduce(apply(slow), by="n % 5", fold=3))
if __name__ == "__main__":
    CHAIN.run([{"n": n} for n in range(100)], output_dir=sys.argv[1], resume=True)
"""


async def asking(group: Group[Review], calls: Calls) -> str:
    parts = [await calls["e"].ask(f"{group.key}{it.n}", output_model=Summary) for it in group.items]
    return " ".join(it.text for it in parts)


def test_a_function_that_calls_engines_asks_nothing_twice(tmp_path: Path, engine: Any) -> None:
    chain = chain_of(reduce(apply(asking, engines=["e"]), by="product"))
    expected = {"a": "a0 a3", "b": "b1 b4", "c": "c2"}
    assert values(chain.run(ROWS, output_dir=tmp_path), "asking") == expected
    assert len(engine.requests) == 5
    steps = tmp_path / "steps/asking/000000.jsonl"
    steps.write_text("".join(f"{json.dumps(it)}\n" for it in lines(steps) if "output" not in it))
    manifest = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**manifest, "status": "running"}))
    assert values(chain.run(ROWS, output_dir=tmp_path, resume=True), "asking") == expected
    assert len(engine.requests) == 5


def test_the_limits_of_a_row_are_those_of_a_group(place: dict[str, Any]) -> None:
    first = Step(
        id="first", input_model=Review, output_model=str, engine_name="e", user_prompt="{{ n }}"
    )
    second = Step(
        id="second", input_model=Group[str], output_model=str, engine_name="e",
        user_prompt="{{ so_far }}{{ items[0] }}",
    )  # fmt: skip
    chain = chain_of(first, reduce(second, by="chain_input.product", fold=1))
    with fake_engine("e", lambda messages: messages[-1]["content"]):
        run = chain.run(ROWS, max_requests_per_row=1, **place)
    assert run.counts.ok == 5
    assert [(it.key, it.state) for it in run.groups("second")] == [
        ("a", "failed"), ("b", "failed"), ("c", "ok"),
    ]  # fmt: skip


def test_a_killed_run_goes_on_in_the_middle_of_a_group(tmp_path: Path) -> None:
    script, out = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT)
    calls = 0
    for kills in (7, None):
        process = subprocess.Popen(
            [sys.executable, str(script), str(out)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout, 1):
            calls += 1
            if number == kills:
                process.send_signal(signal.SIGKILL)
                break
        process.wait(30)
        process.stdout.close()
    found = {line["key"]: line["output"]["n"] for line in lines(out / "groups/slow.jsonl")}
    assert found == {key: sum(range(key, 100, 5)) for key in range(5)}
    assert 35 <= calls <= 36


def test_no_groups_are_made_of_a_part_of_the_rows(tmp_path: Path) -> None:
    ready: list[Executor] = []

    def interrupted(review: Review) -> Review:
        if review.n == 2:
            ready[0].control.interrupt(signal.SIGINT)
        return review

    chain = chain_of(apply(interrupted), reduce(apply(total), by="product"))
    ready.append(Executor(chain, ROWS, output_dir=tmp_path))
    run = anyio.run(ready[0].run)
    assert run.interrupted
    assert (run.counts.groups, [*run.groups("total")]) == (0, [])
    assert not (tmp_path / "groups/total.jsonl").exists()
    done = chain_of(apply(interrupted, id="interrupted"), reduce(apply(total), by="product"))
    ready[0] = Executor(done, ROWS, output_dir=tmp_path, resume=True)
    ready[0].control.interrupt = lambda number: None  # type: ignore[method-assign]
    assert len(anyio.run(ready[0].run).groups("total")) == 3


def test_the_limits_of_a_run_hold_for_groups(tmp_path: Path) -> None:
    with fake_engine("e", told, price={"input": 0, "output": 0, "request": 1}, max_concurrency=1):
        chain = chain_of(reduce(summary(), by="n"), titled())
        run = chain.run([{"product": "a", "n": n} for n in range(30)], max_cost=4.5,
                        output_dir=tmp_path)  # fmt: skip
        assert run.stopped is not None
        assert 0 < run.counts.groups < 30
        resumed = chain.run([{"product": "a", "n": n} for n in range(30)], resume=True,
                            output_dir=tmp_path)  # fmt: skip
        assert resumed.counts.groups == 30
        assert resumed.cost == 60

    def breaks(group: Group[Review]) -> Summary:
        raise ValueError("always")

    failing = chain_of(reduce(apply(breaks), by="n"))
    run = failing.run([{"product": "a", "n": n} for n in range(300)], max_errors=5)
    assert "groups failed (max_errors=5)" in str(run.stopped)
    assert run.counts.groups < 300


def test_the_engine_of_groups_is_there_when_rows_are_done() -> None:
    first = Step(
        id="first", input_model=Review, output_model=Review, engine_name="rows",
        user_prompt="{{ n }}",
    )  # fmt: skip
    released: list[str] = []
    with (
        fake_engine("rows", lambda messages: {"product": "a", "n": 1}) as rows,
        fake_engine("e", told) as groups,
    ):
        rows.release = lambda: released.append("rows")  # type: ignore[method-assign]
        groups.release = lambda: released.append("groups")  # type: ignore[method-assign]

        def look(text: Summary) -> Summary:
            return Summary(text=",".join(released))

        chain = chain_of(first, reduce(summary(FOLD), by="product", fold=2), apply(look))
        run = chain.run(ROWS)
    assert values(run, "look")["a"] in ("rows", "rows,groups")
    assert released == ["rows", "groups"]


class Handle:
    def __init__(self, n: int) -> None:
        self.n = n


class Held(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    handle: Handle


def held(review: Review) -> Held:
    return Held(handle=Handle(review.n))


def summed(group: Group[Held]) -> int:
    return sum(it.handle.n for it in group.items)


def test_members_that_are_not_data_are_kept_and_their_groups_run_again(tmp_path: Path) -> None:
    chain = chain_of(apply(held), reduce(apply(summed)))
    for options in ({}, {"resume": True, "force": True}):
        run = chain.run(ROWS, output_dir=tmp_path, **options)
        assert values(run, "summed") == {None: 10}


def test_listeners_see_groups_as_such() -> None:
    events: list[Any] = []
    chain = chain_of(apply(doubled), reduce(apply(pick, input_model=Group[Review]), by="product"))
    anyio.run(Executor(chain, ROWS, listeners=[events.append]).run)
    (started,) = (it for it in events if isinstance(it, GroupsStarted))
    assert (started.reduce_id, started.nodes, started.total) == ("pick", ("pick",), 3)
    assert [it.group for it in events if isinstance(it, GroupFinished)] == ["a", "b", "c"]
    nodes = [it for it in events if isinstance(it, NodeStarted) and it.node_id == "pick"]
    assert [(it.row_id, it.group) for it in nodes] == [(-1, "a"), (-1, "b"), (-1, "c")]
    assert all(it.group for it in events if isinstance(it, NodeFailed))


def test_the_graph_and_a_dry_run_say_where_rows_come_together() -> None:
    chain = chain_of(apply(doubled), reduce(summary(), by=["product", "n"], fold=5), titled())
    node = next(it for it in graph(chain)["nodes"] if it["id"] == "summary")
    assert (node["reduce"], node["by"], node["fold"]) == ("summary", ["product", "n"], 5)
    assert 'doubled -->|"by product, n"| summary' in mermaid(chain)
    assert "reduce" in repr(chain)
    stops = [it for it in anyio.run(dry_run, chain, ROWS) if isinstance(it, Unknown)]
    assert [(it.step_id, it.after.kind, it.after.id) for it in stops] == [
        ("summary", "reduce", "summary"),
        ("title", "reduce", "summary"),
    ]
    (said,) = dry_run_stops(stops, with_functions=False)
    assert said == (
        "stopped at reduce 'summary', which needs all rows: the prompt of steps 'summary', 'title' "
        "depends on them"
    )


YAML = """
name: reviews
inputs: rows.jsonl
models:
  Review: {product: str, n: int}
  Summary: {text: str}
steps:
  - reduce: summary
    by: product
    fold: 2
    steps:
      - id: summary
        input_model: Group[Review]
        output_model: Summary
        engine_name: e
        user_prompt: "{{ so_far or '' }}{{ key }}:{% for item in items %} {{ item.n }}{% endfor %}"
  - id: title
    input_model: Summary
    output_model: Summary
    engine_name: e
    user_prompt: "{{ group.key }} = {{ text }}"
"""


def test_yaml_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(YAML)
    assert values(load_chain(path).run(ROWS), "title") == {
        "a": "a = a: 0 3",
        "b": "b = b: 1 4",
        "c": "c = c: 2",
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("by: product", "by: [product, n]", None),
        ("by: product", "by: operator:attrgetter", "by"),
        ("    fold: 2", "    folds: 2", "unknown key 'folds'.*did you mean 'fold'"),
        ("    fold: 2", "    fold: 0", "fold"),
        ("{{ so_far or '' }}", "", r"chain.yaml:\d+: .*does not use so_far"),
        ("by: product", "by: produkt", r"chain.yaml:\d+: .*did you mean 'product'"),
        ("Group[Review]", "Group[Revue]", "unknown model 'Revue'.*did you mean 'Review'"),
        ("Group[Review]", "Review", "give it input_model=Group"),
        ("  - reduce: summary", "  - reduse: summary", "did you mean 'reduce'"),
    ],
)
def test_mistakes_in_yaml_have_their_line(
    old: str, new: str, message: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(YAML.replace(old, new))
    if message is None:
        assert len(load_chain(path).run(ROWS).groups("title")) == 5
    else:
        with pytest.raises(ChainError, match=message):
            load_chain(path)


COMMAND = """
from chainette import Chain, Group, apply, reduce
from pydantic import BaseModel

class Row(BaseModel):
    product: str
    n: int

def picky(row: Row) -> Row:
    if row.n == 1:
        raise ValueError("one")
    return row

def total(group: Group[Row]) -> int:
    if group.key == BAD:
        raise ValueError("bad group")
    return sum(it.n for it in group.items)

BAD = "c"
CHAIN = Chain(name="c", steps=reduce(apply(total), by="product"))
BOTH = Chain(name="c", steps=apply(picky) >> reduce(apply(total), by="product"))
"""


@pytest.mark.parametrize(
    ("target", "more", "code", "said"),
    [
        ("CHAIN", ["--allow-errors", "1"], 0, ["3 groups, 1 failed", "bad group"]),
        ("BOTH", [], 1, ["1 failed row is in no group"]),
    ],
)
def test_the_command_tells_groups_apart(
    target: str, more: list[str], code: int, said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "chain.py").write_text(COMMAND)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    place = ["-o", str(tmp_path / "out")]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "chainette"), "run", f"{tmp_path}/chain.py:{target}",
         "-i", str(tmp_path / "rows.jsonl"), *place, *more],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    for text in said:
        assert text in done.stdout + done.stderr
    counts = json.loads((tmp_path / "out/run.json").read_text())["counts"]
    assert (counts["groups"], counts["failed_groups"]) == (3, 1)


def test_parquet_has_a_table_of_groups(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    chain = chain_of(reduce(summary(), by=["product", "n > 2"]), titled())
    chain.run(ROWS, output_dir=tmp_path, fmt="parquet")
    table = parquet.read_table(tmp_path / "groups/summary.parquet").to_pylist()
    assert table[0] == {
        "key": '["a", false]',
        "row_ids": [0],
        "summary.text": "('a', False): 0",
        "title.text": "('a', False) = ('a', False): 0",
    }
    assert parquet.read_table(tmp_path / "steps/summary.parquet").num_rows == 5


def test_time_is_not_what_decides_on_the_order_of_groups() -> None:
    def late(group: Group[Review]) -> int:
        time.sleep(0.01 * (group.key == "a"))
        return len(group.items)

    chain = chain_of(reduce(apply(late, threaded=True), by="product"))
    assert [it.key for it in chain.run(ROWS).groups("late")] == ["a", "b", "c"]


def test_a_filter_at_the_end_has_what_went_on(place: dict[str, Any]) -> None:
    def each(group: Group[Review]) -> list[Review]:
        return group.items

    def tidy(review: Review) -> Review:
        return review

    whole = chain_of(
        apply(tidy), reduce(apply(total), by="product"), filter("'c' not in text"), distinct()
    ).run(ROWS, **place)
    for name in ("filter", "distinct"):
        assert values(whole, name) == {"a": "a: 3 of [0, 3]", "b": "b: 5 of [1, 4]", "c": None}
    split_up = chain_of(apply(tidy), reduce(apply(each)), filter("n > 2"), distinct("product"))
    (group,) = split_up.run([*ROWS, ROWS[-1]], **place, overwrite=True).groups("distinct")
    assert [it.n for it in group.value] == [3, 4]
    one = chain_of(apply(tidy), reduce(apply(each)), filter("n > 3"))
    (group,) = one.run(ROWS, **place, overwrite=True).groups("filter")
    assert [it.n for it in group.value] == [4]


def test_a_row_has_no_value_where_nothing_is_in_front_of_the_groups(place: dict[str, Any]) -> None:
    (result, *_) = chain_of(reduce(apply(total))).run(ROWS, **place).results
    assert (result.value, result.items[0].value, result.ok) == (None, None, True)


@pytest.mark.parametrize("options", [{"on_error": "none"}, {"default": Summary(text="-")}])
@pytest.mark.parametrize("is_inside", [False, True])
def test_a_part_that_fails_fails_its_group_also_where_that_is_tolerated(
    is_inside: bool, options: dict[str, Any], tmp_path: Path
) -> None:
    def tidy(review: Review) -> Review:
        return review

    def said(found: Any) -> str:
        return str(getattr(found, "text", found))

    node = again(summary(**options)) if is_inside else summary(**options)
    end = apply(said, input_model=Summary | None)
    chain = chain_of(apply(tidy), reduce(node, fold=2, id="all"), end)
    failing = [{"text": "one"}, EngineError("gone")]
    for more in ({}, {"resume": True}):
        with fake_engine("e", failing) as engine:
            run = chain.run(ROWS, output_dir=tmp_path / "out", **more)
        assert (run.groups("said")[0].value, run.counts.tolerated) in (("None", 1), ("-", 1))
        assert len(engine.requests) == (0 if more else 2)
    with fake_engine("e", told) as engine:
        run = chain.run(ROWS, output_dir=tmp_path / "out", retry_errors=True)
    assert run.groups("said")[0].value == "one,None: 2 3,None: 4"
    assert len(engine.requests) == 2


def test_the_value_of_a_group_is_not_the_rounds_of_its_repeat(place: dict[str, Any]) -> None:
    steps = apply(doubled), reduce(again(apply(total)), by="product")
    run = chain_of(*steps).run(ROWS[:1], **place, fmt="parquet" if place else "jsonl")
    (group,) = run.groups("again")
    assert group.value == Summary(text="a: 0 of [0]")
    assert group.outputs["again"].rounds == 1
    if place:
        (row,) = (
            pytest.importorskip("pyarrow.parquet")
            .read_table(place["output_dir"] / "groups/again.parquet")
            .to_pylist()
        )
        assert (row["total.text"], row["again.rounds"]) == ("a: 0 of [0]", 1)
        (line,) = lines(place["output_dir"] / "groups/again.jsonl")
        assert line["output"] == {"text": "a: 0 of [0]"}


def test_a_branch_that_fails_in_a_part_stops_no_other_part(tmp_path: Path) -> None:
    def tidy(review: Review) -> Review:
        return review

    def looks(group: Group[Review]) -> int:
        if failing and group.items[0].n == 2:
            raise ValueError("no")
        return 1

    failing = [True]
    chain = chain_of(apply(tidy), reduce(pipe(Branch("beside", apply(looks)), summary()), fold=2))
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    (group,) = run.groups("summary")
    assert (group.state, group.value) == ("partial", Summary(text="None: 0 1,None: 2 3,None: 4"))
    failing.clear()
    run = chain.run(ROWS, output_dir=tmp_path / "out", retry_errors=True, force=True)
    assert run.groups("summary")[0].state == "ok"

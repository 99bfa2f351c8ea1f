"""Running branches, functions, splits and batches."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Branch, Chain, EngineConfig, LLMOutput, Step, apply
from chainette.errors import ApplyError, InputError, OutputDirError, RateLimitError
from chainette.registry import engines as registry
from chainette.run.dry_run import dry_run
from chainette.testing import FakeClient, fake_engine
from chainette.types import Completion
from chainette.usage import Usage
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel


class Row(BaseModel):
    n: int


def step(id: str, prompt: str, takes: Any = Row, gives: Any = Row) -> Step:
    return Step(id=id, input_model=takes, output_model=gives, engine_name="e", user_prompt=prompt)


def number(messages: Any) -> Row:
    """The engine: adds up the numbers of the prompt."""
    return Row(n=sum(int(word) for word in messages[-1]["content"].split()))


def rows(count: int) -> list[dict[str, int]]:
    return [{"n": n} for n in range(count)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [line for file in sorted(path.glob("*.jsonl")) for line in lines_of(file)]


def values(run: Any) -> list[Any]:
    return [result.unwrap() for result in run.results]


def add(amount: int, id: str, **options: Any) -> Any:
    def function(row: Row) -> Row:
        return Row(n=row.n + amount)

    return apply(function, id=id, **options)


def test_branches_run_beside_the_flow_and_join_under_their_alias() -> None:
    left = Branch(name="left", steps=[step("ten", "{{ n }} 10"), add(1, "one")]).join("l")
    right = Branch(name="right", steps=[step("hundred", "{{ n }} 100")]).join("r")
    flow = (
        add(0, "same") >> (left | right) >> step("sum", "{{ l.n }} {{ r.n }} {{ same.n }} {{ n }}")
    )
    chain = Chain(name="c", steps=flow)
    with fake_engine("e", number):
        run = chain.run(rows(3))
    assert [value.n for value in values(run)] == [4 * n + 111 for n in range(3)]
    assert list(run.results[0].outputs) == ["same", "ten", "one", "hundred", "sum"]


def test_a_branch_that_is_not_joined_leaves_its_outputs(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[add(0, "a"), Branch(name="b", steps=[add(5, "side")])])
    run = chain.run(rows(2), output_dir=tmp_path / "run")
    assert [value.n for value in values(run)] == [0, 1]
    assert lines(tmp_path / "run/flattened") == [
        {"row_id": 0, "a.n": 0, "side.n": 5},
        {"row_id": 1, "a.n": 1, "side.n": 6},
    ]
    assert [line["row_id"] for line in lines(tmp_path / "run/steps/side")] == [0, 1]


def test_a_chain_of_functions_needs_no_engine() -> None:
    async def wait(row: Row) -> Row:
        await anyio.sleep(0.01 if row.n % 2 else 0)
        return row

    def slow(row: Row) -> Row:
        return Row(n=row.n + 1)

    run = Chain(name="c", steps=[apply(wait), apply(slow, threaded=True)]).run(rows(20))
    assert [value.n for value in values(run)] == list(range(1, 21))


def test_a_list_splits_a_row_and_none_drops_it(tmp_path: Path) -> None:
    def up_to(row: Row) -> list[Row] | None:
        return [Row(n=n) for n in range(row.n)] if row.n else None

    def odd(row: Row) -> Row | None:
        return row if row.n % 2 else None

    chain = Chain(name="c", steps=[apply(up_to), apply(odd), add(10, "ten")])
    for run in (chain.run(rows(4)), chain.run(rows(4), output_dir=tmp_path / "run")):
        assert values(run) == [None, [], [Row(n=11)], [Row(n=11)]]
        assert run.counts.ok == 4
        assert run.results[3].outputs == {
            "up_to": [Row(n=0), Row(n=1), Row(n=2)],
            "odd": [Row(n=1)],
            "ten": [Row(n=11)],
        }
    assert lines(tmp_path / "run/flattened") == [
        {"row_id": 0, "dropped": True},
        {"row_id": 1, "item": "0", "up_to.n": 0, "dropped": True},
        {"row_id": 2, "item": "0", "up_to.n": 0, "dropped": True},
        {"row_id": 2, "item": "1", "up_to.n": 1, "odd.n": 1, "ten.n": 11},
        {"row_id": 3, "item": "0", "up_to.n": 0, "dropped": True},
        {"row_id": 3, "item": "1", "up_to.n": 1, "odd.n": 1, "ten.n": 11},
        {"row_id": 3, "item": "2", "up_to.n": 2, "dropped": True},
    ]


def test_a_branch_that_splits_joins_with_all_its_items(tmp_path: Path) -> None:
    def digits(row: Row) -> list[Row]:
        return [Row(n=n) for n in range(row.n + 1)]

    def total(row: Row, names: Any) -> Row:
        return Row(n=sum(item.n for item in names["parts"]) + names["chain_input"].n)

    branch = Branch(name="b", steps=[apply(digits), add(1, "one")]).join("parts")
    chain = Chain(name="c", steps=[branch, apply(total)])
    for run in (chain.run(rows(3)), chain.run(rows(3), output_dir=tmp_path / "run")):
        assert [value.n for value in values(run)] == [1, 4, 8]
        assert run.results[1].outputs["one"] == [Row(n=1), Row(n=2)]
    assert lines(tmp_path / "run/flattened")[1]["one[]"] == [{"n": 1}, {"n": 2}]
    assert lines(tmp_path / "run/steps/one")[-1]["item"] in ("0", "1", "2")


def test_a_failing_function_fails_its_row_alone(tmp_path: Path) -> None:
    def picky(row: Row) -> Row:
        if row.n == 1:
            raise ValueError("not one")
        return row

    run = Chain(name="c", steps=[apply(picky)]).run(rows(3), output_dir=tmp_path / "run")
    assert [result.ok for result in run.results] == [True, False, True]
    (error,) = lines_of(tmp_path / "run/errors.jsonl")
    assert (error["row_id"], error["step_id"], error["type"]) == (1, "picky", "ApplyError")
    assert error["message"] == "apply 'picky' failed: ValueError: not one"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_a_function_returns_is_validated() -> None:
    def wrong(row: Row) -> Row:
        return {"n": "x"}  # type: ignore[return-value]

    (result,) = Chain(name="c", steps=[apply(wrong)]).run(rows(1)).results
    assert isinstance(result.error, ApplyError)
    assert "n: Input should be a valid integer" in str(result.error)


def test_a_failed_branch_fails_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    def fail(row: Row) -> Row:
        raise ValueError("no")

    chain = Chain(name="c", steps=[
        Branch(name="bad", steps=[apply(fail)]).join("b"),
        add(1, "free"),
        step("needs", "{{ b.n }}"),
    ])  # fmt: skip
    with fake_engine("e", number) as engine:
        (result,) = chain.run(rows(1), output_dir=tmp_path / "run").results
    assert engine.requests == []
    assert not result.ok
    assert result.outputs == {"free": Row(n=1)}
    (error,) = lines_of(tmp_path / "run/errors.jsonl")
    assert error["step_id"] == "fail"


def test_an_items_failure_leaves_its_siblings_going(tmp_path: Path) -> None:
    def split(row: Row) -> list[Row]:
        return [Row(n=n) for n in range(3)]

    def picky(row: Row) -> Row:
        assert row.n != 1
        return row

    chain = Chain(name="c", steps=[apply(split), apply(picky)])
    run = chain.run(rows(2), output_dir=tmp_path / "run")
    assert (run.counts.rows, run.counts.failed) == (2, 2)
    assert [line["item"] for line in lines_of(tmp_path / "run/errors.jsonl")] == ["1", "1"]
    assert len(lines(tmp_path / "run/steps/picky")) == 4


@pytest.mark.parametrize("size", [1, 3, 4, 1000])
def test_a_batch_takes_many_items_and_gives_back_as_many(size: int) -> None:
    sizes = []

    def batched(items: list[Row]) -> list[Row]:
        sizes.append(len(items))
        return [Row(n=item.n * 10) for item in items]

    run = Chain(name="c", steps=[add(1, "a"), apply(batched, batch=size)]).run(rows(10))
    assert [value.n for value in values(run)] == [10 * (n + 1) for n in range(10)]
    assert sum(sizes) == 10
    assert max(sizes) == min(size, 10)


def test_a_batch_may_be_larger_than_what_is_in_flight() -> None:
    seen = []

    def everything(items: list[Row]) -> list[Row]:
        seen.append([item.n for item in items])
        return items

    steps = [add(0, "a"), apply(everything, batch="all"), add(1, "b")]
    run = Chain(name="c", steps=steps).run(rows(1000))
    assert seen == [list(range(1000))]
    assert [value.n for value in values(run)] == list(range(1, 1001))


def test_batches_after_one_another_wait_for_all_rows() -> None:
    seen = []

    def first(items: list[Row]) -> list[Any]:
        seen.append(("first", len(items)))
        return [None if item.n == 0 else [item, item] for item in items]

    def second(items: list[Row]) -> list[Row]:
        seen.append(("second", len(items)))
        return items

    steps = [apply(first, batch="all"), apply(second, batch="all")]
    run = Chain(name="c", steps=steps).run(rows(4))
    assert seen == [("first", 4), ("second", 6)]
    assert values(run)[:2] == [None, [Row(n=1), Row(n=1)]]


def test_a_batch_of_the_wrong_length_fails_its_rows() -> None:
    def one(items: list[Row]) -> list[Row]:
        return items[:1]

    run = Chain(name="c", steps=[apply(one, batch=2)]).run(rows(4))
    assert {str(result.error) for result in run.results} == {
        "apply 'one': a batch of 2 items needs a list of the same length, got 1"
    }


# What the executor does, said by recursion: one row at a time, nothing beside anything.

Plan = list[Any]


def plans(depth: int = 2) -> st.SearchStrategy[Plan]:
    simple = st.one_of(
        st.tuples(st.just("step"), st.integers(0, 9)),
        st.tuples(st.just("add"), st.integers(0, 9)),
        st.tuples(st.just("split"), st.integers(2, 4)),
        st.tuples(st.just("batch"), st.sampled_from([1, 2, 5, "all"])),
    )
    nodes = simple
    if depth:
        nodes = st.one_of(simple, st.tuples(st.just("branch"), plans(depth - 1), st.booleans()))
    return st.lists(nodes, min_size=1, max_size=4)


def build(plan: Plan, numbers: Any) -> list[Any]:
    nodes: list[Any] = []
    aliases: list[str] = []
    for kind, *what in plan:
        id = f"x{next(numbers)}"
        if kind == "branch":
            branch = Branch(name=id, steps=build(what[0], numbers))
            if what[1]:
                aliases.append(id)
                branch.join(id)
            nodes.append(branch)
        elif kind == "step":
            seen = " ".join(f"{{{{ {a} | string | length }}}}" for a in aliases)
            nodes.append(step(id, f"{{{{ n }}}} {what[0]} {seen}"))
        elif kind == "add":
            nodes.append(add(what[0], id))
        elif kind == "split":
            nodes.append(apply(splitter(what[0]), id=id))
        else:
            nodes.append(apply(tens, id=id, batch=what[0]))
    return nodes


def splitter(by: int) -> Any:
    async def split(row: Row) -> list[Row] | Row | None:
        await anyio.sleep(random.random() / 1000)
        if row.n % by == 0:
            return None
        return [Row(n=row.n + i) for i in range(row.n % by)] if row.n % by > 1 else row

    return split


def split_by_hand(row: Row, by: int) -> list[Row]:
    return [Row(n=row.n + i) for i in range(row.n % by)]


def tens(items: list[Row]) -> list[Row]:
    return [Row(n=item.n + 10) for item in items]


def reference(nodes: list[Any], plan: Plan, row: Row, joined: dict[str, Any]) -> Any:
    """The last outputs of a row: a value, `None` for a dropped one, or a list of a split one."""
    joined = dict(joined)
    for index, (node, (kind, *what)) in enumerate(zip(nodes, plan, strict=True)):
        if kind == "branch":
            made = reference(node.steps, what[0], row, joined)
            if node.alias:
                joined[node.alias] = flat(made) if isinstance(made, list) else made
        elif kind == "split":
            items = split_by_hand(row, what[0])
            if row.n % what[0] > 1:
                rest = nodes[index + 1 :], plan[index + 1 :]
                return [reference(*rest, item, joined) for item in items]
            if not items:
                return None
            row = items[0]
        else:
            lengths = sum(len(str(joined[a])) for a in joined if f"{{ {a} |" in prompt(node))
            row = Row(n=row.n + (10 if kind == "batch" else what[0]) + lengths)
    return row


def prompt(node: Any) -> str:
    return getattr(node, "user_prompt", "")


def flat(made: Any) -> Any:
    if not isinstance(made, list):
        return [] if made is None else [made]
    return [item for part in made for item in flat(part)]


@given(plans(), st.integers(0, 12))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_graph_gives_what_a_plain_recursion_gives(plan: Plan, count: int) -> None:
    nodes = build(plan, itertools.count())
    chain = Chain(name="c", steps=nodes)
    with fake_engine("e", number, max_concurrency=3):
        run = chain.run(rows(count))
    for n, result in enumerate(run.results):
        wanted = reference(nodes, plan, Row(n=n), {})
        if not chain.main_ids:
            continue
        assert result.unwrap() == (flat(wanted) if isinstance(wanted, list) else wanted)


def clean_or_torn(chance: random.Random, path: Path) -> None:
    """Leave the files as a kill would: perhaps with the beginning of a line at an end."""
    for file in [*sorted(path.glob("steps/*/*.jsonl")), path / "errors.jsonl"]:
        if chance.random() < 0.5:
            whole = file.read_bytes().splitlines(keepends=True)
            if whole:
                cut = chance.randrange(len(whole[-1]))
                file.write_bytes(b"".join(whole[:-1]) + whole[-1][:cut])


def finished(path: Path) -> set[tuple[str, int, str]]:
    """Steps that have finished, well or not, with rows and items."""
    done = [
        (file.parent.name, line["row_id"], line.get("item", ""))
        for file in path.glob("steps/*/*.jsonl")
        for line in whole_lines(file)
    ]
    assert len(done) == len(set(done)), "a finished step was done again"
    failed = [
        (line["step_id"], line["row_id"], line.get("item", ""))
        for line in whole_lines(path / "errors.jsonl")
    ]
    assert len(failed) == len(set(failed)), "an error was recorded twice"
    return {*done, *failed}


def whole_lines(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


@given(plans(), st.integers(1, 12), st.lists(st.integers(1, 15), max_size=3), st.integers(0, 99))
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_an_interrupted_run_ends_as_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory,
    plan: Plan,
    count: int,
    kills: list[int],
    seed: int,
) -> None:
    nodes = build(plan, itertools.count())
    chain = Chain(name="c", steps=nodes)
    folder = tmp_path_factory.mktemp("runs")
    steps = {node.id for node in chain.prompted}
    left, chance = [0], random.Random(seed)

    async def killed(path: Path, after: int) -> None:
        left[0] = after
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await chain.arun(rows(count), output_dir=path, resume=True)

    def answer(messages: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            scopes[-1].cancel()
        row = number(messages)
        return RateLimitError("too many") if row.n % 7 == 3 else row

    scopes: list[anyio.CancelScope] = []
    with fake_engine("e", answer, max_concurrency=3) as engine:
        clean = chain.run(rows(count), output_dir=folder / "clean")
        for kill in kills:
            anyio.run(killed, folder / "run", kill)
            clean_or_torn(chance, folder / "run")
        before = finished(folder / "run") if kills else set()
        asked = len(engine.requests)
        left[0] = 0
        run = chain.run(rows(count), output_dir=folder / "run", resume=True)
    after = finished(folder / "run")
    assert after == finished(folder / "clean")
    assert len(engine.requests) - asked == len({d for d in after - before if d[0] in steps})
    assert run.counts == clean.counts
    assert lines(folder / "run/flattened") == lines(folder / "clean/flattened")
    assert [r.outputs for r in run.results] == [r.outputs for r in clean.results]
    assert run.usage == clean.usage


def test_errors_are_tried_again_when_asked(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[step("a", "{{ n }} 1"), step("b", "{{ n }} 1")])
    script: dict[str, Any] = {"10 1": Row(n=5), "0 1": Row(n=10), "1 1": RateLimitError("too many")}
    with fake_engine("e", script):
        run = chain.run(rows(2), output_dir=tmp_path / "run")
    assert [result.ok for result in run.results] == [True, False]
    with fake_engine("e", number) as engine:
        same = chain.run(rows(2), output_dir=tmp_path / "run", resume=True)
        assert engine.requests == []
        assert (same.counts.ok, same.counts.failed) == (1, 1)
        assert "too many" in str(same.results[1].error)
        again = chain.run(rows(2), output_dir=tmp_path / "run", retry_errors=True)
    assert [message[-1]["content"] for message in engine.requests] == ["1 1", "2 1"]
    assert [result.value.n for result in again.results] == [5, 3]
    assert (tmp_path / "run/errors.jsonl").read_bytes() == b""
    manifest = json.loads((tmp_path / "run/run.json").read_text())
    assert len(manifest["resumed"]) == 2
    assert manifest["counts"] == {"rows": 2, "ok": 2, "failed": 0}


@pytest.mark.parametrize("changed", ["chain", "model", "engine", "inputs", "function"])
def test_a_run_of_something_else_is_not_gone_on_with(changed: str, tmp_path: Path) -> None:
    class Changed(Row):
        more: int = 0

    def chain(prompt: str, model: Any, function: Any) -> Chain:
        return Chain(name="c", steps=[step("a", prompt, gives=model), function])

    source = tmp_path / "rows.jsonl"
    source.write_text('{"n": 1}\n')
    options: dict[str, Any] = {"output_dir": tmp_path / "run"}
    with fake_engine("e", number, model="m"):
        chain("{{ n }}", Row, add(1, "f")).run(source, **options)
    if changed == "inputs":
        source.write_text('{"n": 2}\n')
    other = chain(
        "{{ n }} 1" if changed == "chain" else "{{ n }}",
        Changed if changed == "model" else Row,
        apply(tens_of_one, id="f") if changed == "function" else add(1, "f"),
    )
    said = {"engine": "engine 'e'", "inputs": "the inputs"}.get(changed, "the chain")
    with fake_engine("e", number, model="other" if changed == "engine" else "m"):
        with pytest.raises(OutputDirError, match=rf"changed since: {said}.*--force"):
            other.run(source, resume=True, **options)
        assert other.run(source, resume=True, force=True, **options).counts.ok == 1
    with fake_engine("e", number, model="m", timeout=5, max_concurrency=1):
        chain("{{ n }}", Row, add(1, "f")).run(source, overwrite=True, **options)


def tens_of_one(row: Row) -> Row:
    return Row(n=row.n * 10)


def test_to_resume_what_was_never_begun_is_to_begin(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[add(1, "a")])
    assert chain.run(rows(2), output_dir=tmp_path / "new", resume=True).counts.ok == 2
    with pytest.raises(OutputDirError, match="give the output directory"):
        chain.run(rows(2), resume=True)
    with pytest.raises(OutputDirError, match="--resume"):
        chain.run(rows(2), output_dir=tmp_path / "new")


async def late_first(row: Row) -> Row:
    await anyio.sleep(0.05 if row.n < 3 else 0)
    return row


@pytest.mark.parametrize("in_order", [True, False])
def test_a_stream_yields_each_row_as_soon_as_it_is_there(in_order: bool, tmp_path: Path) -> None:
    async def collect() -> list[int]:
        chain = Chain(name="c", steps=[apply(late_first)])
        options = {"in_order": in_order, "output_dir": tmp_path / "run"}
        return [result.row_id async for result in chain.stream(rows(10), **options)]

    found = anyio.run(collect)
    assert sorted(found) == list(range(10))
    assert (found == list(range(10))) is in_order
    assert len(lines(tmp_path / "run/flattened")) == 10


def test_a_stream_reads_no_further_ahead_than_it_is_taken() -> None:
    read = 0

    def source() -> Any:
        nonlocal read
        for n in range(100_000):
            read = n
            yield {"n": n}

    async def take_some() -> None:
        chain = Chain(name="c", steps=[add(1, "a")])
        taken = 0
        async for result in chain.stream(source(), in_order=True):
            assert result.value.n == taken + 1
            taken += 1
            if taken == 300:
                await anyio.sleep(0.05)
                break

    async def whole() -> None:
        before.update(task.get_name() for task in asyncio.all_tasks())
        await take_some()
        await anyio.sleep(0.05)
        assert {task.get_name() for task in asyncio.all_tasks()} == before

    before: set[str] = set()
    anyio.run(whole)
    assert read < 1500


def test_what_ends_a_run_ends_its_stream() -> None:
    def broken() -> Any:
        yield {"n": 1}
        raise ValueError("the source broke")

    async def collect() -> None:
        async for _ in Chain(name="c", steps=[add(1, "a")]).stream(broken()):
            pass

    with pytest.raises(ValueError, match="the source broke"):
        anyio.run(collect)


def test_a_dry_run_renders_the_first_prompts_and_sends_none() -> None:
    chain = Chain(name="c", steps=[
        add(1, "more"),
        Branch(name="b", steps=[step("side", "side {{ n }}")]),
        step("first", "say {{ n }}"),
        step("second", "{{ first.n }}"),
    ])  # fmt: skip
    source = [{"n": 1}, {"n": "x"}, {"n": 3}]
    with fake_engine("e", number) as engine:
        *shown, error = anyio.run(dry_run, chain, source)
    assert engine.requests == []
    assert sorted((p.row_id, p.step_id, p.messages[0]["content"]) for p in shown) == [
        (0, "first", "say 2"), (0, "side", "side 2"), (2, "first", "say 4"), (2, "side", "side 4"),
    ]  # fmt: skip
    assert isinstance(error, InputError)


def test_costs_are_known_unknown_or_none(tmp_path: Path) -> None:
    class Priced(FakeClient):
        offline = False

    address = "https://api.openai.com/v1"
    answer = LLMOutput([Completion('{"n": 1}', finish_reason="stop")], usage=Usage(1100, 100))
    chain = Chain(name="c", steps=[step("a", "{{ n }}")])
    for model, wanted in (("gpt-4.1-mini", Decimal("0.0006")), ("no-such-model", None)):
        config = EngineConfig(name="e", backend="fake", model=model, endpoint=address)
        client = Priced(config, lambda _: answer)
        with registry.replaced(client):
            run = chain.run(rows(1), output_dir=tmp_path / model)
        assert run.cost == wanted
        manifest = json.loads((tmp_path / model / "run.json").read_text())
        assert manifest["cost_usd"] == (None if wanted is None else float(wanted))
    with fake_engine("e", number):
        assert chain.run(rows(1)).cost == 0


def test_a_sample_is_random_in_order_and_always_the_same(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[add(0, "a")])
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(f'{{"n": {n}}}\n' for n in range(100)))
    for inputs in (rows(100), source):
        run = chain.run(inputs, sample=10)
        ids = [result.row_id for result in run.results]
        assert len(ids) == 10
        assert ids == sorted(ids) != list(range(10))
        assert [result.value.n for result in run.results] == ids
        assert [r.row_id for r in chain.run(inputs, sample=10).results] == ids
    stored = chain.run(source, sample=10, output_dir=tmp_path / "run", resume=True).results
    assert [stored[i].row_id for i in range(10)] == [r.row_id for r in stored] == ids
    assert [result.row_id for result in stored[2:4]] == ids[2:4]
    assert chain.run(rows(3), sample=10).counts.rows == 3
    assert max(r.row_id for r in chain.run(source, sample=5, limit=20).results) < 20
    with pytest.raises(InputError, match="rows can be counted"):
        chain.run(iter(rows(3)), sample=1)


def test_columns_are_taken_under_the_fields_they_become() -> None:
    chain = Chain(name="c", steps=[add(0, "a")])
    run = chain.run([{"other": 3, "n": "no number"}, {"n": 1}], columns={"n": "other"})
    assert run.results[0].value == Row(n=3)
    assert "no column 'other'; the columns are: n" in str(run.results[1].error)


class Watched(FakeClient):
    """Notes when it is asked and when it is released."""

    log: list[str]

    async def _chat(self, request: Any) -> LLMOutput:
        self.log.append(f"{self.config.name} asked")
        return await super()._chat(request)

    def release(self) -> None:
        self.log.append(f"{self.config.name} released")


def watched(log: list[str], name: str, **fields: Any) -> Watched:
    client = Watched(EngineConfig(name=name, backend="fake", **fields), number)
    client.log = log
    return client


def on(engine: str, id: str, prompt: str = "{{ n }}") -> Step:
    return Step(id=id, input_model=Row, output_model=Row, engine_name=engine, user_prompt=prompt)


def test_an_engine_is_released_after_its_last_step() -> None:
    log: list[str] = []
    together = apply(lambda items: items, id="all", batch="all", input_model=Row, output_model=Row)
    side = Branch(name="side", steps=[on("first", "beside")])
    several = apply(lambda row: [row, row], id="two", input_model=Row, output_model=Row)
    chain = Chain(name="c", steps=[several, side, on("first", "a"), together, on("second", "b")])
    with (
        registry.replaced(watched(log, "first")),
        registry.replaced(watched(log, "second")),
    ):
        assert not list(chain.run(rows(20)).errors)
        assert log == ["first asked"] * 80 + ["first released"] + ["second asked"] * 40 + [
            "second released"
        ]


def test_an_engine_that_is_not_lazy_or_runs_elsewhere_is_kept() -> None:
    log: list[str] = []
    chain = Chain(name="c", steps=[on("e", "a")])
    with registry.replaced(watched(log, "e", lazy=False)):
        chain.run(rows(2))
    assert log == ["e asked"] * 2
    log.clear()

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chain.arun, rows(1))
            await chain.arun(rows(500))

    with registry.replaced(watched(log, "e")):
        anyio.run(both)
    assert log == ["e asked"] * 501 + ["e released"]


def test_an_engine_is_released_when_rows_fail_or_the_run_does() -> None:
    log: list[str] = []
    chain = Chain(name="c", steps=[on("e", "a", "{{ n }} {{ 1 // n }}")])
    with registry.replaced(watched(log, "e")):
        run = chain.run([{"n": 1}, {"n": "x"}, {"n": 0}])
        assert [result.ok for result in run.results] == [True, False, False]
        assert log == ["e asked", "e released"]

        def broken() -> Any:
            yield {"n": 1}
            raise OSError("the disk")

        with pytest.raises(OSError, match="the disk"):
            chain.run(broken())
    assert log[-1] == "e released"


def test_tokens_of_failures_are_counted_after_a_resume_too(tmp_path: Path) -> None:
    def answer(messages: Any) -> Any:
        spent = Usage(10, 5)
        bad = "9" in messages[-1]["content"]
        return LLMOutput(
            [Completion("no JSON" if bad else '{"n": 1}', finish_reason="stop")], spent
        )

    chain = Chain(name="c", steps=[step("a", "{{ n }}")])
    with fake_engine("e", answer):
        run = chain.run(rows(10), output_dir=tmp_path / "run")
        again = chain.run(rows(10), output_dir=tmp_path / "run", resume=True)
    assert run.usage == again.usage == {"a": Usage(110, 55)}  # the bad one is asked twice
    assert lines_of(tmp_path / "run/errors.jsonl")[0]["usage"]["prompt_tokens"] == 20

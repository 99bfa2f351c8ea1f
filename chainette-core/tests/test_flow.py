"""Running branches, functions, splits and batches."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from decimal import Decimal
from functools import partial
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


def step(id: str, prompt: str, input_model: Any = Row, output_model: Any = Row) -> Step:
    return Step(
        id=id,
        input_model=input_model,
        output_model=output_model,
        engine_name="e",
        user_prompt=prompt,
    )


def number(messages: Any) -> Row:
    """Answer with the sum of the numbers in the prompt."""
    return Row(n=sum(int(word) for word in messages[-1]["content"].split()))


def rows(count: int) -> list[dict[str, int]]:
    return [{"n": n} for n in range(count)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [line for file in sorted(path.glob("*.jsonl")) for line in lines_of(file)]


def values(run: Any) -> list[Any]:
    return [None if result.dropped else result.unwrap() for result in run.results]


def add(amount: int, id: str, **options: Any) -> Any:
    def function(row: Row) -> Row:
        return Row(n=row.n + amount)

    return apply(function, id=id, **options)


def test_branches_run_in_parallel_and_join_under_their_alias() -> None:
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


def test_outputs_of_a_branch_that_is_not_joined_are_kept(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[add(0, "a"), Branch(name="b", steps=[add(5, "side")])])
    run = chain.run(rows(2), output_dir=tmp_path / "run")
    assert [value.n for value in values(run)] == [0, 1]
    assert lines(tmp_path / "run/flattened") == [
        {"row_id": 0, "n": 0, "a.n": 0, "side.n": 5},
        {"row_id": 1, "n": 1, "a.n": 1, "side.n": 6},
    ]
    assert [line["row_id"] for line in lines(tmp_path / "run/steps/side")] == [0, 1]


def test_a_chain_of_functions_does_not_need_an_engine() -> None:
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
    on_disk = chain.run(rows(4), output_dir=tmp_path / "run", keep="none")
    for run in (chain.run(rows(4)), on_disk):
        assert values(run) == [None, None, [Row(n=11)], [Row(n=11)]]
        assert (run.counts.ok, run.counts.dropped) == (2, 2)
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


def test_a_failing_function_fails_only_its_row(tmp_path: Path) -> None:
    def picky(row: Row) -> Row:
        if row.n == 1:
            raise ValueError("not one")
        return row

    run = Chain(name="c", steps=[apply(picky)]).run(rows(3), output_dir=tmp_path / "run")
    assert [result.ok for result in run.results] == [True, False, True]
    (error,) = lines_of(tmp_path / "run/errors.jsonl")
    assert (error["row_id"], error["node_id"], error["type"]) == (1, "picky", "ApplyError")
    message = r"apply 'picky' failed at test_flow\.py:\d+: ValueError: not one"
    assert re.fullmatch(message, error["message"])


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_return_values_of_functions_are_validated() -> None:
    def wrong(row: Row) -> Row:
        return {"n": "x"}  # type: ignore[return-value]

    (result,) = Chain(name="c", steps=[apply(wrong)]).run(rows(1)).results
    assert isinstance(result.error, ApplyError)
    assert "n: Input should be a valid integer" in str(result.error)


def test_a_failed_branch_fails_only_the_steps_that_need_it(tmp_path: Path) -> None:
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
    assert error["node_id"] == "fail"


def test_a_failed_item_does_not_stop_its_siblings(tmp_path: Path) -> None:
    def split(row: Row) -> list[Row]:
        return [Row(n=n) for n in range(3)]

    def picky(row: Row) -> Row:
        assert row.n != 1
        return row

    chain = Chain(name="c", steps=[apply(split), apply(picky)])
    run = chain.run(rows(2), output_dir=tmp_path / "run")
    assert (run.counts.rows, run.counts.partial) == (2, 2)
    assert [line["item"] for line in lines_of(tmp_path / "run/errors.jsonl")] == ["1", "1"]
    assert len(lines(tmp_path / "run/steps/picky")) == 4


@pytest.mark.parametrize("size", [1, 3, 4, 1000])
def test_a_batch_returns_as_many_items_as_it_takes(size: int) -> None:
    sizes = []

    def batched(items: list[Row]) -> list[Row]:
        sizes.append(len(items))
        return [Row(n=item.n * 10) for item in items]

    run = Chain(name="c", steps=[add(1, "a"), apply(batched, batch=size)]).run(rows(10))
    assert [value.n for value in values(run)] == [10 * (n + 1) for n in range(10)]
    assert sum(sizes) == 10
    assert max(sizes) == min(size, 10)


def test_a_batch_may_be_larger_than_the_number_of_rows_in_flight() -> None:
    batches = []

    def everything(items: list[Row]) -> list[Row]:
        batches.append([item.n for item in items])
        return items

    steps = [add(0, "a"), apply(everything, batch="all"), add(1, "b")]
    run = Chain(name="c", steps=steps).run(rows(1000))
    assert batches == [list(range(1000))]
    assert [value.n for value in values(run)] == list(range(1, 1001))


def test_consecutive_batches_wait_for_all_rows() -> None:
    calls = []

    def first(items: list[Row]) -> list[Any]:
        calls.append(("first", len(items)))
        return [None if item.n == 0 else [item, item] for item in items]

    def second(items: list[Row]) -> list[Row]:
        calls.append(("second", len(items)))
        return items

    steps = [apply(first, batch="all"), apply(second, batch="all")]
    run = Chain(name="c", steps=steps).run(rows(4))
    assert calls == [("first", 4), ("second", 6)]
    assert values(run)[:2] == [None, [Row(n=1), Row(n=1)]]


def test_a_batch_of_the_wrong_length_fails_its_rows() -> None:
    def one(items: list[Row]) -> list[Row]:
        return items[:1]

    run = Chain(name="c", steps=[apply(one, batch=2)]).run(rows(4))
    assert {str(result.error) for result in run.results} == {
        "apply 'one': a batch of 2 items needs a list of the same length, got 1"
    }


# A reference implementation of the executor: recursive, one row at a time, without concurrency.

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
    for kind, *args in plan:
        id = f"x{next(numbers)}"
        if kind == "branch":
            branch = Branch(name=id, steps=build(args[0], numbers))
            if args[1]:
                aliases.append(id)
                branch.join(id)
            nodes.append(branch)
        elif kind == "step":
            lengths = " ".join(f"{{{{ {a} | string | length }}}}" for a in aliases)
            nodes.append(step(id, f"{{{{ n }}}} {args[0]} {lengths}"))
        elif kind == "add":
            nodes.append(add(args[0], id))
        elif kind == "split":
            nodes.append(apply(splitter(args[0]), id=id))
        else:
            nodes.append(apply(tens, id=id, batch=args[0]))
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
    """The last outputs of a row: a value, `None` if it was dropped, or a list if it was split."""
    joined = dict(joined)
    for index, (node, (kind, *args)) in enumerate(zip(nodes, plan, strict=True)):
        if kind == "branch":
            result = reference(node.steps, args[0], row, joined)
            if node.alias:
                joined[node.alias] = flat(result) if isinstance(result, list) else result
        elif kind == "split":
            items = split_by_hand(row, args[0])
            if row.n % args[0] > 1:
                rest = nodes[index + 1 :], plan[index + 1 :]
                return [reference(*rest, item, joined) for item in items]
            if not items:
                return None
            row = items[0]
        else:
            lengths = sum(len(str(joined[a])) for a in joined if f"{{ {a} |" in prompt(node))
            row = Row(n=row.n + (10 if kind == "batch" else args[0]) + lengths)
    return row


def prompt(node: Any) -> str:
    return getattr(node, "user_prompt", "")


def flat(output: Any) -> Any:
    if not isinstance(output, list):
        return [] if output is None else [output]
    return [item for part in output for item in flat(part)]


@given(plans(), st.integers(0, 12))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_graph_gives_the_results_of_the_reference(plan: Plan, count: int) -> None:
    nodes = build(plan, itertools.count())
    chain = Chain(name="c", steps=nodes)
    with fake_engine("e", number, max_concurrency=3):
        run = chain.run(rows(count))
    for n, result in enumerate(run.results):
        expected = reference(nodes, plan, Row(n=n), {})
        if not chain.main_ids:
            continue
        value = None if result.dropped else result.unwrap()
        assert value == (flat(expected) if isinstance(expected, list) else expected)


def truncate_some_files(rng: random.Random, path: Path, whole: set[str]) -> None:
    """Damage files as a kill would: some may end with an incomplete line.

    Where a function takes all items, all its lines are there before any node behind it writes one.
    """
    for file in [*sorted(path.glob("steps/*/*.jsonl")), path / "errors.jsonl"]:
        if rng.random() < 0.5 and file.parent.name not in whole:
            complete = file.read_bytes().splitlines(keepends=True)
            if complete:
                cut = rng.randrange(len(complete[-1]))
                file.write_bytes(b"".join(complete[:-1]) + complete[-1][:cut])


def finished(path: Path) -> set[tuple[str, int, str]]:
    """Steps that have finished, successfully or not, with their rows and items."""
    successes = [
        (file.parent.name, line["row_id"], line.get("item", ""))
        for file in path.glob("steps/*/*.jsonl")
        for line in complete_lines(file)
    ]
    assert len(successes) == len(set(successes)), "a finished step was repeated"
    failures = [
        (line["node_id"], line["row_id"], line.get("item", ""))
        for line in complete_lines(path / "errors.jsonl")
    ]
    assert len(failures) == len(set(failures)), "an error was recorded twice"
    return {*successes, *failures}


def complete_lines(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


@given(plans(), st.integers(1, 12), st.lists(st.integers(1, 15), max_size=3), st.integers(0, 99))
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@pytest.mark.exhaustive
def test_an_interrupted_run_ends_with_the_results_of_an_uninterrupted_one(
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
    whole = {id for id, it in chain.nodes.items() if getattr(it, "batch", None) == "all"}
    answers_left, rng = [0], random.Random(seed)

    async def run_until_killed(path: Path, after: int) -> None:
        answers_left[0] = after
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await chain.arun(rows(count), output_dir=path, resume=True)

    def answer(messages: Any) -> Any:
        answers_left[0] -= 1
        if answers_left[0] == 0:
            scopes[-1].cancel()
        row = number(messages)
        return RateLimitError("too many") if row.n % 7 == 3 else row

    scopes: list[anyio.CancelScope] = []
    with fake_engine("e", answer, max_concurrency=3) as engine:
        clean = chain.run(rows(count), output_dir=folder / "clean")
        for answers_before_kill in kills:
            anyio.run(run_until_killed, folder / "run", answers_before_kill)
            truncate_some_files(rng, folder / "run", whole)
        before = finished(folder / "run") if kills else set()
        requests = len(engine.requests)
        answers_left[0] = 0
        run = chain.run(rows(count), output_dir=folder / "run", resume=True)
    after = finished(folder / "run")
    assert after == finished(folder / "clean")
    assert len(engine.requests) - requests == len({d for d in after - before if d[0] in steps})
    assert run.counts == clean.counts
    assert lines(folder / "run/flattened") == lines(folder / "clean/flattened")
    assert [r.outputs for r in run.results] == [r.outputs for r in clean.results]
    assert run.usage == clean.usage


def test_errors_are_retried_on_request(tmp_path: Path) -> None:
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
    assert len(manifest["resumed"]) == 1  # the other one had nothing to do
    assert manifest["counts"]["ok"] == 2


@pytest.mark.parametrize("changed", ["chain", "model", "engine", "inputs", "function"])
def test_a_run_whose_definition_changed_is_not_resumed(changed: str, tmp_path: Path) -> None:
    class Changed(Row):
        more: int = 0

    def chain(prompt: str, model: Any, function: Any) -> Chain:
        return Chain(name="c", steps=[step("a", prompt, output_model=model), function])

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
    message = {
        "chain": r"step 'a' \(user_prompt\); redo=\[\"a\"\]",
        "model": r"step 'a' \(output type\); redo=\[\"a\"\]",
        "engine": r"engine 'e' \(model\), which 'a' uses; redo=\[\"a\"\]",
        "inputs": "the inputs; choose another folder",
        "function": r"apply 'f' \(its code, closure amount\); redo=\[\"f\"\]",
    }[changed]
    with fake_engine("e", number, model="other" if changed == "engine" else "m"):
        with pytest.raises(OutputDirError, match=rf"changed since: {message}.*force=True"):
            other.run(source, resume=True, **options)
        assert other.run(source, resume=True, force=True, **options).counts.ok == 1
    with fake_engine("e", number, model="m", timeout=5, max_concurrency=1):
        chain("{{ n }}", Row, add(1, "f")).run(source, overwrite=True, **options)


def tens_of_one(row: Row) -> Row:
    return Row(n=row.n * 10)


def test_resuming_without_an_earlier_run_starts_a_new_one(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[add(1, "a")])
    assert chain.run(rows(2), output_dir=tmp_path / "new", resume=True).counts.ok == 2
    with pytest.raises(OutputDirError, match="give the output directory"):
        chain.run(rows(2), resume=True)
    with pytest.raises(OutputDirError, match="resume=True"):
        chain.run(rows(2), output_dir=tmp_path / "new")


async def late_first(row: Row) -> Row:
    await anyio.sleep(0.05 if row.n < 3 else 0)
    return row


@pytest.mark.parametrize("in_order", [True, False])
def test_a_stream_yields_each_row_as_soon_as_it_is_ready(in_order: bool, tmp_path: Path) -> None:
    async def collect() -> list[int]:
        chain = Chain(name="c", steps=[apply(late_first)])
        options = {"in_order": in_order, "output_dir": tmp_path / "run"}
        return [result.row_id async for result in chain.stream(rows(10), **options)]

    row_ids = anyio.run(collect)
    assert sorted(row_ids) == list(range(10))
    assert (row_ids == list(range(10))) is in_order
    assert len(lines(tmp_path / "run/flattened")) == 10


def test_a_stream_reads_a_bounded_number_of_rows_ahead() -> None:
    read = 0

    def source() -> Any:
        nonlocal read
        for n in range(100_000):
            read = n
            yield {"n": n}

    async def consume_some() -> None:
        chain = Chain(name="c", steps=[add(1, "a")])
        count = 0
        async for result in chain.stream(source(), in_order=True):
            assert result.value.n == count + 1
            count += 1
            if count == 300:
                await anyio.sleep(0.05)
                break

    async def main() -> None:
        before.update(task.get_name() for task in asyncio.all_tasks())
        await consume_some()
        await anyio.sleep(0.05)
        assert {task.get_name() for task in asyncio.all_tasks()} == before

    before: set[str] = set()
    anyio.run(main)
    assert read < 1500


def test_an_error_that_ends_a_run_ends_its_stream() -> None:
    def broken() -> Any:
        yield {"n": 1}
        raise ValueError("the source broke")

    async def collect() -> None:
        async for _ in Chain(name="c", steps=[add(1, "a")]).stream(broken()):
            pass

    with pytest.raises(ValueError, match="the source broke"):
        anyio.run(collect)


def test_a_dry_run_renders_the_first_prompts_without_sending_them() -> None:
    chain = Chain(name="c", steps=[
        add(1, "more"),
        Branch(name="b", steps=[step("side", "side {{ n }}")]),
        step("first", "say {{ n }}"),
        step("second", "{{ first.n }}"),
    ])  # fmt: skip
    source = [{"n": 1}, {"n": "x"}, {"n": 3}]
    with fake_engine("e", number) as engine:
        call = partial(dry_run, chain, source, with_functions=True)
        *prompts, unknown, error = anyio.run(call)
    assert engine.requests == []
    assert sorted((p.row_id, p.step_id, p.messages[0]["content"]) for p in prompts) == [
        (0, "first", "say 2"), (0, "side", "side 2"), (2, "first", "say 4"), (2, "side", "side 4"),
    ]  # fmt: skip
    assert (unknown.step_id, unknown.after.id) == ("second", "first")
    assert isinstance(error, InputError)


def test_costs_are_known_unknown_or_zero(tmp_path: Path) -> None:
    class Priced(FakeClient):
        offline = False

    address = "https://api.openai.com/v1"
    answer = LLMOutput([Completion('{"n": 1}', finish_reason="stop")], usage=Usage(1100, 100))
    chain = Chain(name="c", steps=[step("a", "{{ n }}")])
    for model, expected in (("gpt-4.1-mini", Decimal("0.0006")), ("no-such-model", None)):
        config = EngineConfig(name="e", backend="fake", model=model, endpoint=address)
        client = Priced(config, lambda _: answer)
        with registry.replaced(client):
            run = chain.run(rows(1), output_dir=tmp_path / model)
        assert run.cost == expected
        manifest = json.loads((tmp_path / model / "run.json").read_text())
        assert manifest["cost_usd"] == (None if expected is None else float(expected))
    with fake_engine("e", number):
        assert chain.run(rows(1)).cost == 0


def test_a_sample_is_random_ordered_and_reproducible(tmp_path: Path) -> None:
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


def test_columns_are_mapped_to_fields() -> None:
    chain = Chain(name="c", steps=[add(0, "a")])
    run = chain.run([{"other": 3, "n": "no number"}, {"n": 1}], columns={"n": "other"})
    assert run.results[0].value == Row(n=3)
    assert "no column 'other'; the columns are: n" in str(run.results[1].error)


class RecordingClient(FakeClient):
    """Logs its requests and its release."""

    log: list[str]

    async def _chat(self, request: Any) -> LLMOutput:
        self.log.append(f"{self.config.name} request")
        return await super()._chat(request)

    def release(self) -> None:
        self.log.append(f"{self.config.name} released")


def recording_client(log: list[str], name: str, **fields: Any) -> RecordingClient:
    client = RecordingClient(EngineConfig(name=name, backend="fake", **fields), number)
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
        registry.replaced(recording_client(log, "first")),
        registry.replaced(recording_client(log, "second")),
    ):
        assert not list(chain.run(rows(20)).errors)
        assert log == ["first request"] * 80 + ["first released"] + ["second request"] * 40 + [
            "second released"
        ]


def test_an_engine_that_is_not_lazy_or_is_in_use_by_another_run_is_kept() -> None:
    log: list[str] = []
    chain = Chain(name="c", steps=[on("e", "a")])
    with registry.replaced(recording_client(log, "e", lazy=False)):
        chain.run(rows(2))
    assert log == ["e request"] * 2
    log.clear()

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(chain.arun, rows(1))
            await chain.arun(rows(500))

    with registry.replaced(recording_client(log, "e")):
        anyio.run(both)
    assert log == ["e request"] * 501 + ["e released"]


def test_an_engine_is_released_when_rows_or_the_run_fail() -> None:
    log: list[str] = []
    chain = Chain(name="c", steps=[on("e", "a", "{{ n }} {{ 1 // n }}")])
    with registry.replaced(recording_client(log, "e")):
        run = chain.run([{"n": 1}, {"n": "x"}, {"n": 0}])
        assert [result.ok for result in run.results] == [True, False, False]
        assert log == ["e request", "e released"]

        def broken() -> Any:
            yield {"n": 1}
            raise OSError("the disk")

        with pytest.raises(OSError, match="the disk"):
            chain.run(broken())
    assert log[-1] == "e released"


def test_tokens_of_failed_rows_are_still_counted_after_a_resume(tmp_path: Path) -> None:
    def answer(messages: Any) -> Any:
        usage = Usage(10, 5)
        fails = any("9" in message["content"] for message in messages)
        return LLMOutput(
            [Completion("no JSON" if fails else '{"n": 1}', finish_reason="stop")], usage
        )

    chain = Chain(name="c", steps=[step("a", "{{ n }}")])
    with fake_engine("e", answer):
        run = chain.run(rows(10), output_dir=tmp_path / "run")
        again = chain.run(rows(10), output_dir=tmp_path / "run", resume=True)
    assert run.usage == again.usage == {"a": Usage(110, 55)}  # the failing row makes two requests
    assert lines_of(tmp_path / "run/errors.jsonl")[0]["usage"]["prompt_tokens"] == 20

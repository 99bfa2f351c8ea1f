"""Functions that see all rows at once: made again with all of them when a run goes on."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chainette import Branch, Chain, Drop, Step, apply
from chainette.errors import ChainError, EngineError
from chainette.folder.lines import LineFile
from chainette.testing import fake_engine
from pydantic import BaseModel, field_validator

VOLATILE = {"latency", "at", "usage", "cost"}
CALLS: Counter[str] = Counter()
BROKEN: set[str] = set()
"""Words of prompts that fail, and names of functions."""


class Row(BaseModel):
    n: int
    top: int = 0
    share: float = 0


class Said(BaseModel):
    text: str


class Tags(BaseModel):
    n: int
    tags: set[str]


@pytest.fixture(autouse=True)
def engine() -> Iterator[Any]:
    CALLS.clear()
    BROKEN.clear()
    with fake_engine("e", answer, price={"input": 1, "output": 1}) as fake:
        yield fake


def answer(messages: Any) -> Any:
    text = messages[-1]["content"]
    if any(word in text for word in BROKEN):
        return EngineError("gone")
    if text.startswith("draft"):
        return Row(n=int(text.split()[1]))
    return Said(text=text)


def asked(engine: Any) -> list[str]:
    texts = [messages[-1]["content"] for messages in engine.requests]
    engine.requests.clear()
    return texts


def draft() -> Step[Row, Row]:
    return Step(
        id="draft", input_model=Row, output_model=Row, engine_name="e",
        user_prompt="draft {{ n }} .",
    )  # fmt: skip


def say(prompt: str = "{{ n }} {{ top }}", id: str = "say") -> Step[Row, Said]:
    return Step(
        id=id, input_model=Row, output_model=Said, engine_name="e", user_prompt=f"{id} {prompt} ."
    )


def called(name: str) -> None:
    CALLS[name] += 1
    if name in BROKEN:
        raise ValueError("broken")


def best(rows: list[Row]) -> list[Row]:
    """Every second number learns the largest one, the others see nothing of it."""
    called("best")
    most = max(row.n for row in rows)
    return [Row(n=row.n, top=most if row.n % 2 == 0 else 0) for row in rows]


def shares(rows: list[Row]) -> list[Row]:
    called("shares")
    total = sum(row.n for row in rows)
    return [Row(n=row.n, top=row.top, share=row.n / total) for row in rows]


async def named(rows: list[Row], names: Any) -> list[Row]:
    called("named")
    most = max(it["chain_input"].n for it in names)
    return [Row(n=row.n, top=most) for row in rows]


def both(rows: list[Row]) -> list[list[Row]]:
    called("both")
    most = max(row.n for row in rows)
    return [[Row(n=row.n, top=k) for k in (0, most, 1)[: row.n % 3 + 1]] for row in rows]


def not_the_best(rows: list[Row]) -> list[Row | Drop]:
    called("not_the_best")
    most = max(row.n for row in rows)
    return [Drop("best") if row.n == most else row for row in rows]


def parts(row: Row) -> list[Row]:
    return [Row(n=10 * row.n + k, top=row.top) for k in range(2)]


def not_three(row: Row) -> Row | None:
    return None if row.n == 3 else row


def even(row: Row) -> bool:
    return row.n % 2 == 0


ASIDE = "{{ n }} {{ aside }}"
CHAINS: dict[str, Callable[[], list[Any]]] = {
    "alone": lambda: [apply(best, batch="all")],
    "first": lambda: [apply(shares, batch="all"), say("{{ n }} {{ share }}")],
    "plain": lambda: [draft(), apply(best, batch="all"), say()],
    "with names": lambda: [draft(), apply(named, batch="all"), say()],
    "rows dropped before": lambda: [draft(), apply(not_three), apply(best, batch="all"), say()],
    "a split before": lambda: [draft(), apply(parts), apply(best, batch="all"), say()],
    "a split after": lambda: [draft(), apply(best, batch="all"), apply(parts), say()],
    "lists": lambda: [draft(), apply(both, batch="all"), say()],
    "drops": lambda: [draft(), apply(not_the_best, batch="all"), say()],
    "two": lambda: [draft(), apply(best, batch="all"), say(id="first"),
                    apply(lambda it, names: Row(n=names["best"].n), id="back"),
                    apply(shares, batch="all"), say("{{ n }} {{ share }}")],
    "two, with drops": lambda: [draft(), apply(not_the_best, batch="all"),
                                apply(best, batch="all"), say()],
    "two, the second on a condition": lambda: [
        draft(), apply(best, batch="all"),
        apply(shares, batch="all", when="top > 2"), say("{{ n }} {{ top }} {{ share }}")],
    "two, the second in a branch on a condition": lambda: [
        draft(), apply(best, batch="all"),
        Branch("late", [apply(shares, batch="all"), say("{{ n }} {{ share }}")], when="top > 2"),
        say(id="main")],
    "a condition": lambda: [draft(), apply(best, batch="all", when=even), say()],
    "a condition after": lambda: [draft(), apply(best, batch="all"),
                                  Step(id="say", input_model=Row, output_model=Said,
                                       engine_name="e", user_prompt="say {{ n }} {{ top }} .",
                                       when="top > 3", otherwise=Said(text="-"))],
    "a branch": lambda: [draft(), Branch("side", [apply(best, batch="all"), say()]),
                         say("{{ n }}", "main")],
    "a joined branch": lambda: [
        draft(), Branch("side", [apply(best, batch="all"), say()]).join("aside"),
        say(ASIDE, "main")],
    "a joined branch in items": lambda: [
        draft(), apply(parts), Branch("side", apply(best, batch="all")).join("aside"),
        say("{{ n }} {{ aside.top }}", "main")],
    "a branch that splits, and a split": lambda: [
        draft(), Branch("side", [apply(parts), apply(best, batch="all")]).join("aside"),
        apply(lambda row: [row, Row(n=row.n + 100)], id="twice", output_model=Row),
        say(ASIDE, "main")],
    "a branch on a condition": lambda: [
        draft(), Branch("side", apply(best, batch="all")).join("aside"),
        Branch("late", say("{{ n }} {{ aside.top }}"), when="aside.top > 3"),
        say("{{ n }}", "main")],
    "all in a branch after another": lambda: [
        draft(), Branch("one", apply(best, batch="all")).join("aside"),
        Branch("two", [apply(shares, batch="all"), say("{{ n }} {{ share }} {{ aside.top }}")]),
        say(ASIDE, "main")],
    "a batch of two behind": lambda: [
        draft(), apply(best, batch="all"), apply(lambda rows: rows, id="same", batch=2), say()],
}  # fmt: skip
ROWS = [Row(n=n) for n in (2, 1, 4, 3, 8)]


def chain(name: str) -> Chain[Any, Any]:
    return Chain(name="c", steps=CHAINS[name]())


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def journal(path: Path) -> dict[str, list[str]]:
    """The lines of a run's nodes and its errors, as sets with the number of each."""
    files = {file.parent.name: file for file in path.glob("steps/*/000000.jsonl")}
    files["errors"] = path / "errors.jsonl"
    return {
        name: sorted(
            json.dumps({key: it[key] for key in it if key not in VOLATILE}) for it in read(file)
        )
        for name, file in files.items()
        if file.exists() and file.stat().st_size
    }


def table(path: Path) -> list[dict[str, Any]]:
    return read(path / "flattened/000000.jsonl")


def same(path: Path, expected: Path) -> None:
    assert table(path) == table(expected)
    assert journal(path) == journal(expected)


@pytest.mark.parametrize("name", CHAINS)
def test_a_resumed_run_with_more_rows_is_like_one_with_all_of_them(
    name: str, tmp_path: Path, engine: Any
) -> None:
    whole = chain(name).run(ROWS, output_dir=tmp_path / "whole")
    calls, texts = Counter(CALLS), asked(engine)
    path = tmp_path / "run"
    chain(name).run(ROWS, output_dir=path, limit=2)
    before = asked(engine)
    CALLS.clear()
    run = chain(name).run(ROWS, output_dir=path, resume=True)
    same(path, tmp_path / "whole")
    assert run.counts == whole.counts
    assert calls == CALLS, "each is called once, with all items"
    if name != "a batch of two behind":
        assert {*asked(engine)} == {*texts} - {*before}, "what has not changed is not asked again"
    engine.requests.clear()
    chain(name).run(ROWS, output_dir=path, resume=True, force=True)
    assert (asked(engine), CALLS) == ([], calls), "nothing is made again"
    same(path, tmp_path / "whole")


SOME = ["plain", "lists", "a split before", "two, the second on a condition",
        "a joined branch", "a branch that splits, and a split"]  # fmt: skip


@pytest.mark.parametrize("name", SOME)
def test_a_row_that_comes_with_a_retry_is_seen_by_all(
    name: str, tmp_path: Path, engine: Any
) -> None:
    chain(name).run(ROWS, output_dir=tmp_path / "whole")
    asked(engine)
    BROKEN.add("draft 8 .")
    path = tmp_path / "run"
    run = chain(name).run(ROWS, output_dir=path)
    assert run.counts.failed == 1
    before = [text for text in asked(engine) if text != "draft 8 ."]
    BROKEN.clear()
    run = chain(name).run(ROWS, output_dir=path, resume=True, force=True)
    assert (run.counts.failed, asked(engine)) == (1, [])
    run = chain(name).run(ROWS, output_dir=path, retry_errors=True)
    assert run.counts.failed == 0
    same(path, tmp_path / "whole")
    assert not {*asked(engine)} & {*before}


@pytest.mark.parametrize("name", SOME)
def test_rows_that_are_gone_are_not_counted_anymore(name: str, tmp_path: Path, engine: Any) -> None:
    chain(name).run(ROWS, output_dir=tmp_path / "few", limit=3)
    chain(name).run(ROWS, output_dir=tmp_path / "run")
    cost = json.loads((tmp_path / "run/run.json").read_text())["cost_usd"]
    asked(engine)
    run = chain(name).run(ROWS, output_dir=tmp_path / "run", resume=True, limit=3, force=True)
    assert table(tmp_path / "run") == table(tmp_path / "few")
    new = len(asked(engine))
    assert run.cost is not None
    assert float(run.cost) >= cost, "what was paid stays in the books"
    assert (float(run.cost) > cost) == (new > 0)
    again = chain(name).run(ROWS, output_dir=tmp_path / "run", resume=True, limit=3, force=True)
    assert again.cost == run.cost
    assert asked(engine) == []


def test_shares_sum_to_one_after_each_resume(tmp_path: Path) -> None:
    for limit in (1, 3, 5, 2):
        options: dict[str, Any] = {"output_dir": tmp_path / "run", "limit": limit}
        run = chain("first").run(ROWS, resume=True, force=True, **options)
        outputs = [result.outputs["shares"].share for result in run.results]
        assert (len(outputs), pytest.approx(sum(outputs))) == (limit, 1)


def copies(path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copy a run's folder before each change to it, as a kill at that moment would leave it."""
    found: list[Path] = []

    def watched(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if path.exists():
                found.append(target / f"{len(found)}")
                shutil.copytree(path, found[-1])
            return change(*arguments, **options)

        return call

    for change in (Path.replace, Path.rename, Path.unlink, Path.mkdir, Path.touch, Path.rmdir):
        monkeypatch.setattr(Path, change.__name__, watched(change))
    monkeypatch.setattr(LineFile, "flush", watched(LineFile.flush))
    return found


@pytest.mark.parametrize(("name", "limits"), [
    ("lists", (2, None)), ("drops", (None, 3)),
])  # fmt: skip
def test_a_kill_at_any_moment_of_a_resume_loses_and_doubles_nothing(
    name: str,
    limits: tuple[int | None, int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    engine: Any,
) -> None:
    first: dict[str, Any]
    second: dict[str, Any]
    first, second = ({"limit": limit} for limit in limits)
    for folder in ("run", "whole"):
        chain(name).run(ROWS, output_dir=tmp_path / folder, **first)
    asked(engine)
    second |= {"resume": True, "force": True}
    whole = chain(name).run(ROWS, output_dir=tmp_path / "whole", **second)
    most = len(asked(engine))
    with monkeypatch.context() as patch:
        states = copies(tmp_path / "run", tmp_path / "states", patch)
        chain(name).run(ROWS, output_dir=tmp_path / "run", **second)
    asked(engine)
    states = [state for state in states if (state / "run.json").exists()]
    assert len(states) > 20
    for state in random.Random(len(states)).sample(states, 6):
        run = chain(name).run(ROWS, output_dir=state, **second)
        same(state, tmp_path / "whole")
        assert (run.cost, run.counts) == (whole.cost, whole.counts), state
        assert len(asked(engine)) <= most


@pytest.mark.parametrize("name", ["two", "a joined branch in items"])
def test_journals_that_are_cut_anywhere_lead_to_the_same_end(name: str, tmp_path: Path) -> None:
    chain(name).run(ROWS, output_dir=tmp_path / "whole")
    for seed in range(2):
        path, rng = tmp_path / f"run{seed}", random.Random(seed)
        chain(name).run(ROWS, output_dir=path, limit=rng.choice([3, None]))
        for _ in range(2):
            for file in path.glob("steps/*/*.jsonl"):
                content = file.read_bytes()
                file.write_bytes(content[: rng.randrange(len(content) + 1)])
            chain(name).run(ROWS, output_dir=path, resume=True, force=True)
            same(path, tmp_path / "whole")


def rolls(rows: list[Row]) -> list[Row]:
    called("rolls")
    return [Row(n=row.n, top=random.randrange(10**9)) for row in rows]


def test_a_random_function_that_saw_the_same_is_not_called_again(
    tmp_path: Path, engine: Any
) -> None:
    rolling: Chain[Any, Any] = Chain(name="c", steps=[apply(rolls, batch="all"), say()])
    BROKEN.add("say 4 ")
    first = rolling.run(ROWS, output_dir=tmp_path / "run")
    numbers = [result.outputs["rolls"].top for result in first.results if result.ok]
    BROKEN.clear()
    asked(engine)
    again = rolling.run(ROWS, output_dir=tmp_path / "run", retry_errors=True)
    assert [it.outputs["rolls"].top for it in again.results if it.row_id != 2] == numbers
    assert (CALLS["rolls"], len(asked(engine))) == (1, 1)
    more = rolling.run([*ROWS, Row(n=6)], output_dir=tmp_path / "run", resume=True, force=True)
    for result in more.results:
        rolled = result.outputs["rolls"]
        assert result.value.text == f"say {rolled.n} {rolled.top} ."
    assert (CALLS["rolls"], len(asked(engine))) == (2, 6)


@pytest.mark.parametrize("options", [{}, {"on_error": "none"}, {"default": Row(n=7, top=9)}])
def test_a_batch_that_fails_with_more_rows_keeps_what_was_paid(
    options: Any, tmp_path: Path, engine: Any
) -> None:
    def build() -> Chain[Any, Any]:
        last = Step(id="say", input_model=Any, output_model=Said, engine_name="e",
                    user_prompt="say {{ best }} .")  # fmt: skip
        return Chain(name="c", steps=[draft(), apply(best, batch="all", **options), last])

    build().run(ROWS, output_dir=tmp_path / "whole")
    path = tmp_path / "run"
    build().run(ROWS, output_dir=path, limit=3)
    asked(engine)
    BROKEN.add("best")
    value = options["default"].model_dump_json() if "default" in options else None
    for more in ({"resume": True}, {"resume": True, "force": True}, {"retry_errors": True}):
        run = build().run(ROWS, output_dir=path, **more)
        assert (run.counts.failed, run.counts.tolerated) == ((0, 5) if options else (5, 0))
        if options:
            assert {result.value.text for result in run.results} == {f"say {value} ."}
    BROKEN.clear()
    asked(engine)
    build().run(ROWS, output_dir=path, resume=True, force=True)
    assert asked(engine) == [], "what failed is only tried again by a retry"
    run = build().run(ROWS, output_dir=path, retry_errors=True)
    same(path, tmp_path / "whole")
    # The rows 2 and 4 have learned of the 8, and two rows are new; without a fallback, the answer
    # for the odd row is still there.
    assert len(asked(engine)) == (5 if options else 4)


def test_an_output_that_is_not_of_its_type_fails_its_item_alone(tmp_path: Path) -> None:
    def odd(rows: list[Any]) -> list[Any]:
        CALLS["odd"] += 1
        return [it if it.n != 4 or "odd" not in BROKEN else "?" for it in rows]

    steps = [apply(odd, id="odd", batch="all", input_model=Row, output_model=Row), say()]
    tested: Chain[Any, Any] = Chain(name="c", steps=steps)
    BROKEN.add("odd")
    for _ in range(2):
        run = tested.run(ROWS, output_dir=tmp_path / "run", resume=True, force=True)
        assert [it.state for it in run.results] == ["ok", "ok", "failed", "ok", "ok"]
    assert CALLS["odd"] == 1
    BROKEN.clear()
    run = tested.run(ROWS, output_dir=tmp_path / "run", retry_errors=True)
    assert (run.counts.ok, CALLS["odd"]) == (5, 2)
    assert not read(tmp_path / "run/errors.jsonl")


def test_an_item_whose_condition_failed_keeps_its_error(tmp_path: Path) -> None:
    def whether(row: Row) -> bool:
        return 1 // (row.n - 1) < 2  # fails for 1

    tested: Chain[Any, Any] = Chain(name="c", steps=[apply(best, batch="all", when=whether), say()])
    tested.run(ROWS, output_dir=tmp_path / "whole")
    tested.run(ROWS, output_dir=tmp_path / "run", limit=3)
    for _ in range(2):
        run = tested.run(ROWS, output_dir=tmp_path / "run", resume=True, force=True)
        same(tmp_path / "run", tmp_path / "whole")
        assert [it.state for it in run.results] == ["ok", "failed", "ok", "ok", "ok"]


class Thing:
    """An object that is not data."""

    def __init__(self, n: int) -> None:
        self.n = n


@pytest.mark.parametrize("takes", [Row, Thing])
def test_outputs_that_cannot_be_read_back_are_made_again_and_nothing_is_asked_twice(
    takes: Any, tmp_path: Path, engine: Any
) -> None:
    def things(rows: list[Any]) -> list[Any]:
        CALLS["things"] += 1
        return [Thing(sum(row.n for row in rows) + row.n) for row in rows]

    begin = apply(lambda row: takes(n=row.n), id="begin", input_model=Row, output_model=Any)
    back = apply(lambda thing: Row(n=thing.n), id="back", output_model=Row)
    whole = apply(things, id="things", batch="all", output_model=Any)
    tested: Chain[Any, Any] = Chain(name="c", steps=[begin, whole, back, say()])
    BROKEN.add("say 22 ")
    tested.run(ROWS, output_dir=tmp_path / "run")
    BROKEN.clear()
    asked(engine)
    run = tested.run(ROWS, output_dir=tmp_path / "run", retry_errors=True)
    assert (asked(engine), CALLS["things"]) == (["say 22 0 ."], 2)
    run = tested.run([*ROWS, Row(n=6)], output_dir=tmp_path / "run", resume=True, force=True)
    assert [it.outputs["back"].n for it in run.results] == [26, 25, 28, 27, 32, 30]
    assert len(asked(engine)) == 6


def strip(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    text = "".join(json.dumps(change(line)) + "\n" for line in read(path))
    path.write_text(text)


def test_a_run_of_an_earlier_version_goes_on_without_a_digest(tmp_path: Path, engine: Any) -> None:
    path = tmp_path / "run"
    chain("plain").run(ROWS, output_dir=path)
    shutil.copytree(path, tmp_path / "whole")
    strip(path / "steps/best/000000.jsonl", lambda line: {k: line[k] for k in line if k != "batch"})
    asked(engine)
    chain("plain").run(ROWS, output_dir=path, resume=True, force=True)
    assert (asked(engine), CALLS["best"]) == ([], 2)
    same(path, tmp_path / "whole")


def test_the_order_of_a_set_is_no_change(tmp_path: Path, engine: Any) -> None:
    def tagged(rows: list[Row]) -> list[Tags]:
        return [Tags(n=row.n, tags={"a", "b", "c", str(len(rows) * 0)}) for row in rows]

    last = Step(id="say", input_model=Tags, output_model=Said, engine_name="e",
                user_prompt="say {{ n }} .")  # fmt: skip
    tested: Chain[Any, Any] = Chain(name="c", steps=[apply(tagged, batch="all"), last])
    path = tmp_path / "run"
    tested.run(ROWS, output_dir=path, limit=4)

    def turned(line: dict[str, Any]) -> dict[str, Any]:
        output = line["output"] | {"tags": line["output"]["tags"][::-1]}
        return line | {"output": output}

    strip(path / "steps/tagged/000000.jsonl", turned)
    asked(engine)
    tested.run(ROWS, output_dir=path, resume=True)
    assert asked(engine) == ["say 8 ."]


def test_a_run_that_is_stopped_early_does_not_call_it_with_a_part(
    tmp_path: Path, engine: Any
) -> None:
    BROKEN.update(["draft 2 .", "draft 1 ."])
    rows = [*ROWS, *(Row(n=n) for n in range(100, 110))]
    with fake_engine("e", answer, max_concurrency=1):
        run = chain("plain").run(rows, output_dir=tmp_path / "run", max_errors=1)
        assert run.stopped is not None
        assert not CALLS
        BROKEN.clear()
        run = chain("plain").run(rows, output_dir=tmp_path / "run", retry_errors=True)
        assert (run.counts.ok, CALLS["best"]) == (15, 1)
        chain("plain").run(rows, output_dir=tmp_path / "whole")
    same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("redo", ["draft", "best", "say"])
def test_a_redo_of_a_node_before_or_behind_it(redo: str, tmp_path: Path, engine: Any) -> None:
    chain("plain").run(ROWS, output_dir=tmp_path / "whole")
    asked(engine)
    chain("plain").run(ROWS, output_dir=tmp_path / "run", limit=3)
    before = {*asked(engine)}
    chain("plain").run(ROWS, output_dir=tmp_path / "run", redo=[redo])
    same(tmp_path / "run", tmp_path / "whole")
    again = {*asked(engine)} & before
    assert {it.split()[0] for it in again} == {"draft": {"draft", "say"}}.get(redo, {"say"})


def test_what_saw_a_fallback_runs_again_when_the_failure_is_tried_again(
    tmp_path: Path, engine: Any
) -> None:
    first = Step(id="first", input_model=Row, output_model=Row, engine_name="e",
                 user_prompt="draft {{ n }} .", on_error="none")  # fmt: skip
    last = Step(id="say", input_model=Any, output_model=Said, engine_name="e",
                user_prompt="say {{ first }} .")  # fmt: skip
    aside = Branch("side", [draft()], on_error="none").join("aside")
    shown = apply(lambda it, names: str(names["aside"]), id="shown", output_model=str)
    for steps in ([first, last], [apply(parts), first, last], [aside, shown]):
        tested, path = Chain(name="c", steps=steps), tmp_path / f"{len(steps)}{steps[0] is aside}"
        BROKEN.update(["draft 4 .", "draft 41 ."])
        run = tested.run(ROWS, output_dir=path / "run")
        assert (run.counts.ok, run.counts.tolerated) == (5, 1)
        BROKEN.clear()
        asked(engine)
        tested.run(ROWS, output_dir=path / "run", retry_errors=True)
        assert len(asked(engine)) == (1 if steps[0] is aside else 2)
        tested.run(ROWS, output_dir=path / "whole")
        same(path / "run", path / "whole")


LIMIT = 100


class Small(Row):
    @field_validator("n")
    @classmethod
    def small(cls, n: int) -> int:
        return min(n, LIMIT)


def test_answers_that_are_validated_again_reach_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Any
) -> None:
    def build() -> Chain[Any, Any]:
        first = Step(id="draft", input_model=Row, output_model=Small, engine_name="e",
                     user_prompt="draft {{ n }} .")  # fmt: skip
        return Chain(name="c", steps=[first, apply(best, batch="all"), say()])

    build().run(ROWS, output_dir=tmp_path / "run")
    asked(engine)
    monkeypatch.setattr(f"{__name__}.LIMIT", 4)
    build().run(ROWS, output_dir=tmp_path / "run", resume=True)
    assert sorted(asked(engine)) == ["say 2 4 .", "say 4 4 .", "say 4 4 ."]


def test_an_equal_prompt_is_answered_by_the_cache(tmp_path: Path, engine: Any) -> None:
    pytest.importorskip("diskcache")
    tested: Chain[Any, Any] = Chain(name="c", steps=[apply(shares, batch="all"), say("{{ n }}")])
    options: dict[str, Any] = {"output_dir": tmp_path / "run", "cache": tmp_path / "cache"}
    tested.run(ROWS, limit=3, **options)
    asked(engine)
    tested.run(ROWS, resume=True, **options)
    assert sorted(asked(engine)) == ["say 3 .", "say 8 ."]


def test_a_stream_says_once_that_all_comes_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    async def streamed() -> list[Any]:
        return [it async for it in chain("two").stream(ROWS)]

    with caplog.at_level(logging.WARNING, "chainette"):
        assert len(asyncio.run(streamed())) == 5
    (record,) = [it for it in caplog.records if "stream" in it.message]
    assert "apply 'best' and 'shares' has batch='all'" in record.message


def test_a_single_row_is_refused_by_name() -> None:
    with pytest.raises(ChainError, match=r"apply 'best' has batch='all' .* use run, not run_one"):
        chain("plain").run_one(ROWS[0])

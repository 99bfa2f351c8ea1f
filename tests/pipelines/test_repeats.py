"""Nodes that run again until their output is good: `repeat`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from chainette import Branch, Chain, Step, apply, load_chain, repeat, route
from chainette.cli.tree import tree
from chainette.errors import ChainError, EngineError, OutputDirError, RepeatError
from chainette.pipeline.graph import dependents, graph, mermaid
from chainette.run.dry_run import Rendered, Unknown, dry_run
from chainette.testing import fake_engine
from pydantic import BaseModel
from rich.console import Console


class Row(BaseModel):
    n: int = 0


class Draft(BaseModel):
    text: str
    score: int = 0


class Verdict(BaseModel):
    ok: bool
    feedback: str


class Loose(BaseModel):
    ok: bool
    feedback: int = 0


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def plus(row: Row, names: Mapping[str, Any]) -> int:
    """The row's number in the first round, and one more in each round that follows."""
    return row.n if names["previous"] is None else names["previous"] + 1  # type: ignore[no-any-return]


def enough(value: int) -> str | None:
    return None if value >= 3 else f"{value} is too small"


async def enough_later(value: int) -> str | None:
    return enough(value)


def loop(body: Any = None, **options: Any) -> Any:
    settings: dict[str, Any] = {"until": enough, "id": "loop"} | options
    return repeat(apply(plus) if body is None else body, **settings)


ROWS = [Row(n=n) for n in (3, 1, -5)]


@pytest.mark.parametrize(
    ("until", "feedback"),
    [
        (enough, "-2 is too small"),
        (enough_later, "-2 is too small"),
        (lambda value, names: names["plus"] == value and value >= 3, None),
        (lambda value: True if value >= 3 else "no", "no"),
        ("plus >= 3", None),
        ("'small' if plus < 3 else none", "small"),
    ],
)
@pytest.mark.parametrize("is_stored", [False, True])
def test_the_last_round_counts_and_an_exhausted_one_fails(
    until: Any, feedback: str | None, is_stored: bool, tmp_path: Path
) -> None:
    chain = Chain(name="c", steps=[loop(until=until), apply(lambda it: it * 10, id="end")])
    options = {"output_dir": tmp_path / "run"} if is_stored else {}
    run = chain.run(ROWS, **options)
    assert [it.value for it in run.results] == [30, 30, None]
    assert [(it["loop"].rounds, it["loop"].passed) for it in run.results] == [
        (1, True), (3, True), (4, False),
    ]  # fmt: skip
    assert [it["plus"] for it in run.results] == [3, 3, -2]
    failed = run.results[2]
    words = f" (until {until})" if isinstance(until, str) else ""
    words += f": {feedback}" if feedback else ""
    assert str(failed.error) == f"repeat 'loop' was not good after 4 rounds{words}"
    assert failed["loop"].feedback == feedback
    if not is_stored:
        assert isinstance(failed.error, RepeatError)
        assert (failed.error.rounds, failed.error.feedback) == (4, feedback)
    if is_stored:
        assert lines(tmp_path / "run/flattened/000000.jsonl")[1] == {
            "row_id": 1, "n": 1, "plus": 3, "loop.rounds": 3, "loop.passed": True,
            "loop.feedback": None, "end": 30,
        }  # fmt: skip
        assert [it["passed"] for it in lines(tmp_path / "run/steps/loop/000000.jsonl")].count(
            True
        ) == 2


@pytest.mark.parametrize(
    ("options", "values", "rounds"),
    [
        ({"exhausted": "last"}, [3, 3, -2], [1, 3, 4]),
        ({"exhausted": "last", "max_rounds": 1}, [3, 1, -5], [1, 1, 1]),
        ({"on_error": "none"}, [3, 3, None], [1, 3, 4]),
        ({"default": 7}, [3, 3, 7], [1, 3, 4]),
        ({"when": "n > 0"}, [3, 3, Row(n=-5)], [1, 3, None]),
        ({"when": "n != 1", "otherwise": 8, "exhausted": "last"}, [3, 8, -2], [1, None, 4]),
    ],
)  # fmt: skip
def test_options_say_what_goes_on(
    options: Any, values: list[Any], rounds: list[Any], tmp_path: Path
) -> None:
    if "when" in options and "otherwise" not in options:
        body: Any = apply(plus, output_model=Any)
    else:
        body = apply(plus)

    def seen(value: Any, names: Mapping[str, Any]) -> str:
        has = names["loop"] is not None and names["loop"].passed
        return f"{value} {names['plus'] if has else '-'}"

    for more in ({}, {"resume": True, "force": True}):
        one = Chain(name="c", steps=loop(body, **options))
        run = one.run(ROWS, output_dir=tmp_path / "one", **more)
        assert [it.unwrap() for it in run.results] == values
        assert [
            it.outputs["loop"].rounds if "loop" in it.outputs else None for it in run.results
        ] == rounds
        assert [it.unwrap() for it in one.run(ROWS).results] == values
        two = Chain(name="c", steps=[loop(body, **options), apply(seen)])
        ends = [it.unwrap() for it in two.run(ROWS, output_dir=tmp_path / "two", **more).results]
        assert [it.split(" ")[0] for it in ends] == [str(it).split(" ")[0] for it in values]


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (lambda value: 1, "repeat 'loop', until returned 1; it must return None or True if"),
        (lambda value: "", "until returned ''"),
        (lambda value: "  ", "until returned '  '"),
        (lambda value: 1 / 0, "repeat 'loop', until failed at test_repeats.py:"),
        ("plus", "until returned 3"),
        ("1 // (plus - 3)", "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_is_no_verdict_fails_the_row(until: Any, words: str, tmp_path: Path) -> None:
    run = Chain(name="c", steps=loop(until=until, on_error="none")).run(
        ROWS[:1], output_dir=tmp_path / "run"
    )
    assert run.results[0].state == "failed"
    (error,) = lines(tmp_path / "run/errors.jsonl")
    assert words in error["message"]
    assert (error["node_id"], error["round"]) == ("loop", 1)


def draft(id: str = "draft", prompt: str = "", **options: Any) -> Step[Any, Draft]:
    seen = "{{ previous.text if previous else '-' }} {{ feedback or '-' }} {{ round }}"
    settings: dict[str, Any] = {"input_model": Row, "output_model": Draft, "engine_name": "e"}
    prompts = {"user_prompt": f"{id} {prompt or seen}"}
    return Step(**{"id": id, **settings, **prompts, **options})


def judge(**options: Any) -> Step[Any, Any]:
    settings: dict[str, Any] = {"input_model": Draft, "output_model": Verdict, "engine_name": "e"}
    return Step(**{"id": "judge", **settings, "user_prompt": "judge {{ text }}", **options})


def answer(messages: Any) -> Any:
    text = messages[-1]["content"]
    if text.startswith("judge"):
        return {"ok": text.endswith("3"), "feedback": f"[{text[-1]}]"}
    return {"text": text, "score": int(text[-1]) if text[-1].isdigit() else 0}


def test_prompts_see_the_round_before_and_a_step_can_be_the_judge(tmp_path: Path) -> None:
    chain = Chain(name="c", steps=repeat(draft(), until=judge(), id="loop"))
    with fake_engine("e", answer) as engine:
        run = chain.run([Row()], output_dir=tmp_path / "run")
    assert [it[-1]["content"] for it in engine.requests] == [
        "draft - - 1",
        "judge draft - - 1",
        "draft draft - - 1 [1] 2",
        "judge draft draft - - 1 [1] 2",
        "draft draft draft - - 1 [1] 2 [2] 3",
        "judge draft draft draft - - 1 [1] 2 [2] 3",
    ]
    (result,) = run.results
    assert (
        result.value
        == result["draft"]
        == Draft(text="draft draft draft - - 1 [1] 2 [2] 3", score=3)
    )
    assert result["judge"] == Verdict(ok=True, feedback="[3]")
    assert (result["loop"].rounds, result["loop"].passed, result["loop"].feedback) == (
        3,
        True,
        None,
    )
    assert [it["round"] for it in lines(tmp_path / "run/steps/judge/000000.jsonl")] == [1, 2, 3]


def always(body: Any) -> Any:
    return repeat(body, until="true", id="always")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: loop([]), "repeat 'loop' has no steps"),
        (lambda: loop(Branch("b", apply(plus))), "repeat 'loop' has only branches"),
        (lambda: loop(max_rounds=0), "repeat 'loop': max_rounds is 0; give a number from 1"),
        (lambda: loop(max_rounds=True), "max_rounds is True"),
        (lambda: loop(exhausted="stop"), "exhausted is 'stop'; give 'fail' or 'last'"),
        (lambda: loop(until=3), "repeat 'loop', until is 3; give a function of the item"),
        (lambda: loop(until=apply(enough)), "until is the apply 'enough'; give a function itself"),
        (lambda: loop(until=judge(output_model=Draft)),
         "the judge 'judge' gives Draft; give it an output model that has ok: bool and feedback"),
        (lambda: loop(until=judge(output_model=Loose)), "the judge 'judge' gives Loose"),
        (lambda: loop(until=judge(output_model=str)), "the judge 'judge' gives str"),
        (lambda: loop(until=judge(on_error="none")), "the judge 'judge' may give nothing"),
        (lambda: loop(until=judge(when="true")), "the judge 'judge' may give nothing"),
        (lambda: loop(apply(several)), "apply 'several' splits its item"),
        (lambda: loop(route("n", id="r").case(1, apply(several)).default(None)),
         "apply 'several' splits its item"),
        (lambda: loop(apply(batched, batch="all")), "apply 'batched' has batch='all'"),
        (lambda: repeat(apply(plus), id="loop"),
         "repeat 'loop' has no end: give until=…, or max_rounds=… for exactly that many rounds"),
        (lambda: repeat(apply(plus), id="loop", max_rounds=2, exhausted="last"),
         "exhausted is for a repeat with until; without one, all rounds run"),
        (lambda: loop(until=None), "repeat 'loop', until is None; give a function of the item"),
        (lambda: loop(maxrounds=3), "unknown keyword 'maxrounds' (did you mean 'max_rounds'?)"),
        (lambda: loop(default="x"), "repeat 'loop', default: a str that is not an int"),
        (lambda: Chain(name="c", steps=loop(until=judge())), "step 'judge' takes Draft, but"),
        (lambda: Chain(name="c", steps=loop(until="score > 1")), "unknown variable 'score'"),
        (lambda: Chain(name="c", steps=loop(until="pluss > 1")), "(did you mean 'plus'?)"),
        (lambda: Chain(name="c", steps=draft()),
         "unknown variable 'feedback' (only the nodes of a repeat see it)"),
        (lambda: Chain(name="c", steps=[repeat(draft(), until="true", id="loop"),
                                        draft("end", input_model=Draft)]),
         "unknown variable 'feedback' (only the nodes of a repeat see it)"),
        (lambda: Chain(name="c", steps=always(draft(prompt="{{ previous.txt }}"))),
         "'previous' has no field 'txt'"),
        (lambda: Chain(name="c", steps=repeat(draft(input_model=Clash), until="true", id="loop")),
         "'round' is a field of its input, and the chain has another 'round'; for the field, "
         "write {{ chain_input.round }}; for the chain's, rename the field"),
        (lambda: Chain(name="c", steps=[apply(plus, id="round"), always(apply(str))]),
         "apply id 'round': use letters, digits"),
        (lambda: Chain(name="c", steps=[Branch("b", apply(plus)).join("previous"),
                                        repeat(apply(plus, id="x"), until="true", id="l")]),
         "branch 'b': alias 'previous': use letters"),
        (lambda: Chain(name="c", steps=[loop(), apply(plus)]), "2 steps have the id 'plus'"),
        (lambda: Chain(name="c", steps=[loop(), draft("end", "{{ loop.round }}", input_model=int)]),
         "'loop' has no field 'round' (did you mean 'rounds'?)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_when_the_chain_is_built(
    make: Callable[[], Any], words: str
) -> None:
    with pytest.raises((ChainError, TypeError)) as caught:
        make()
    assert words in str(caught.value)


class Clash(BaseModel):
    round: int
    n: int = 0


def several(row: Row) -> list[Row]:
    return [row, row]


def batched(rows: list[Row]) -> list[Row]:
    return rows


def secretly_several(row: Any) -> Any:
    return [row, row] if row.n else []


def test_what_splits_without_saying_so_fails_its_row() -> None:
    for n in (0, 1):
        (result,) = Chain(name="c", steps=loop(apply(secretly_several))).run([Row(n=n)]).results
        assert "apply 'secretly_several' returned a list, but in repeat 'loop'" in str(result.error)


def test_items_behind_a_split_and_batches_have_rounds_of_their_own(tmp_path: Path) -> None:
    def numbers(row: Row) -> list[Row]:
        return [Row(n=n) for n in range(row.n)]

    def pluses(rows: list[Row], names: list[Mapping[str, Any]]) -> list[int]:
        return [plus(row, its) for row, its in zip(rows, names, strict=True)]

    chain = Chain(name="c", steps=[apply(numbers), loop(apply(pluses, batch=3, id="plus"))])
    run = chain.run([Row(n=2), Row(n=5)], output_dir=tmp_path / "run")
    assert [it.unwrap() for it in run.results] == [[3, 3], [3, 3, 3, 3, 4]]
    assert [it.rounds for it in run.results[1]["loop"]] == [4, 3, 2, 1, 1]


def test_branches_belong_to_their_round(tmp_path: Path) -> None:
    def parts(row: Row, names: Mapping[str, Any]) -> list[int]:
        return list(range(names["round"]))

    def total(value: int, names: Mapping[str, Any]) -> int:
        return value + sum(names["parts"])

    def odd(row: Row, names: Mapping[str, Any]) -> int:
        return 1 // (names["round"] - 1) if row.n == -1 else names["round"]  # type: ignore[no-any-return]

    body = [
        Branch("parts", apply(parts)).join("parts"),
        Branch("beside", apply(odd)),
        apply(plus),
        apply(total),
    ]
    chain = Chain(
        name="c", steps=[loop(body), apply(lambda it, names: f"{it} {names['parts']}", id="end")]
    )
    for options in (
        {},
        {"output_dir": tmp_path / "run"},
        {"output_dir": tmp_path / "run", "resume": True},
    ):
        run = chain.run([Row(n=0), Row(n=-1)], **options)
        assert [it.state for it in run.results] == ["ok", "partial"]
        assert [it.value for it in run.results] == ["6 [0, 1, 2]", "5 [0, 1, 2]"]
        assert [it["parts"] for it in run.results] == [[0, 1, 2], [0, 1, 2]]
        assert run.results[0]["odd"] == 3
    (error,) = lines(tmp_path / "run/errors.jsonl")
    assert (error["node_id"], error["round"]) == ("odd", 1)


def test_a_node_that_is_skipped_in_the_last_round_has_no_output() -> None:
    first = apply(lambda value, names: value, id="first", when="round == 1", output_model=int)
    (result,) = Chain(name="c", steps=loop([apply(plus), first])).run([Row(n=1)]).results
    assert (result.unwrap(), "first" in result.outputs) == (3, False)


def test_a_repeat_in_a_repeat_sees_its_own_rounds(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(value: Any, names: Mapping[str, Any]) -> int:
        seen.append(f"{names['round']} {names['previous']} {names['feedback']}")
        return (names["previous"] or 0) + 1  # type: ignore[no-any-return]

    def inner_done(value: int) -> bool | str:
        return value >= 2 or f"in {value}"

    def outer_done(value: str, names: Mapping[str, Any]) -> bool | str:
        return names["round"] == 2 or f"out {names['round']}"

    def show(value: int, names: Mapping[str, Any]) -> str:
        return f"{names['round']} {names['inner'].rounds} {names['look']}"

    inner = repeat(apply(look), until=inner_done, id="inner")
    chain = Chain(name="c", steps=repeat([inner, apply(show)], until=outer_done, id="outer"))
    (result,) = chain.run([Row()], output_dir=tmp_path / "run").results
    assert result.unwrap() == "2 2 2"
    assert seen == ["1 None None", "2 1 in 1", "1 None None", "2 1 in 1"]
    assert [it["round"] for it in lines(tmp_path / "run/steps/look/000000.jsonl")] == [
        "1.1", "1.2", "2.1", "2.2",
    ]  # fmt: skip


def test_a_tolerant_repeat_falls_back_also_for_what_fails_inside(tmp_path: Path) -> None:
    def fragile(value: int, names: Mapping[str, Any]) -> int:
        return value // (names["round"] - 2)

    made = loop([apply(plus), apply(fragile)], until=lambda value: value > 90, default=0)
    chain = Chain(
        name="c", steps=[made, apply(lambda it, names: f"{it} {names['fragile']}", id="end")]
    )
    for more in ({}, {"resume": True, "force": True}):
        run = chain.run([Row(n=1)], output_dir=tmp_path / "run", **more)
        (result,) = run.results
        assert (result.unwrap(), result["loop"].rounds, result["loop"].passed) == (
            "0 None",
            2,
            False,
        )
        assert run.counts.tolerated == 1
    (error,) = lines(tmp_path / "run/errors.jsonl")
    assert (error["node_id"], error["round"], error["tolerated"]) == ("fragile", 2, True)


CALLS: Counter[str] = Counter()


def counted(value: int, names: Mapping[str, Any]) -> bool:
    CALLS[f"{names['chain_input'].n} {names['round']}"] += 1
    return value >= 3


def test_until_is_asked_once_a_round_also_over_a_resume(tmp_path: Path) -> None:
    CALLS.clear()
    chain = Chain(name="c", steps=loop(until=counted))
    chain.run(ROWS, output_dir=tmp_path / "run", limit=2)
    chain.run(ROWS, output_dir=tmp_path / "run", resume=True)
    chain.run(ROWS, output_dir=tmp_path / "run", resume=True, force=True)
    rounds = ["3 1", "1 1", "1 2", "1 3", "-5 1", "-5 2", "-5 3", "-5 4"]
    assert dict(CALLS) == dict.fromkeys(rounds, 1)


def no_duplicates(run: Path) -> None:
    for file in run.glob("steps/*/*.jsonl"):
        keys = [(it["row_id"], it.get("item"), it.get("round")) for it in lines(file)]
        assert len(keys) == len({*keys}), file


@pytest.mark.parametrize("options", [{}, {"on_error": "none"}])
def test_a_retry_runs_the_last_round_of_an_exhausted_repeat_again(
    options: Any, tmp_path: Path
) -> None:
    bonus = 0

    def scored(messages: Any) -> Any:
        text = messages[-1]["content"]
        return {"text": text[:20], "score": int(text[-1]) + bonus}

    made = repeat(draft(), until="score > 4", id="loop", max_rounds=3, **options)
    chain = Chain(name="c", steps=made)
    with fake_engine("e", scored, price={"input": 1, "output": 1}) as engine:
        first = chain.run([Row()], output_dir=tmp_path / "run")
        assert first.results[0].value is None
        assert len(engine.requests) == 3
        again = chain.run([Row()], output_dir=tmp_path / "run", retry_errors=True)
        assert len(engine.requests) == 4
        assert again.results[0].value is None
        bonus = 2
        last = chain.run([Row()], output_dir=tmp_path / "run", retry_errors=True)
        assert len(engine.requests) == 5
    (result,) = last.results
    assert (result.state, result.value.score, result["loop"].rounds) == ("ok", 5, 3)
    assert (
        last.usage["draft"].output_tokens == 5 * engine.usage if hasattr(engine, "usage") else True
    )
    no_duplicates(tmp_path / "run")
    assert (tmp_path / "run/errors.jsonl").read_text() == ""
    written = json.loads((tmp_path / "run/run.json").read_text())
    assert written["cost_usd"] > 0
    assert len(lines(tmp_path / "run/redone/rounds/draft/000000.jsonl")) == 2


def test_a_retry_goes_on_in_the_round_that_failed(tmp_path: Path) -> None:
    is_broken = True

    def scored(messages: Any) -> Any:
        text = messages[1 if len(messages) > 1 and messages[0]["role"] == "system" else 0][
            "content"
        ]
        return (
            "no"
            if is_broken and text.startswith("b") and text.endswith("2")
            else {"text": "x", "score": int(text[-1])}
        )

    body = draft("a") >> draft("b", input_model=Draft)
    chain = Chain(name="c", steps=repeat(body, until="score > 2", id="loop"))
    with fake_engine("e", scored) as engine:
        run = chain.run([Row()], output_dir=tmp_path / "run")
        (error,) = lines(tmp_path / "run/errors.jsonl")
        assert (run.results[0].state, error["node_id"], error["round"]) == ("failed", "b", 2)
        assert run.results[0].outputs.keys() == {"a"}
        is_broken = False
        engine.requests.clear()
        run = chain.run([Row()], output_dir=tmp_path / "run", retry_errors=True)
        assert run.results[0]["loop"].rounds == 3
        starts = [it[-1]["content"][0] for it in engine.requests]
    assert starts == ["b", "a", "b"]
    no_duplicates(tmp_path / "run")


def two_steps(until: str = "score > 2", prompt: str = "", **options: Any) -> Chain[Any, Any]:
    body = draft("a") >> draft("b", prompt and f"{prompt} {{{{ round }}}}", input_model=Draft)
    made = repeat(body, until=until, id="loop", exhausted="last", **options)
    return Chain(name="c", steps=[made, draft("end", "{{ b.text }} 1", input_model=Draft)])


@pytest.mark.parametrize(
    ("other", "changed", "named", "asked"),
    [
        # The first round depends on neither `until` nor on what comes behind.
        ({"until": "score > 1"}, r"repeat 'loop' \(until\)", "loop", "a2 b2 end"),
        ({"max_rounds": 2}, r"repeat 'loop' \(max_rounds\)", "loop", "a2 b2 end"),
        ({"prompt": "again"}, r"step 'b' \(user_prompt\)", "b", "b1 a2 b2 a3 b3 end"),
    ],
)
def test_a_redo_keeps_what_does_not_depend_on_the_change(
    other: Any, changed: str, named: str, asked: str, tmp_path: Path
) -> None:
    def key(messages: Any) -> str:
        text = messages[-1]["content"]
        return "end" if text.startswith("end") else f"{text[0]}{text[-1]}"

    with fake_engine("e", answer) as engine:
        two_steps().run([Row()], output_dir=tmp_path / "run")
        with pytest.raises(OutputDirError, match=changed):
            two_steps(**other).run([Row()], output_dir=tmp_path / "run", resume=True)
        engine.requests.clear()
        run = two_steps(**other).run([Row()], output_dir=tmp_path / "run", redo=[named])
        assert [key(it) for it in engine.requests] == asked.split()
        fresh = two_steps(**other).run([Row()])
    assert dict(run.results[0].outputs) == dict(fresh.results[0].outputs)
    no_duplicates(tmp_path / "run")


def test_what_depends_on_a_node_of_a_repeat() -> None:
    chain = two_steps()
    assert dependents(chain, ["a"]) == ["a", "b", "loop", "end"]
    assert dependents(chain, ["b"]) == ["b", "loop", "end"]
    assert dependents(chain, ["loop"]) == ["loop", "end"]


def test_a_dry_run_renders_the_first_round() -> None:
    def run(chain: Chain[Any, Any], **options: Any) -> list[str]:
        shown = anyio.run(lambda: dry_run(chain, [Row()], **options))
        texts = [it.messages[-1]["content"] for it in shown if isinstance(it, Rendered)]
        return texts + [
            f"{it.step_id} after {it.after.id}" for it in shown if isinstance(it, Unknown)
        ]

    with fake_engine("e"):
        assert run(two_steps()) == ["a - - 1", "b after a", "end after a"]
        judged = Chain(name="c", steps=repeat(draft(), until=judge(), id="loop"))
        assert run(judged) == ["draft - - 1", "judge after draft"]
        function = Chain(name="c", steps=[loop(), draft("end", "{{ plus }}", input_model=int)])
        assert run(function) == ["end after plus"]
        assert run(function, with_functions=True)[:1] != ["end after plus"]


def test_a_repeat_is_drawn_and_listed_with_its_end() -> None:
    chain = two_steps()
    chart = mermaid(chain)
    for words in (
        'subgraph "loop"', 'loop{"loop: again?"}', "chain_input --> a", "a --> b", "b --> loop",
        "loop -- again --> a", "loop --> end",
    ):  # fmt: skip
        assert words in chart
    nodes = {it["id"]: it for it in graph(chain)["nodes"]}
    assert (nodes["loop"]["until"], nodes["loop"]["body"]) == ("score > 2", ["a", "b"])
    assert nodes["a"]["inside"] == "loop"
    console = Console(width=100)
    with console.capture() as captured:
        console.print(tree(chain, icons=False))
    assert "loop  Row → Draft  until score > 2, at most 4 rounds" in captured.get()


def test_sampling_by_attempt_counts_the_rounds_of_an_item(tmp_path: Path) -> None:
    steps = repeat(draft(sampling={"temperature": [0, 0.4, 0.8]}), until="score > 3", id="loop")
    with fake_engine("e", answer) as engine:
        Chain(name="c", steps=steps).run([Row()], output_dir=tmp_path / "run")
        assert [it.temperature for it in engine.samplings] == [0, 0.4, 0.8, 0.8]
        cut = tmp_path / "run/steps/draft/000000.jsonl"
        cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:2]))
        (tmp_path / "run/steps/loop/000000.jsonl").write_text("")
        (tmp_path / "run/errors.jsonl").write_text("")
        engine.samplings.clear()
        Chain(name="c", steps=steps).run([Row()], output_dir=tmp_path / "run", resume=True)
        assert [it.temperature for it in engine.samplings] == [0.8, 0.8]


def test_a_dialogue_of_two_models_is_a_repeat_over_two_steps() -> None:
    class Talk(BaseModel):
        turns: list[str]

    class Said(BaseModel):
        text: str

    def opened(row: Row, names: Mapping[str, Any]) -> Talk:
        return names["previous"] or Talk(turns=[f"topic {row.n}"])  # type: ignore[no-any-return]

    def added(said: Said, names: Mapping[str, Any]) -> Talk:
        return Talk(turns=[*names["opened"].turns, names["asks"].text, said.text])

    def turn(id: str, model: Any, prompt: str) -> Step[Any, Said]:
        return Step(id=id, input_model=model, output_model=Said, engine_name=id, user_prompt=prompt)

    body = [
        apply(opened),
        turn("asks", Talk, "{{ turns | join(' / ') }}"),
        turn("answers", Said, "{{ opened.turns | join(' / ') }} / {{ asks.text }}"),
        apply(added),
    ]
    chain = Chain(name="c", steps=repeat(body, until="round == 2", id="dialogue"))
    with (
        fake_engine("asks", lambda it: {"text": f"q{it[-1]['content'].count('/')}"}),
        fake_engine("answers", lambda it: {"text": f"a{it[-1]['content'].count('/')}"}),
    ):
        talk = chain.run_one(Row(n=1))
    assert talk.turns == ["topic 1", "q0", "a1", "q2", "a3"]


YAML = """
name: c
models:
  Row: {n: int}
  Draft: {text: str, score: int}
  Verdict: {ok: bool, feedback: str}
steps:
  - repeat: loop
    steps:
      - id: draft
        input_model: Row
        output_model: Draft
        engine_name: e
        user_prompt: "draft {{ feedback or '-' }} {{ round }}"
    until: score > 1
    max_rounds: 2
    exhausted: last
  - repeat: judged
    steps:
      - id: more
        input_model: Draft
        output_model: Draft
        engine_name: e
        user_prompt: "more {{ round }}"
    until:
      id: judge
      input_model: Draft
      output_model: Verdict
      engine_name: e
      user_prompt: "judge {{ text }}"
"""


def test_yaml_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "chain.yml").write_text(YAML)
    with fake_engine("e", answer):
        (result,) = load_chain(tmp_path / "chain.yml").run([{"n": 1}]).results
    assert (result["loop"].rounds, result["judged"].rounds) == (2, 3)
    assert result.value.text == "more 3"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("until: score > 1", "until: scor > 1", "until: unknown variable 'scor'"),
        ("    until: score > 1\n", "", "chain.yml:8: repeat 'loop': exhausted is for a repeat"),
        ("    until: score > 1\n    max_rounds: 2\n    exhausted: last\n", "",
         "chain.yml:8: repeat 'loop' has no end: give until=…, or max_rounds=… for exactly"),
        ("until: score > 1", "until: null", "chain.yml:15: steps.0.until: expected a text"),
        ("until: score > 1", "until: true",
         "chain.yml:15: steps.0.until: expected a text; put it in quotes"),
        ("max_rounds: 2", "max_rounds: 0", "chain.yml:16: steps.0.max_rounds: "),
        ("max_rounds: 2", "max_round: 2", "unknown key 'max_round' (did you mean 'max_rounds'?)"),
        ("exhausted: last", "exhausted: go", "steps.0.exhausted: "),
        ("ok: bool", "good: bool", "chain.yml:18: repeat 'judged': the judge 'judge' gives"),
        ("      id: judge\n", "", "steps.1.until: a step needs 'id'"),
        ("id: draft", "id: dr aft", "chain.yml:10: step id 'dr aft'"),
    ],
)  # fmt: skip
def test_a_mistake_in_yaml_is_named_with_its_place(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "chain.yml").write_text(YAML.replace(old, new, 1))
    with pytest.raises(ChainError) as caught:
        load_chain(tmp_path / "chain.yml")
    assert words in str(caught.value)


@pytest.mark.parametrize("is_row", [True, False])
def test_a_retry_of_a_tolerated_failure_runs_later_rounds_again(
    is_row: bool, tmp_path: Path
) -> None:
    works = tmp_path / "works"  # a file, since a change of the code would be refused

    def fragile(value: int, names: Mapping[str, Any]) -> int:
        if not works.exists() and names["round"] == 2:
            raise ConnectionError
        return value + 10 * names["round"]  # type: ignore[no-any-return]

    def total(value: int | None) -> int:
        return value or 0

    def kept(value: int, names: Mapping[str, Any]) -> str:
        return f"{value} {names['loop'].rounds}"

    def one(row: Row) -> list[Row]:
        return [row]

    body = [apply(plus), apply(fragile, on_error="none"), apply(total)]
    made = repeat(body, until=lambda it, names: names["round"] == 3, id="loop")
    steps = [made, apply(kept)] if is_row else [apply(one), made, apply(kept)]
    chain = Chain(name="c", steps=steps)
    first = chain.run([Row(n=1)], output_dir=tmp_path / "run").results[0].value
    works.touch()
    again = chain.run([Row(n=1)], output_dir=tmp_path / "run", retry_errors=True).results[0].value
    fresh = chain.run([Row(n=1)]).results[0].value
    assert first != again == fresh
    no_duplicates(tmp_path / "run")


def test_reasoning_is_that_of_the_last_round() -> None:
    from chainette import Completion, LLMOutput

    def thinks(messages: Any) -> Any:
        text = messages[-1]["content"]
        thought = f"thought {text[-1]}" if text.endswith("1") else None
        completion = Completion(text=json.dumps({"text": text}), reasoning_content=thought)
        return LLMOutput(outputs=[completion])

    body = draft() >> draft("second", "{{ reasoning.draft }} {{ round }}", input_model=Draft)
    made = repeat(body, until="round == 2", id="loop")
    last = draft("last", "{{ reasoning.draft }}|{{ reasoning.second }}|", input_model=Draft)
    with fake_engine("e", thinks) as engine:
        (result,) = Chain(name="c", steps=[made, last]).run([Row()]).results
    shown = [it[-1]["content"] for it in engine.requests]
    assert [it for it in shown if not it.startswith("draft")] == [
        "second thought 1 1", "second  2", "last ||",
    ]  # fmt: skip
    assert result.reasoning == {}


COUNTED = """
name: c
models:
  Row: {n: int}
  Draft: {text: str, score: int}
steps:
  - repeat: loop
    max_rounds: 3
    steps:
      - id: draft
        input_model: Row
        output_model: Draft
        engine_name: e
        user_prompt: "draft {{ previous.text if previous }} {{ round }}"
"""


@pytest.mark.parametrize("is_yaml", [False, True])
def test_without_until_all_rounds_run_and_the_last_one_counts(
    is_yaml: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = "draft {{ previous.text if previous }} {{ round }}"
    chain: Any = Chain(name="c", steps=repeat(draft(prompt=prompt), max_rounds=3, id="loop"))
    if is_yaml:
        (tmp_path / "chain.yml").write_text(COUNTED)
        chain = load_chain(tmp_path / "chain.yml")
    failures = [{"text": "one", "score": 0}, EngineError("gone")]
    with fake_engine("e", failures):
        (result,) = chain.run([{"n": 1}], output_dir=tmp_path / "run").results
        assert result.state == "failed"
    with fake_engine("e", [{"text": "two", "score": 0}, {"text": "three", "score": 0}]) as engine:
        run = chain.run([{"n": 1}], output_dir=tmp_path / "run", retry_errors=True)
    assert len(engine.requests) == 2
    (result,) = run.results
    assert (result.value.text, result.state) == ("three", "ok")
    rounds = result["loop"]
    assert (rounds.rounds, rounds.passed, rounds.feedback) == (3, True, None)
    shown = {it["id"]: it for it in graph(chain)["nodes"]}["loop"]
    assert (shown["max_rounds"], "until" in shown) == (3, False)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(tree(chain, icons=False))
    assert "→ Draft  3 rounds" in captured.get()
    assert not caplog.records
    two = Chain(name="c", steps=repeat(draft(prompt=prompt), max_rounds=2, id="loop"))
    with fake_engine("e"), pytest.raises(OutputDirError, match=r"repeat 'loop' \(.*max_rounds"):
        two.run([Row(n=1)], output_dir=tmp_path / "run", resume=True)


def test_rounds_that_send_the_same_prompt_are_told(caplog: pytest.LogCaptureFixture) -> None:
    fixed = draft(prompt="draft {{ n }} {{ feedback }}")
    Chain(name="c", steps=repeat(fixed, max_rounds=3, id="loop"))
    assert "no prompt in it uses previous or round, so each round sends the same" in caplog.text

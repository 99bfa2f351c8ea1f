"""One of several ways, by a key: `route`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from chainette import Branch, Chain, Drop, Step, apply, load_chain, pipe, route
from chainette.cli.tree import tree
from chainette.errors import ChainError, OutputDirError
from chainette.pipeline.graph import graph, mermaid
from chainette.run.dry_run import Rendered, Unknown, dry_run
from chainette.testing import fake_engine
from pydantic import BaseModel, create_model
from rich.console import Console


class Kind(Enum):
    REFUND = "refund"
    OTHER = "other"


class Tone(str, Enum):
    WARM = "warm"
    DRY = "dry"


class Row(BaseModel):
    n: int = 0
    label: Literal["refund", "other"] = "refund"
    kind: Kind = Kind.REFUND
    tone: Tone = Tone.DRY
    flag: bool = False
    word: str = "refund"
    maybe: bool | None = None


class Reply(BaseModel):
    text: str


def reply(id: str, prompt: str = "{{ n }}", **options: Any) -> Step[Row, Reply]:
    return Step(
        id=id, input_model=Row, output_model=Reply, engine_name="e",
        user_prompt=f"{id} {prompt}", **options,
    )  # fmt: skip


def says(word: str) -> Any:
    def say(row: Row) -> str:
        return word

    return apply(say, id=word)


def number(row: Row) -> int:
    return row.n


def also(word: str) -> Any:
    def say(text: str) -> str:
        return f"{text} {word}"

    return apply(say, id=word)


def nine(row: Row) -> Row:
    return Row(n=9)


def divided(n: int) -> int:
    return 1 // (n - 2)


def several(row: Row) -> list[int]:
    return list(range(row.n))


def fails(row: Row) -> str:
    raise KeyError("fails")


def told(row: Row, names: Any) -> str:
    return str(names["said"])


def drops(row: Row) -> str:
    raise Drop("not this one")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ways(by: Any, *keys: Any) -> Any:
    made: Any = route(by, id="way")
    for place, key in enumerate(keys):
        made = made.case(key, says(f"way{place}"))
    return made


@pytest.mark.parametrize(
    ("by", "keys", "row", "expected"),
    [
        ("label", ["refund", "other"], Row(label="other"), 1),
        ("kind", ["refund", "other"], Row(kind=Kind.OTHER), 1),
        ("kind", [Kind.REFUND, Kind.OTHER], Row(kind=Kind.OTHER), 1),
        ("kind.value", [Kind.REFUND, Kind.OTHER], Row(kind=Kind.OTHER), 1),
        ("tone", ["warm", "dry"], Row(), 1),
        ("tone", [Tone.WARM, "dry"], Row(tone=Tone.WARM), 0),
        ("flag", [True, False], Row(), 1),
        ("maybe", [True, False, None], Row(), 2),
        ("n", [0, 1, 2], Row(n=2), 2),
        ("chain_input.n", [0, 1, 2], Row(n=1), 1),
        ("n > 1", [False, True], Row(n=2), 1),
        ("word", ["a", "refund"], Row(), 1),
        (lambda row: row.n, [1, True, 0], Row(n=1), 0),
        (lambda row: row.n == 1, [1, True, 0], Row(n=1), 1),
        (lambda row, names: names["chain_input"].word, ["refund"], Row(), 0),
    ],
)
def test_the_key_says_which_way_an_item_takes(
    by: Any, keys: list[Any], row: Row, expected: int
) -> None:
    (result,) = Chain(name="c", steps=ways(by, *keys)).run([row]).results
    assert result.unwrap() == f"way{expected}"
    assert result.outputs == {"way": f"way{expected}", f"way{expected}": f"way{expected}"}


async def later(row: Row) -> str:
    return row.word


@pytest.mark.parametrize(
    ("by", "words"),
    [
        ("word", "route 'way' has no case for 'refund', and no default; its cases are 'a', Kind"),
        (later, "route 'way' has no case for 'refund'"),
        (lambda row: 1.5, "has no case for 1.5"),
        (lambda row: Tone.DRY, "has no case for <Tone.DRY: 'dry'>"),
        (lambda row: 1 / 0, "route 'way', by failed at test_routes.py:"),
        ("1 // n", "route 'way', by: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_a_key_without_a_way_fails_its_row_and_names_the_keys(by: Any, words: str) -> None:
    chain = Chain(name="c", steps=ways(by, "a", Kind.OTHER))
    (result,) = chain.run([Row()]).results
    assert (result.state, words in str(result.error)) == ("failed", True), result.error
    default = Chain(name="c", steps=ways(later, "a").default(None))
    assert default.run_one(Row(n=5)) == Row(n=5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Chain(name="c", steps=route("n", id="way")), "route 'way' has no cases; add"),
        (lambda: ways("word", "a", "a"), "route 'way' has two cases for 'a'"),
        (lambda: ways("kind", Kind.OTHER, "other"),
         "two cases for 'other', and Kind.OTHER is the same key"),
        (lambda: ways("word", "a").default(None).default(None), "route 'way' has two defaults"),
        (lambda: ways("word", 1.5), "the key of a case is 1.5; give a text, a number, True"),
        (lambda: ways(3, "a"), "route 'way', by is 3; give a function of the item"),
        (lambda: ways("{{ n }}", "a"), "has braces; give the bare expression"),
        (lambda: route("n", id="way").case("a", fails), "'fails' is a function, not a step"),
        (lambda: route("n", id="way").case("a", [Branch("b", apply(fails))]),
         "route 'way', case 'a' has only branches"),
        (lambda: route("n", id="way", defualt=None),
         "unknown keyword 'defualt'"),
        (lambda: Chain(name="c", steps=ways("m", 1)), "route 'way', by: unknown variable 'm'"),
        (lambda: Chain(name="c", steps=ways("label", "refnud", "other")),
         "label is never 'refnud' (did you mean 'refund'?); it can be 'refund', 'other'"),
        (lambda: Chain(name="c", steps=ways("label", "refund")),
         "route 'way' has no case for 'other'; add one for it, or a default for all"),
        (lambda: Chain(name="c", steps=ways("kind", "refund")), "no case for Kind.OTHER"),
        (lambda: Chain(name="c", steps=ways("flag", True)), "no case for False"),
        (lambda: Chain(name="c", steps=ways("flag", True, False, "yes")), "flag is never 'yes'"),
        (lambda: Chain(name="c", steps=ways("n", "1")), "n is never '1'; it can be any number"),
        (lambda: Chain(name="c", steps=ways("word", 1)), "word is never 1; it can be any text"),
        (lambda: Chain(name="c", steps=ways(is_big, "yes", "no")), "is_big is never 'yes'"),
        (lambda: Chain(name="c", steps=[says("a"), ways("n", 1)]), "unknown variable 'n'"),
        (lambda: Chain(name="c", steps=[
            route("n", id="way").case(1, reply("a")).default(None),
            Step(id="b", input_model=Any, output_model=Reply, engine_name="e",
                 user_prompt="{{ a.text }}")]),
         "'a' (in route 'way': the value of the way that was taken is 'way' here)"),
        (lambda: Chain(name="c", steps=[
            route("n", id="way").case(1, reply("a")).default(None),
            apply(fails)]), None),
        (lambda: Chain(name="c", steps=[says("x"), route("x", id="way").case("1", reply("a"))]),
         "step 'a' takes Row, but apply 'x' gives str"),
        (lambda: Chain(name="c", steps=[reply("a"), ways("a.text", "1", "2"), reply("a")]),
         "2 steps have the id 'a'"),
        (lambda: Chain(name="c", steps=pipe(*[ways("word", "a")] * 2)),
         "the same route 'way' is in it 2 times"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_when_the_chain_is_built(
    make: Callable[[], Any], words: str | None
) -> None:
    if words is None:
        make()
        return
    with pytest.raises((ChainError, TypeError)) as caught:
        make()
    assert words in str(caught.value)


def is_big(row: Row) -> bool:
    return row.n > 10


def test_the_ways_can_be_whole_flows_and_types_are_unions() -> None:
    inner = Chain(name="inner", steps=[says("first"), apply(str.upper, id="loud")])
    branch = Branch("aside", apply(number)).join("number")
    made = (
        route("n", id="way")
        .case(0, inner)
        .case(1, [branch, apply(lambda row, names: names["number"], id="joined", output_model=int)])
        .default(apply(number, id="count") >> apply(str, id="text"))
    )
    chain = Chain(name="c", steps=[made, apply(repr, id="end")])
    run = chain.run([Row(n=n) for n in range(3)])
    assert [it.unwrap() for it in run.results] == ["'FIRST'", "1", "'2'"]
    assert [it["way"] for it in run.results] == ["FIRST", 1, "2"]
    assert "number" not in run.results[0].outputs
    assert run.results[1]["number"] == 1


def test_items_split_in_a_way_and_drops_drop_the_item(tmp_path: Path) -> None:
    made = route("n", id="way").case(0, apply(drops)).case(1, says("one")).default(apply(several))
    chain = Chain(name="c", steps=[made, apply(lambda it: f"<{it}>", id="end")])
    for where in ({}, {"output_dir": tmp_path / "run"}):
        run = chain.run([Row(n=n) for n in range(4)], **where)
        assert [it.value for it in run.results] == [
            None,
            "<one>",
            ["<0>", "<1>"],
            ["<0>", "<1>", "<2>"],
        ]
        assert [it.state for it in run.results] == ["dropped", "ok", "ok", "ok"]
        assert run.results[3]["way"] == [0, 1, 2]
    assert [it["reason"] for it in lines(tmp_path / "run/dropped.jsonl")] == ["not this one"]


def test_a_failed_way_fails_the_item_or_is_tolerated(tmp_path: Path) -> None:
    def chain(**options: Any) -> Chain[Any, Any]:
        made = (
            route("n", id="way", **options)
            .case(0, says("fine"))
            .case(1, [Branch("beside", apply(number)), apply(fails)])
            .case(2, [Branch("broken", apply(fails, id="aside")), says("two")])
            .case(4, [apply(several), apply(divided)])
        )
        return Chain(
            name="c", steps=[made, apply(lambda it, names: f"{it} {names['way']}", id="end")]
        )

    rows = [Row(n=n) for n in range(5)]
    states = [it.state for it in chain().run(rows).results]
    assert states == ["ok", "failed", "partial", "failed", "partial"]
    for more in ({}, {"resume": True, "force": True}):
        run = chain(on_error="none").run(rows, output_dir=tmp_path / "run", **more)
        assert [it.state for it in run.results] == ["ok"] * 5
        assert [it.value for it in run.results][1:4] == ["None None"] * 3
        assert run.results[4].value == ["-1 -1", "-1 -1", "None None", "1 1"]
        assert run.counts.tolerated == 4
        failed = lines(tmp_path / "run/errors.jsonl")
        tolerated = {it["node_id"] for it in failed if it["tolerated"]}
        assert tolerated == {"fails", "aside", "way", "divided"}


def test_a_condition_passes_the_item_on() -> None:
    made = route("n", id="way", when="n > 0").case(1, apply(nine))
    chain = Chain(
        name="c",
        steps=[made.default(None), apply(lambda it, names: f"{it.n} {names['way']}", id="end")],
    )
    assert [it.unwrap() for it in chain.run([Row(n=n) for n in range(3)]).results] == [
        "0 None", f"9 {Row(n=9)}", f"2 {Row(n=2)}",
    ]  # fmt: skip


def test_a_way_in_a_branch_joins_as_its_value() -> None:
    made = route("label", id="way").case("refund", reply("a")).case("other", says("b"))
    chain = Chain(
        name="c",
        steps=[
            Branch("side", made).join("said"),
            apply(told),
        ],
    )
    with fake_engine("e", lambda _: {"text": "hello"}):
        run = chain.run([Row(), Row(label="other")])
    assert [it.unwrap() for it in run.results] == ["text='hello'", "b"]


CHOICES: list[int] = []


def random_key(row: Row) -> str:
    CHOICES.append(row.n)
    return "abc"[len(CHOICES) % 3]


def random_ways() -> Any:
    return Chain(name="c", steps=ways(random_key, "a", "b", "c"))


def test_the_choice_is_made_once_also_over_a_resume(tmp_path: Path) -> None:
    CHOICES.clear()
    rows = [Row(n=n) for n in range(4)]
    first = random_ways().run(rows, output_dir=tmp_path / "run", limit=2)
    values = [it.value for it in first.results]
    again = random_ways().run(rows, output_dir=tmp_path / "run", resume=True)
    assert CHOICES == [0, 1, 2, 3]
    assert [it.value for it in again.results][:2] == values
    written = lines(tmp_path / "run/steps/way/000000.jsonl")
    assert [it["case"] for it in written] == ["b", "c", "a", "b"]
    default = Chain(name="c", steps=ways("n", 1).default(None))
    default.run(rows[:2], output_dir=tmp_path / "other")
    assert lines(tmp_path / "other/steps/way/000000.jsonl") == [
        {"row_id": 0, "output": None, "kind": "case", "case": 0, "default": True},
        {"row_id": 1, "output": None, "kind": "case", "case": 1},
    ]


def two_steps(prompt: str = "{{ n }}", by: str = "label") -> Chain[Any, Any]:
    made = route(by, id="way").case("refund", reply("a", prompt)).case("other", reply("b"))
    end = Step(
        id="end", input_model=Reply, output_model=Reply, engine_name="e", user_prompt="{{ text }}"
    )
    return Chain(name="c", steps=[made, end])


@pytest.mark.parametrize(
    ("other", "changed", "named", "asked"),
    [
        ({"prompt": "{{ word }}"}, r"step 'a' \(user_prompt\)", "a", 2),
        ({"by": "'refund' if label == 'other' else 'other'"}, r"route 'way' \(by\)", "way", 6),
    ],
)
def test_a_change_is_refused_and_redone_on_request(
    other: Any, changed: str, named: str, asked: int, tmp_path: Path
) -> None:
    rows = [Row(label="refund"), Row(label="other"), Row(label="other")]
    with fake_engine("e", lambda messages: {"text": messages[-1]["content"]}) as engine:
        two_steps().run(rows, output_dir=tmp_path / "run")
        with pytest.raises(OutputDirError, match=changed):
            two_steps(**other).run(rows, output_dir=tmp_path / "run", resume=True)
        engine.requests.clear()
        run = two_steps(**other).run(rows, output_dir=tmp_path / "run", redo=[named])
        fresh = two_steps(**other).run(rows)
    assert [it.value for it in run.results] == [it.value for it in fresh.results]
    assert len(engine.requests) - len(rows) * 2 == asked + (2 if named == "a" else 0)


def test_a_retry_runs_what_failed_in_its_way(tmp_path: Path) -> None:
    is_broken = True

    def answer(messages: Any) -> Any:
        return "no" if is_broken and "b 1" in str(messages) else {"text": "fine"}

    rows = [Row(n=0), Row(n=1, label="other")]
    with fake_engine("e", answer) as engine:
        run = two_steps().run(rows, output_dir=tmp_path / "run")
        assert [it.state for it in run.results] == ["ok", "failed"]
        is_broken = False
        engine.requests.clear()
        run = two_steps().run(rows, output_dir=tmp_path / "run", retry_errors=True)
    assert [it.state for it in run.results] == ["ok", "ok"]
    assert len(engine.requests) == 2


def test_a_dry_run_renders_the_prompts_of_the_way_that_is_known() -> None:
    import anyio

    def run(chain: Chain[Any, Any], **options: Any) -> list[str]:
        shown = anyio.run(lambda: dry_run(chain, [Row(), Row(n=1, label="other")], **options))
        texts = [it.messages[-1]["content"] for it in shown if isinstance(it, Rendered)]
        return texts + [
            f"{it.step_id} after {it.after.id}" for it in shown if isinstance(it, Unknown)
        ]

    with fake_engine("e"):
        assert run(two_steps()) == ["a 0", "b 1", "end after a"]
        by_function = Chain(
            name="c",
            steps=route(lambda row: row.label, id="way").case("refund", reply("a")).default(None),
        )
        assert run(by_function) == ["a after way"]
        assert run(by_function, with_functions=True) == ["a 0"]


def test_a_route_is_drawn_and_listed_with_its_ways() -> None:
    made = route("label", id="way").case("refund", reply("a")).case("other", [says("b"), also("c")])
    chain = Chain(name="c", steps=[made, apply(repr, id="end")])
    chart = mermaid(chain)
    for edge in (
        'way{"way"}', "chain_input --> way", "way -- refund --> a", "way -- other --> b",
        "b --> c", "a --> end", "c --> end",
    ):  # fmt: skip
        assert edge in chart
    odd = mermaid(Chain(name="c", steps=ways("word", 'a "b" --> c')))
    assert 'way -->|"a #quot;b#quot; --> c"| way0' in odd
    nodes = {it["id"]: it for it in graph(chain)["nodes"]}
    assert nodes["way"]["cases"] == [["refund", ["a"]], ["other", ["b", "c"]]]
    assert (nodes["a"]["inside"], nodes["a"]["case"]) == ("way", "refund")
    console = Console(width=100)
    with console.capture() as captured:
        console.print(tree(chain, icons=False))
    assert "way  Row → Reply | str  by label" in captured.get()


def test_the_table_has_the_value_and_the_outputs_inside(tmp_path: Path) -> None:
    with fake_engine("e", lambda messages: {"text": "hello"}):
        made = route("label", id="way").case("refund", reply("a")).case("other", says("b"))
        run = Chain(name="c", steps=made).run(
            [Row(), Row(label="other")], output_dir=tmp_path / "run", keep="none"
        )
        assert lines(tmp_path / "run/flattened/000000.jsonl") == [
            {"row_id": 0, "way.text": "hello", "a.text": "hello"},
            {"row_id": 1, "way": "b", "b": "b"},
        ]
        assert [it.value for it in run.results] == [Reply(text="hello"), "b"]
        assert run.results[0][made] == Reply(text="hello")


YAML = """
name: c
models:
  Row: {n: int, label: {enum: [refund, other, none]}}
  Reply: {text: str}
steps:
  - route: way
    by: label
    cases:
      refund:
        - {id: a, input_model: Row, output_model: Reply, engine_name: e, user_prompt: "a {{ n }}"}
      other: []
    default:
      - {id: b, input_model: Row, output_model: Reply, engine_name: e, user_prompt: "b {{ n }}"}
"""


def test_yaml_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "chain.yml").write_text(YAML)
    with fake_engine("e", lambda messages: {"text": messages[-1]["content"]}):
        run = load_chain(tmp_path / "chain.yml").run(
            [{"n": 1, "label": "refund"}, {"n": 2, "label": "other"}, {"n": 3, "label": "none"}]
        )
    assert [next(iter(it.value)) for it in run.results] == [
        ("text", "a 1"),
        ("n", 2),
        ("text", "b 3"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("by: label", "by: labl", "route 'way', by: unknown variable 'labl'"),
        ("    by: label\n", "", "chain.yml:7: steps.0: a route needs 'by'; the keys of a route"),
        ("other: []", "othr: []", "label is never 'othr' (did you mean 'other'?)"),
        ("cases:", "case:", "unknown key 'case' (did you mean 'cases'?)"),
        ("id: a, ", "", "chain.yml:11: steps.0.cases.refund.0: a step needs 'id'"),
        ("a {{ n }}", "a {{ m }}", "unknown variable 'm'"),
        ("other: []", "other: [{}]", "it is empty; a node is a step"),
    ],
)  # fmt: skip
def test_a_mistake_in_yaml_is_named_with_its_place(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "chain.yml").write_text(YAML.replace(old, new, 1))
    with pytest.raises(ChainError) as caught:
        load_chain(tmp_path / "chain.yml")
    assert words in str(caught.value)


def test_names_of_a_way_end_with_it() -> None:
    def seen(row: Any, names: Mapping[str, Any]) -> str:
        return ",".join(sorted(names))

    made = route("n", id="way").case(0, says("a") >> also("b")).default(None)
    chain = Chain(name="c", steps=[made, apply(seen)])
    assert chain.run_one(Row()) == "chain_input,way"


def test_a_word_of_the_language_is_not_the_field_of_that_name() -> None:
    row: Any = create_model("Words", true=(int, 5))
    made = route("true", id="way").case(True, None).default(apply(lambda it: 1 / 0, id="other"))
    assert Chain(name="c", steps=made).run_one(row()).true == 5

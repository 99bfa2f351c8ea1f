"""Nodes that are a word, split, filter, distinct and vote: in Python and YAML, and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from chainette import (
    Branch,
    Chain,
    Drop,
    Group,
    Step,
    apply,
    distinct,
    filter,
    pipe,
    reduce,
    repeat,
    route,
    split,
    vote,
)
from chainette.cli.tables import summary
from chainette.errors import ChainError, OutputDirError
from chainette.folder.lines import read_lines
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.run.dry_run import dry_run
from chainette.run.progress.stats import RunStats
from chainette.testing import fake_engine
from pydantic import BaseModel


class Sentence(BaseModel):
    text: str
    score: int = 0


class Doc(BaseModel):
    name: str = "d"
    sentences: list[Sentence] = []
    more: list[str] | None = None
    by_name: dict[str, int] = {}
    tags: set[str] = set()
    first: Sentence = Sentence(text="")


class Label(BaseModel):
    label: str
    why: str = ""


class Judged(BaseModel):
    label: str
    agreement: int


ROWS = [
    {
        "name": "a",
        "sentences": [{"text": t, "score": s} for t, s in zip("xyx", (5, 1, 9), strict=True)],
    },
    {"name": "b"},
    {"name": "c", "sentences": [{"text": "x", "score": 7}]},
]


@pytest.fixture(params=["memory", "disk", "resumed"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    if request.param == "memory":
        return {}
    return {"output_dir": tmp_path / "out", "resume": request.param == "resumed"}


def results(chain: Chain[Any, Any], rows: Any, options: dict[str, Any]) -> list[Any]:
    if options.get("resume"):  # once whole, then each time without its last lines
        chain.run(rows, output_dir=options["output_dir"])
        (options["output_dir"] / "run.json").write_text(
            (options["output_dir"] / "run.json").read_text().replace('"finished"', '"running"')
        )
    return list(chain.run(rows, **options).results)


def chain_of(*nodes: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=pipe(*nodes))


def is_good(sentence: Sentence) -> bool:
    return sentence.score > 3


async def is_good_soon(sentence: Sentence, names: Any) -> bool:
    return sentence.score > 3 and names["chain_input"].name != "c"


def says_why(sentence: Sentence) -> bool:
    if sentence.score < 3:
        raise Drop("too low")
    return True


async def letter_later(row: Any) -> str:
    return str(row.text.upper())


def last_letter(messages: Any) -> Label:
    return Label(label=messages[-1]["content"][-1])


label = Step(
    id="label", input_model=Sentence, output_model=Label, engine_name="e",
    user_prompt="Label {{ text }}",
)  # fmt: skip


def several_labels(**options: Any) -> Step[Any, Any]:
    return Step(
        id="label", input_model=Sentence, output_model=Label, engine_name="e", samples=2,
        user_prompt="Label {{ text }}", **options,
    )  # fmt: skip


def fresh(step: Step[Any, Any] = label) -> Step[Any, Any]:
    return Step(
        id="label", input_model=Sentence, output_model=Label, engine_name="e",
        user_prompt="Label {{ text }}",
    )  # fmt: skip


def test_a_list_is_split_filtered_and_made_distinct(options: dict[str, Any]) -> None:
    nodes = split("sentences", input_model=Doc), filter("score > 3"), distinct("text"), fresh()
    with fake_engine("e", last_letter) as engine:
        found = results(chain_of(*nodes), ROWS, options)
    assert [it.state for it in found] == ["ok", "dropped", "dropped"]
    assert found[0].value == [Label(label="x")]
    assert [item.drop_reason for item in found[0].items] == [
        None,
        "score > 3",
        "not distinct by text",
    ]
    assert found[0].items[1].outputs == {"split": Sentence(text="y", score=1)}
    assert found[1].drop_reason == "it returned no items"
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    ("keeps", "kept", "reason"),
    [
        ("score > 3", ["x", "x", "x"], "score > 3"),
        ("chain_input.name == 'a'", ["x", "y", "x"], "chain_input.name == 'a'"),
        (is_good, ["x", "x", "x"], "is_good"),
        (is_good_soon, ["x", "x"], "is_good_soon"),
        (says_why, ["x", "x", "x"], "too low"),
        (lambda it: it.score == 9, ["x"], "filter"),
    ],
)
def test_a_filter_keeps_what_it_says(
    keeps: Any, kept: list[str], reason: str, options: dict[str, Any]
) -> None:
    found = results(chain_of(split("sentences", input_model=Doc), filter(keeps)), ROWS, options)
    assert [it.text for row in found if row.value for it in row.value] == kept
    reasons = {it.drop_reason for row in found for it in row.items if it.state == "dropped"}
    assert reasons - {"it returned no items"} == {reason}


@pytest.mark.parametrize(
    ("by", "kept"),
    [
        (None, [0, 1, 3, 4, 5, 6]),
        ("text", [0, 1, 3]),
        ("score", [0, 5]),
        ("score > 1", [0, 5]),
        (["text", "score"], [0, 1, 3, 5]),
        (lambda it: it.text.upper(), [0, 1]),
        (["score", lambda it: it.text.upper()], [0, 1, 5]),
        (letter_later, [0, 1]),
        (["score", letter_later], [0, 1, 5]),
    ],
)
def test_the_first_item_of_a_key_goes_on(by: Any, kept: list[int], options: dict[str, Any]) -> None:
    class Row(BaseModel):
        text: str
        score: float = 1
        more: list[Any] = []

    rows = [
        Row(text="a"), Row(text="b"), Row(text="a"), Row(text="A"), Row(text="a", more=[1]),
        Row(text="a", score=2), Row(text="a", more=[True]),
    ]  # fmt: skip
    found = results(chain_of(distinct(by, input_model=Row)), rows, options)
    assert [it.row_id for it in found if it.ok] == kept
    assert all(it.value == rows[it.row_id] for it in found if it.ok)


@pytest.mark.parametrize("by", ["6 // score", lambda it: 6 // it.score])
def test_an_item_whose_key_fails_fails_alone(by: Any, options: dict[str, Any]) -> None:
    rows = [Sentence(text="a", score=score) for score in (0, 3, 0, 3)]
    found = results(chain_of(distinct(by, input_model=Sentence)), rows, options)
    assert [it.state for it in found] == ["failed", "ok", "failed", "dropped"]
    assert "distinct 'distinct'" in str(found[0].error)
    assert "ZeroDivisionError" in str(found[0].error)


def test_a_tolerated_key_falls_back_for_its_item_alone(options: dict[str, Any]) -> None:
    other = Sentence(text="other", score=-1)
    node = distinct(lambda it: 6 // it.score, id="d", input_model=Sentence, default=other)
    rows = [Sentence(text="a", score=score) for score in (0, 3, 3)]
    found = results(chain_of(node), rows, options)
    assert [it.value for it in found] == [other, rows[1], None]


VOTES = [
    ("aab", "a", 2 / 3),
    ("abb", "b", 2 / 3),
    ("abab", "a", 0.5),
    ("abba", "b", 0.5),
    ("a", "a", 1.0),
]


@pytest.mark.parametrize(("cast", "winner", "share"), VOTES)
def test_a_vote_is_won_by_the_label_that_is_first_at_the_most(
    cast: str, winner: str, share: float, options: dict[str, Any]
) -> None:
    class Cast(BaseModel):
        labels: list[Label]

    def labels(cast: Cast) -> Any:
        return Cast(labels=cast.labels)

    rows = [Cast(labels=[Label(label=it, why=f"{n}") for n, it in enumerate(cast)])]
    several = Step(
        id="several", input_model=Cast, output_model=list[Label], engine_name="e",
        user_prompt="{% for it in labels %}{{ it.label }}{{ it.why }} {% endfor %}",
    )  # fmt: skip
    chain = chain_of(several, vote("label"), filter("vote.agreement >= 0.5"))
    with fake_engine("e", lambda messages: [it.model_dump() for it in rows[0].labels]):
        (found,) = results(chain, rows, options)
    assert type(found.value) is Label
    assert found.value == Label(label=winner, why=f"{cast.index(winner)}")
    assert found["vote"].label == winner
    assert found["vote"].agreement == share
    if path := options.get("output_dir"):
        (line,) = read_lines(path / "flattened")
        assert (line["vote.label"], line["vote.agreement"]) == (winner, share)


@pytest.mark.parametrize(
    ("items", "winner", "share"),
    [(["x", "y", "y"], "y", 2 / 3), ([1, True, 1], 1, 2 / 3), ([[1], [2], [2]], [2], 2 / 3)],
)
def test_plain_values_are_voted_on_as_a_whole(items: list[Any], winner: Any, share: float) -> None:
    class Row(BaseModel):
        items: list[Any]

    several = Step(
        id="several", input_model=Row, output_model=list[Any], engine_name="e",
        user_prompt="{{ items }}",
    )  # fmt: skip
    with fake_engine("e", lambda messages: items):
        (found,) = chain_of(several, vote()).run([Row(items=items)]).results
    assert found.value == winner
    assert type(found.value) is type(winner)
    assert (found["vote"].value, found["vote"].agreement) == (winner, share)


def test_a_list_is_passed_on_whole(options: dict[str, Any]) -> None:
    """A filter does not split what it passes on, as a function would that returns a list."""
    several = Step(
        id="several", input_model=Sentence, output_model=list[Label], engine_name="e",
        user_prompt="{{ text }}",
    )  # fmt: skip
    count = filter("several | length > 1")
    with fake_engine("e", lambda messages: [{"label": "a"}, {"label": "b"}]):
        (found,) = results(chain_of(several, count), [{"text": "x"}], options)
        assert found.value == [Label(label="a"), Label(label="b")]
        again = chain_of(_again(several), distinct(), split())
        (found,) = again.run([{"text": "x"}]).results
    assert found.value == [Label(label="a"), Label(label="b")]
    assert len(found.items) == 2


def _again(step: Step[Any, Any]) -> Step[Any, Any]:
    return Step(
        id=step.id, input_model=step.input_model, output_model=step.output_model, engine_name="e",
        user_prompt=step.user_prompt,
    )  # fmt: skip


REFUSED = [
    (lambda: split("name", input_model=Doc), r"split 'split': the field 'name' is a str.* a list"),
    (
        lambda: split("by_name", input_model=Doc),
        r"the field 'by_name' is a dict\[str, int\]",
    ),
    (lambda: split("tags", input_model=Doc), "a set has no order"),
    (lambda: split("first", input_model=Doc), "the field 'first' is a Sentence"),
    (lambda: split("sentence", input_model=Doc), r"no field 'sentence' \(did you mean 'sentences'"),
    (lambda: split(input_model=Doc), r"its input is a Doc.*as in split\('sentences'\)"),
    (lambda: split("a b"), "'a b' is not the name of a field"),
    (lambda: filter("score >"), "filter 'filter': 'score >'"),
    (lambda: filter("{{ score }}"), "has braces; give the bare expression"),
    (
        lambda: filter(cast(Any, 3)),
        "filter 'filter' is 3; give a function of the item, or an expression",
    ),
    (
        lambda: [several_labels(on_error="none"), vote("label")],
        "vote 'vote' takes a list, and what comes in may be None; give the node in front",
    ),
    (lambda: distinct([]), "is empty; leave it out to compare whole items"),
    (lambda: vote("label", input_model=Label), "vote 'vote' takes a list.*not a Label"),
    (lambda: vote("labl", input_model=list[Label]), "no field 'labl' .did you mean 'label'"),
    (lambda: vote("x", input_model=list[str]), r"str has no field 'x'; .* vote\(\)"),
    (lambda: vote(input_model=list[Judged]), "Judged has a field 'agreement'"),
    (lambda: filter("sore > 3", input_model=Sentence), "'sore'.*did you mean 'score'"),
    (lambda: distinct("sore", input_model=Sentence), "'sore'.*did you mean 'score'"),
    (lambda: [fresh(), vote("label")], "vote 'vote' takes a list"),
    (lambda: [fresh(), split("label")], "the field 'label' is a str"),
    (lambda: repeat([fresh(), distinct()], until="true", id="r"), "'distinct' compares the items"),
    (
        lambda: repeat([split("sentences", input_model=Doc)], until="true", id="r"),
        "split 'split' splits its item",
    ),
    (lambda: [filter("score > 3", input_model=Sentence), filter("true")], "2 steps have the id"),
]


@pytest.mark.parametrize(("nodes", "message"), REFUSED)
def test_what_cannot_be_is_refused_when_the_chain_is_built(nodes: Any, message: str) -> None:
    with pytest.raises(ChainError, match=message):
        Chain(name="c", steps=[nodes()])


def test_one_node_takes_one_type() -> None:
    shared = filter("true")
    Chain(name="a", steps=[fresh(), shared])
    with pytest.raises(ChainError, match="takes Label in another chain, and Sentence here"):
        Chain(name="b", steps=[split("sentences", input_model=Doc), shared])


def test_what_is_not_a_list_fails_its_row() -> None:
    chain = chain_of(split("parts", output_model=Sentence))
    rows = [{"parts": [{"text": "a"}]}, {"parts": {"text": "a"}}, {"parts": "text"}, {}]
    found = list(chain.run(rows).results)
    assert [it.state for it in found] == ["ok", "failed", "failed", "failed"]
    assert "parts is a dict, and a split takes a list" in str(found[1].error)
    assert "parts is a str" in str(found[2].error)
    assert "the item has no 'parts'" in str(found[3].error)


@pytest.mark.parametrize("keeps", [lambda it: 1, lambda it: None, lambda it: "yes"])
def test_a_filter_that_does_not_say_true_or_false_fails(keeps: Any) -> None:
    (found,) = chain_of(filter(keeps, input_model=Sentence)).run([{"text": "a"}]).results
    assert "it must return True or False" in str(found.error)


def test_a_single_row_cannot_be_distinct() -> None:
    with pytest.raises(ChainError, match=r"distinct 'distinct' compares .* use run, not run_one"):
        chain_of(distinct(input_model=Sentence)).run_one({"text": "a"})
    chain = chain_of(split("sentences", input_model=Doc), filter("score > 3"))
    assert [it.text for it in chain.run_one(ROWS[0])] == ["x", "x"]


def test_the_totals_of_items_are_in_the_manifest_and_the_summary(tmp_path: Path) -> None:
    chain = chain_of(split("sentences", input_model=Doc), filter("score > 3"), distinct("text"))
    run = chain.run(ROWS, output_dir=tmp_path / "out")
    expected = {
        "split": {"in": 3, "out": 4, "dropped": 1},
        "filter": {"in": 4, "out": 3, "dropped": 1},
        "distinct": {"in": 3, "out": 1, "dropped": 2},
    }
    assert json.loads((tmp_path / "out/run.json").read_text())["items"] == expected
    assert {id: it.as_dict() for id, it in run.items.items()} == expected
    said = "items: split 3 → 4 (1 dropped); filter 4 → 3 (1 dropped); distinct 3 → 1 (2 dropped)"
    assert said in summary(run, RunStats())
    again = chain.run(ROWS, output_dir=tmp_path / "out", resume=True)
    assert again.nothing_to_do
    assert {id: it.as_dict() for id, it in again.items.items()} == expected
    chain.run(ROWS, output_dir=tmp_path / "out", redo=["distinct"])
    assert json.loads((tmp_path / "out/run.json").read_text())["items"] == expected


def test_a_dropped_item_has_no_columns_of_answers(tmp_path: Path) -> None:
    chain = chain_of(fresh(), filter("label.label != 'x'"))
    rows = [{"text": "x"}, {"text": "y"}]
    with fake_engine("e", last_letter):
        run = chain.run(rows, output_dir=tmp_path / "out")
        memory = chain.run(rows)
    lines = [
        {name: value for name, value in line.items() if name not in ("text", "score")}
        for line in read_lines(tmp_path / "out/flattened")
    ]
    assert lines == [
        {"row_id": 0, "dropped": True},
        {"row_id": 1, "label.label": "y", "label.why": ""},
    ]
    for found in (run, memory):
        assert found.results[0].outputs == {"label": Label(label="x")}
        assert found.results[0].drop_reason == "label.label != 'x'"


def test_a_dropped_item_shows_which_item_it_is(tmp_path: Path) -> None:
    chain = chain_of(split("sentences", input_model=Doc), fresh(), filter("label.label != 'x'"))
    rows = [{"name": "d", "sentences": [{"text": "x"}, {"text": "y"}]}]
    with fake_engine("e", last_letter):
        run = chain.run(rows, output_dir=tmp_path / "out")
    first, second = ({*line} for line in read_lines(tmp_path / "out/flattened"))
    assert {"item", "split.text", "dropped"} <= first
    assert not {"label.label", "label.why"} & first
    assert "label.label" in second
    sentence = Sentence(text="x")
    expected = {"split": sentence, "label": Label(label="x")}
    assert run.results[0].items[0].outputs == expected


def test_expressions_see_joined_branches_and_groups() -> None:
    beside = Branch("beside", fresh()).join("seen")
    chain = chain_of(beside, filter("seen.label == 'x'", input_model=Sentence), distinct("seen"))

    def texts(group: Group[Sentence]) -> Doc:
        return Doc(name=str(group.key), sentences=group.items)

    grouped = chain_of(
        reduce(apply(texts), by="text"), filter("sentences | length > 1"), split("sentences")
    )
    rows = [{"text": text} for text in "xyxx"]
    with fake_engine("e", last_letter):
        found = chain.run(rows).results
    assert [it.state for it in found] == ["ok", "dropped", "dropped", "dropped"]
    run = grouped.run(rows)
    assert [it.state for it in run.groups("split")] == ["ok", "dropped"]
    assert run.groups("split")[0].value == [Sentence(text="x")] * 3


def test_words_are_ways_of_routes_and_parts_of_repeats() -> None:
    ways = route("text", id="kind").case("x", filter("score > 1")).case("y", split_words())
    chain = chain_of(ways.default(None), filter("true", id="all"))
    rows = [{"text": "x"}, {"text": "x", "score": 2}, {"text": "y"}, {"text": "z"}]
    results = chain.run(rows).results
    assert [it.state for it in results] == ["dropped", "ok", "ok", "ok"]
    assert [type(it.value) for it in results] == [type(None), Sentence, list, Sentence]
    up = apply(more, id="more")
    again = chain_of(repeat([up, filter("score < 9")], until="score > 1", id="again"))
    (found,) = again.run([{"text": "x"}]).results
    assert found.value == Sentence(text="x", score=2)


def more(sentence: Sentence) -> Sentence:
    return Sentence(text=sentence.text, score=sentence.score + 2)


def split_words() -> Any:
    def words(sentence: Sentence) -> Doc:
        return Doc(sentences=[sentence, sentence])

    return pipe(apply(words), split("sentences"))


def test_a_dry_run_shows_prompts_behind_expressions() -> None:
    import asyncio

    chain = chain_of(split("sentences", input_model=Doc), filter("score > 3"), fresh())
    with fake_engine("e", last_letter):
        shown = asyncio.run(dry_run(chain, ROWS))
    assert [it.messages[-1]["content"] for it in shown] == ["Label x"] * 3  # type: ignore[union-attr]


CHANGES = [
    (lambda: [filter("score > 3")], lambda: [filter("score > 4")]),
    (lambda: [filter(is_good)], lambda: [filter(says_why)]),
    (lambda: [distinct("text")], lambda: [distinct("score")]),
    (lambda: [distinct("text")], lambda: [distinct(["text", "score"])]),
    (lambda: [filter("score > 3", when="score")], lambda: [filter("score > 3")]),
]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_word_that_has_changed_is_refused_and_can_be_redone(
    before: Any, after: Any, tmp_path: Path
) -> None:
    def built(nodes: Any) -> Chain[Any, Any]:
        return chain_of(split("sentences", input_model=Doc), *nodes())

    out = tmp_path / "out"
    built(before).run(ROWS, output_dir=out)
    (node,) = before()
    with pytest.raises(OutputDirError, match=rf'redo=\["{node.id}"\]'):
        built(after).run(ROWS, output_dir=out, resume=True)
    again = built(after).run(ROWS, output_dir=out, redo=[node.id])
    clean = built(after).run(ROWS)
    assert [it.value for it in again.results] == [it.value for it in clean.results]
    assert again.items == clean.items


def test_nothing_to_vote_on_can_be_tolerated() -> None:
    several = Step(
        id="several", input_model=Sentence, output_model=list[Label], engine_name="e",
        user_prompt="{{ text }}",
    )  # fmt: skip
    with fake_engine("e", lambda messages: []):
        (found,) = chain_of(_again(several), vote("label")).run([{"text": "x"}]).results
        assert "what comes in is empty: there is nothing to vote on" in str(found.error)
        default = vote("label", default=Label(label="none"))
        (found,) = chain_of(_again(several), default).run([{"text": "x"}]).results
    assert found.value == Label(label="none")


YAML = """
name: c
models:
  Sentence: {text: str, score: int}
  Doc: {name: str, sentences: {items: Sentence}}
  Label: {label: str}
steps:
  - split: sentences
    input_model: Doc
  - filter: score > 3
    id: good
  - filter: test_words:is_short
    id: short
  - distinct: [text, score > 5]
  - id: label
    input_model: Sentence
    output_model: list[Label]
    engine_name: e
    user_prompt: "{{ text }}"
  - vote: label
"""


def is_short(sentence: Any) -> bool:
    return len(sentence.text) < 2


def test_yaml_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    (tmp_path / "c.yaml").write_text(YAML)
    chain = load_yaml_chain(tmp_path / "c.yaml").chain
    assert [node.kind for node in chain.nodes.values()] == [
        "split", "filter", "filter", "distinct", "step", "vote",
    ]  # fmt: skip
    texts = ["x", "x", "long", "y"]
    rows = [{"name": "a", "sentences": [{"text": it, "score": 5} for it in texts]}]
    with fake_engine("e", lambda messages: [{"label": "a"}, {"label": "b"}, {"label": "b"}]):
        (found,) = chain.run(rows).results
    assert [it.label for it in found.unwrap()] == ["b", "b"]
    assert [it.drop_reason for it in found.items] == [
        None, "not distinct by text, score > 5", "is_short", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("{filter: 3}", "steps.0.filter: expected a text"),
        ("{filter: text}", "unknown variable 'text'.*give it as input_model"),
        ("{filters: text}", r"'filters' is not a kind of node \(did you mean 'filter'\?\).*vote"),
        ("{split: text, input_model: Doc}", "the field 'text' is a str"),
        ("{vote: label, by: x}", "unknown key 'by'.*the keys of a vote are vote, id"),
        ("{distinct: text, input_model: Dok}", "unknown model 'Dok' .did you mean 'Doc'"),
    ],
)
def test_mistakes_in_yaml_say_where(node: str, message: str, tmp_path: Path) -> None:
    import re

    (tmp_path / "c.yaml").write_text(f"name: c\nmodels: {{Doc: {{text: str}}}}\nsteps:\n- {node}\n")
    with pytest.raises(ChainError, match=re.compile(f"c.yaml:[0-9]+: .*{message}", re.DOTALL)):
        load_yaml_chain(tmp_path / "c.yaml")


def test_an_expression_that_fails_says_its_node_once() -> None:
    chain = Chain(name="c", steps=filter("text > 1", input_model=Sentence))
    (result,) = chain.run([{"text": "a"}]).results
    assert str(result.error) == (
        "filter 'filter': TypeError: '>' not supported between instances of 'str' and 'int'"
    )


def test_parts_show_what_they_are_made_of() -> None:
    keep = filter("text", input_model=Sentence)
    shown = "FilterNode('filter', Sentence -> Sentence)"
    assert repr(route("text", id="kind")) == "Cases('kind')"
    assert repr(route("text", id="kind").case("a", keep).default([])) == (
        f"Route('kind', {shown}, [])"
    )
    assert repr(repeat(keep, until="true", id="again")) == f"Repeat('again', {shown})"
    assert repr(pipe(keep)) == f"Pipe({shown})"
    grouped: Any = keep >> reduce(apply(lambda group: 1, id="n", input_model=Group[Sentence]))
    assert repr(grouped).startswith(f"Grouped({shown}, Reduce(")


def test_the_type_of_an_item_holds_where_that_of_the_rows_is_not_known() -> None:
    chain = Chain(name="c", steps=split("parts", output_model=Sentence) >> filter("text"))
    (result,) = chain.run([{"parts": [{"text": "a"}]}]).results
    assert result.value == [Sentence(text="a")]
    (result,) = chain.run([{"parts": [{"score": 1}]}]).results
    assert "split 'split' returned a list whose item 0 is a dict" in str(result.error)


def test_a_prompt_says_that_its_input_is_a_dict_of_which_nothing_tells_the_type() -> None:
    step = Step(
        id="tone",
        input_model=Sentence,
        output_model=str,
        engine_name="small",
        user_prompt="{{ text }}",
    )
    chain = Chain(name="c", steps=split("parts") >> step)
    with fake_engine("small"):
        (result,) = chain.run([{"parts": [{"text": "a"}]}]).results
    assert str(result.error).endswith(
        "'text' is undefined; its input is a dict, not a Sentence: give the node in front of it "
        "output_model=Sentence"
    )

"""The reasoning of models: in results, in columns, and in the prompts of later steps."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from chainette import Branch, Chain, Step, apply, load_chain
from chainette.errors import ChainError, ServerError
from chainette.pipeline.reasoning import ReasoningType
from chainette.reports.result import Leaf, Many, merged_reasoning
from chainette.run.dry_run import dry_run
from chainette.testing.fake_engine import fake_engine
from chainette.types import Completion, LLMOutput
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Row(BaseModel):
    word: str


class Draft(BaseModel):
    text: str


class Explained(BaseModel):
    reasoning: str
    label: str


ROW = {"word": "door"}


def thought(text: str | None, answer: Any = None) -> LLMOutput:
    body = json.dumps(answer or {"text": "t", "reasoning": "own", "label": "l"})
    return LLMOutput([Completion(body, reasoning_content=text)])


def step(id: str, user_prompt: str = "{{ chain_input.word }}", **fields: Any) -> Step[Any, Any]:
    given = {"input_model": Draft, "output_model": Draft, "engine_name": "e", **fields}
    return Step(id=id, user_prompt=user_prompt, **given)


def first(id: str = "draft", **fields: Any) -> Step[Any, Any]:
    return step(id, input_model=Row, **fields)


def chain(*steps: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=list(steps))


def places(folder: Path) -> list[dict[str, Any]]:
    """The options of a run in memory, and of one on disk."""
    return [{}, {"output_dir": folder}]


def last_prompt(engine: Any) -> str:
    return str(engine.requests[-1][-1]["content"])


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("kept", [{}, {"keep_reasoning": True}])
def test_results_have_the_reasoning_of_the_steps_that_reported_some(
    in_memory: bool, kept: dict[str, Any], tmp_path: Path
) -> None:
    place = places(tmp_path)[not in_memory]
    steps = [first(**kept), step("middle", **kept), step("end", yield_output=False, **kept)]
    with fake_engine("e", [thought("because"), thought(None), thought("so")]):
        (result,) = chain(*steps).run([ROW], **place).results
    assert result.reasoning == {"draft": "because", "end": "so"}
    assert list(result.outputs) == ["draft", "middle"]
    assert pickle.loads(pickle.dumps(result.reasoning)) == copy.deepcopy(result.reasoning)


def test_a_chain_without_any_has_none_and_no_further_files(tmp_path: Path) -> None:
    with fake_engine("e", [thought(None), thought("")]):
        run = chain(first(), step("end")).run([ROW], output_dir=tmp_path)
    assert run.results[0].reasoning == {}
    assert not (tmp_path / "values").exists()


def test_a_column_on_wish(tmp_path: Path) -> None:
    steps = [first(keep_reasoning=True), step("end", keep_reasoning=True, yield_output=False)]
    answers = [thought("a"), thought(None), thought(None), ServerError("down")]
    with fake_engine("e", answers, max_concurrency=1):
        run = chain(*steps).run([ROW, ROW], output_dir=tmp_path)
    text = (tmp_path / "flattened/000000.jsonl").read_text()
    columns = [
        {name: value for name, value in json.loads(line).items() if name.startswith("reasoning.")}
        for line in text.splitlines()
    ]
    assert columns == [
        {"reasoning.draft": "a", "reasoning.end": None},
        {"reasoning.draft": None, "reasoning.end": None},
    ]
    assert [result.reasoning for result in run.results] == [{"draft": "a"}, {}]
    assert "reasoning" not in (tmp_path / "values/000000.jsonl").read_text()


def test_the_column_is_beside_a_field_of_that_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    it = first(output_model=Explained, keep_reasoning=True)
    with fake_engine("e", [thought("model's")]):
        run = chain(it).run([ROW], output_dir=tmp_path, fmt="parquet")
    (result,) = run.results
    assert (result.unwrap().reasoning, result.reasoning) == ("own", {"draft": "model's"})
    (row,) = run.to_arrow().to_pylist()
    assert (row["draft.reasoning"], row["reasoning.draft"]) == ("own", "model's")
    assert (tmp_path / "flattened.parquet").exists()
    assert pa is not None


@pytest.mark.parametrize(
    ("prompt", "text", "shown"),
    [
        ("Why: {{ reasoning.draft }}.", "because", "Why: because."),
        ("Why: {{ reasoning['draft'] }}.", "because", "Why: because."),
        ("Why: {{ reasoning.draft }}.", None, "Why: ."),
        ("{% if reasoning.draft %}yes{% else %}no{% endif %}", None, "no"),
        ("{% for id in reasoning %}{{ id }}: {{ reasoning[id] }} {% endfor %}", "b", "draft: b "),
        ("{% for id, it in reasoning.items() %}{{ id }}{{ it }}{% endfor %}", "b", "draftb"),
        ("{{ reasoning.draft | length }}", "abc", "3"),
    ],
)
def test_later_prompts_see_it(prompt: str, text: str | None, shown: str) -> None:
    with fake_engine("e", [thought(text), thought(None)]) as engine:
        chain(first(), step("end", prompt)).run_one(ROW)
    assert last_prompt(engine) == shown


@pytest.mark.parametrize(
    "middle",
    [
        {"when": "false"},
        {"on_error": "none"},
        {"on_error": "none", "default": Draft(text="d")},
        {"when": "false", "otherwise": Draft(text="o")},
    ],
    ids=str,
)
def test_it_can_be_named_where_a_step_has_no_output(middle: dict[str, Any]) -> None:
    prompt = "{{ reasoning.draft }}{% if not reasoning.middle %}!{% endif %}"
    steps = [first(), step("middle", **middle), step("end", prompt, input_model=Draft | None)]
    answers = [thought("because"), *([ServerError("down")] if "when" not in middle else [])]
    with fake_engine("e", [*answers, thought(None)]) as engine:
        chain(*steps).run_one(ROW)
    assert last_prompt(engine) == "because!"


@pytest.mark.parametrize("id", ["items", "get", "values", "draft"])
def test_a_step_may_have_the_name_of_a_method(id: str) -> None:
    with fake_engine("e", [thought("because"), thought(None)]) as engine:
        chain(first(id), step("end", f"{{{{ reasoning.{id} }}}}")).run_one(ROW)
    assert last_prompt(engine) == "because"


def test_functions_and_validators_see_it() -> None:
    seen: list[Any] = []

    class Checked(Draft):
        @field_validator("text")
        @classmethod
        def same(cls, text: str, info: ValidationInfo) -> str:
            assert info.context is not None
            seen.append(dict(info.context["reasoning"]))
            return text

    def look(draft: Draft, names: Any) -> Draft:
        seen.append(dict(names["reasoning"]))
        names["reasoning"]["draft"] = "changed"
        return draft

    steps = [first(), step("silent"), apply(look), step("end", output_model=Checked)]
    with fake_engine("e", [thought("because"), thought(None), thought("x")]):
        (result,) = chain(*steps).run([ROW]).results
    assert seen == [{"draft": "because", "silent": ""}] * 2
    assert result.reasoning == {"draft": "because", "end": "x"}


def test_conversations_and_examples_may_name_it() -> None:
    talk: Any = Step(
        id="end",
        input_model=Draft,
        output_model=Draft,
        engine_name="e",
        messages=[{"role": "user", "content": "{{ text }}: {{ reasoning.draft }}"}],
        examples=[({"text": "a", "reasoning": {"draft": "b"}}, {"text": "c"})],
    )
    with fake_engine("e", [thought("because"), thought(None)]) as engine:
        chain(first(), talk).run_one(ROW)
    assert [it["content"] for it in engine.requests[1]] == ["a: b", '{"text":"c"}', "t: because"]
    wrong = step(
        "end",
        "{{ text }}: {{ reasoning.draft }}",
        examples=[({"text": "a", "reasoning": {"drft": "b"}}, {"text": "c"})],
    )
    with pytest.raises(ChainError, match=r"examples\[0\]"):
        chain(first(), wrong)


@pytest.mark.parametrize("where", ["user_prompt", "messages", "when"])
def test_every_template_of_a_step_is_checked(where: str) -> None:
    text = "reasoning.draf" if where == "when" else "{{ reasoning.draf }}"
    given: Any = [{"role": "user", "content": text}] if where == "messages" else text
    fields = {"user_prompt": "{{ text }}", where: given}
    if where == "messages":
        del fields["user_prompt"]
    with pytest.raises(ChainError, match="no earlier step 'draf'"):
        chain(first(), Step(**GIVEN, **fields))


GIVEN: dict[str, Any] = {
    "id": "end",
    "input_model": Draft,
    "output_model": Draft,
    "engine_name": "e",
}
MISTAKES: list[tuple[list[Any], str]] = [
    (
        [first(), step("end", "{{ reasoning.draf }}")],
        "(did you mean 'draft'?); the steps are: draft",
    ),
    ([first(), step("end", "{{ reasoning['draf'] }}")], "no earlier step 'draf'"),
    ([first(), step("end", "{{ reasoning.end }}")], "no earlier step 'end'"),
    ([first(), step("end", "{{ reasoning.items }}")], "no earlier step 'items'"),
    ([first(user_prompt="{{ reasoning.end }}"), step("end")], "unknown variable 'reasoning'"),
    (
        [
            first(),
            Branch(name="side", steps=[step("inner")]).join("aside"),
            step("end", "{{ aside }}{{ reasoning.inner }}"),
        ],
        "no earlier step 'inner' has reasoning to show (a step of branch 'side': its last output "
        "is 'aside' here); the steps are: draft",
    ),
    (
        [first(output_model=Explained), step("end", "{{ reasoning }}", input_model=Explained)],
        "'reasoning' is a field of its input, and the chain has another 'reasoning'; for the "
        "field, write {{ draft.reasoning }}; for the chain's, rename the field",
    ),
    (
        [
            first(output_model=Explained),
            step("end", "{{ reasoning }}{{ reasoning.draft }}", input_model=Explained),
        ],
        "'reasoning' is a field of its input",
    ),
]


@pytest.mark.parametrize(("steps", "message"), MISTAKES)
def test_mistakes_are_found_when_the_chain_is_built(steps: list[Any], message: str) -> None:
    with pytest.raises(ChainError) as caught:
        chain(*steps)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["reasoning", "feedback", "previous", "round"])
def test_the_names_of_the_chain_are_no_ids(name: str) -> None:
    with pytest.raises(ChainError, match=f"{name}.*use letters"):
        first(name)
    with pytest.raises(ChainError, match="use letters"):
        Branch(name="b", steps=[first()]).join(name)
    with pytest.raises(ChainError, match="use letters"):
        apply(lambda row: row, id=name, input_model=Row, output_model=Row)


class Noted(BaseModel):
    feedback: str = "f"
    previous: str = "p"
    round: int = 1
    reasoning: str = "r"
    word: str = "w"


def test_fields_of_those_names_stay_usable_where_the_chain_has_no_such_name() -> None:
    own = "{{ feedback }}{{ previous }}{{ round }}"
    steps = [
        step("a", own + "{{ reasoning }}", input_model=Noted, output_model=Noted),
        step("b", own + "{{ a.reasoning }}", input_model=Noted),
    ]
    with fake_engine("e", [thought("x", Noted().model_dump()), thought(None)]) as engine:
        chain(*steps).run_one({})
    assert [request[-1]["content"] for request in engine.requests] == ["fp1r", "fp1r"]


def test_a_function_in_front_does_not_make_the_name_the_chains() -> None:
    def same(row: Noted) -> Noted:
        return row

    with fake_engine("e") as engine:
        chain(apply(same), step("a", "{{ reasoning }}", input_model=Noted)).run_one({})
    assert last_prompt(engine) == "r"


def test_where_the_field_cannot_be_meant_it_is_the_chains() -> None:
    steps = [
        first(output_model=Explained),
        step("end", "{{ reasoning.draft }}", input_model=Explained),
    ]
    with fake_engine("e", [thought("model's"), thought(None)]) as engine:
        chain(*steps).run_one(ROW)
    assert last_prompt(engine) == "model's"


def test_rows_with_other_fields_keep_theirs() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    with fake_engine("e") as engine:
        chain(step("a", "{{ reasoning }}", input_model=Open)).run_one({"reasoning": "own"})
    assert last_prompt(engine) == "own"


def test_a_split_row_has_lists_as_its_outputs(tmp_path: Path) -> None:
    def twice(draft: Draft) -> list[Draft]:
        return [draft, draft]

    steps = [
        first(),
        apply(twice),
        step("end", "{{ reasoning.draft }}"),
        step("more", "m {{ text }}"),
    ]
    for place in places(tmp_path):
        texts = {"door": ["a"], "a": ["b", "c"], "m t": [None, "d"]}

        def answer(messages: Any, texts: dict[str, Any] = texts) -> LLMOutput:
            return thought(texts[messages[-1]["content"]].pop())

        with fake_engine("e", answer) as engine:
            (result,) = chain(*steps).run([ROW], **place).results
        assert result.is_split
        assert result.reasoning["draft"] == ["a", "a"]
        assert sorted(map(str, result.reasoning["end"])) == ["b", "c"]
        assert sorted(map(str, result.reasoning["more"])) == ["None", "d"]
        assert len(result.outputs["more"]) == 2
        assert len(engine.requests) == 5


def test_branches_see_what_is_in_front_of_them_and_results_have_theirs(tmp_path: Path) -> None:
    def twice(draft: Draft) -> list[Draft]:
        return [draft, draft]

    steps = [
        first(),
        Branch(name="x", steps=[step("side", "{{ reasoning.draft }}!")]),
        Branch(name="y", steps=[apply(twice), step("many", "m", constant_prompt=True)]).join("all"),
        step("end", "{% for it in all %}{{ it.text }}{% endfor %}{{ reasoning.draft }}?"),
    ]

    def answer(messages: Any) -> LLMOutput:
        return thought(f"on {messages[-1]['content']}")

    expected = {
        "draft": "on door",
        "side": "on on door!",
        "many": ["on m", "on m"],
        "end": "on tton door?",
    }
    for place in places(tmp_path):
        with fake_engine("e", answer):
            (result,) = chain(*steps).run([ROW], **place).results
        assert result.reasoning == expected
    kept = [first(keep_reasoning=True), Branch(name="y", steps=[
        apply(twice), step("many", "m", constant_prompt=True, keep_reasoning=True)])]  # fmt: skip
    with fake_engine("e", answer):
        run = chain(*kept).run([ROW], output_dir=tmp_path / "kept")
    assert run.results[0].reasoning == {"draft": "on door", "many": ["on m", "on m"]}
    assert next(iter(run.lines()))["reasoning.many[]"] == ["on m", "on m"]


def test_items_of_items_are_one_list() -> None:
    leaves = [
        Leaf((0,), {"a": Many([1, 2])}, reasoning={"a": Many(["x", None]), "b": "y"}),
        Leaf((1,), {"a": Many([3])}),
        Leaf((2,)),
    ]
    assert merged_reasoning(leaves, flat=True) == {"a": ["x", None, None], "b": ["y"]}
    assert merged_reasoning(leaves) == {"a": [["x", None], [None]], "b": ["y"]}


@pytest.mark.parametrize("kept", [False, True])
def test_it_survives_a_resume(kept: bool, tmp_path: Path) -> None:
    steps = [first(keep_reasoning=kept), step("end", "{{ reasoning.draft }}")]
    with fake_engine("e", [thought("because"), ServerError("down")]):
        failed = chain(*steps).run([ROW], output_dir=tmp_path)
    assert failed.results[0].reasoning == {"draft": "because"}
    with fake_engine("e", [thought("so")]) as engine:
        run = chain(*steps).run([ROW], output_dir=tmp_path, retry_errors=True)
    assert last_prompt(engine) == "because"
    assert run.results[0].reasoning == {"draft": "because", "end": "so"}
    with fake_engine("e", []):
        again = chain(*steps).run([ROW], output_dir=tmp_path, resume=True)
    assert again.results[0].reasoning == {"draft": "because", "end": "so"}


def test_a_column_can_be_wished_for_later(tmp_path: Path) -> None:
    with fake_engine("e", [thought("because")]):
        chain(first()).run([ROW], output_dir=tmp_path)
    with fake_engine("e", []):
        run = chain(first(keep_reasoning=True)).run([ROW], output_dir=tmp_path, resume=True)
    assert next(iter(run.lines()))["reasoning.draft"] == "because"


def test_it_comes_out_of_the_cache(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    it = chain(first(), step("end", "{{ reasoning.draft }}"))
    with fake_engine("e", [thought("because"), thought(None)]) as engine:
        for _ in range(2):
            (result,) = it.run([ROW], cache=tmp_path).results
            assert result.reasoning == {"draft": "because"}
        assert len(engine.requests) == 2


def test_single_rows_and_streams_have_it() -> None:
    with fake_engine("e", lambda _: thought("because")):
        assert chain(first()).run_one(ROW, full=True).reasoning == {"draft": "because"}


@pytest.mark.anyio
async def test_a_dry_run_shows_what_it_knows() -> None:
    with fake_engine("e"):
        shown = await dry_run(chain(first(), step("end", "{{ reasoning.draft }}")), [ROW])
    assert [type(it).__name__ for it in shown] == ["Rendered", "Unknown"]


def test_yaml_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text("""
name: c
models: {Row: {word: str}, Draft: {text: str}}
steps:
  - {id: draft, input_model: Row, output_model: Draft, engine_name: e, user_prompt: "{{ word }}",
     keep_reasoning: true}
  - {id: end, input_model: Draft, output_model: Draft, engine_name: e,
     user_prompt: "{{ reasoning.draft }}"}
""")
    with fake_engine("e", [thought("because"), thought(None)]) as engine:
        run = load_chain(str(file)).run([ROW])
    assert last_prompt(engine) == "because"
    assert next(iter(run.lines()))["reasoning.draft"] == "because"


def test_the_type_lists_steps_in_order() -> None:
    assert ReasoningType().after("a").after("b").steps == ("a", "b")

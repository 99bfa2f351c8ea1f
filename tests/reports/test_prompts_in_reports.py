"""Prompts in reports: rendered again as they were sent, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import pytest
from chainette import Branch, Chain, Step, apply, pipe, repeat
from chainette.testing import fake_engine
from pydantic import BaseModel, Field, StringConstraints, field_serializer, field_validator
from report_runs import keep_inputs, report


class Kind(str, Enum):
    one = "first"
    two = "second"


class Plain(Enum):
    a = "x"


class Inner(BaseModel):
    name: str
    size: int


class Doc(BaseModel):
    text: str
    n: int = 0
    share: float = 0.5
    day: date = date(2024, 1, 31)
    at: datetime | None = None
    price: Decimal = Decimal("1.50")
    kind: Kind = Kind.one
    plain: Plain = Plain.a
    tags: list[str] = Field(default_factory=list)
    inner: Inner | None = None
    key: str = Field("k", alias="Key")
    none: str | None = None
    either: int | str = 3


ROWS: list[dict[str, Any]] = [
    {"text": "a & b <c>", "n": 3, "share": 1.0, "day": "2024-02-29", "at": "2024-02-29T10:00:00Z",
     "price": "2.50", "kind": "second", "plain": "x", "tags": ["u", "v"],
     "inner": {"name": "i", "size": 2}, "Key": "q", "none": None, "either": "three"},
    {"text": "\u05d0 \u202e \U0001f600", "n": -1, "share": 0.1, "day": "1999-12-31", "at": None,
     "price": "0.10", "kind": "first", "plain": "x", "tags": [], "inner": None, "Key": "",
     "none": "x", "either": 4},
]  # fmt: skip


class Said(BaseModel):
    word: str
    score: float
    parts: list[Inner] = Field(default_factory=list)


def answer(messages: Any) -> Any:
    return {"word": "w", "score": 2.0, "parts": [{"name": "p", "size": 1}]}


def ask(template: str, model: Any = Doc, id: str = "ask", **options: Any) -> Step[Any, Said]:
    return Step(
        id=id,
        input_model=model,
        output_model=Said,
        engine_name="e",
        user_prompt=template,
        **options,
    )


def run_all(folder: Path, steps: Any, rows: list[dict[str, Any]], answers: Any = answer) -> Any:
    """The prompts of a run as they were sent, and as its report shows them."""
    with fake_engine("e", answers) as engine:
        Chain(name="c", steps=steps).run(rows, output_dir=folder)
    keep_inputs(folder, rows)
    page = report(folder)
    shown = [part["prompt"] for row in page.rows for part in row if "prompt" in part]
    return engine.requests, shown


TEMPLATES = [
    "{{ text }}",
    "{{ n }} {{ n + 1 }} {{ share }} {{ share * 2 }} {{ '%.2f' | format(share) }}",
    "{{ day }} {{ day.year }} {{ price }} {{ price * 2 }}",
    "{{ kind }} {{ kind.value }} {{ kind.name }} {{ plain }} {{ kind == 'first' }}",
    "{{ kind | upper }} {{ plain | upper }} {{ plain.name }}",
    "{{ tags }} {{ tags | join('; ') }} {{ tags | tojson }} {{ tags | length }}",
    "{% for it in tags %}{{ loop.index }}. {{ it | upper }}{% else %}none{% endfor %}",
    "{{ inner }} {% if inner %}{{ inner.name }} {{ inner.size }} {{ inner | tojson }}{% endif %}",
    "{{ none is none }} {{ none or 'nothing' }} {{ key }} {{ either }} {{ at }}",
    "{{ chain_input }}",
    "{{ chain_input.inner | tojson }} {{ chain_input['text'] }}",
    "{{ {'a': text, 'b': tags} }} {{ [n, text, none] }}",
]


def test_prompts_are_shown_as_they_were_sent(tmp_path: Path) -> None:
    steps = [
        Branch(f"branch {index}", [ask(template, id=f"s{index}", constant_prompt=True)])
        for index, template in enumerate(TEMPLATES)
    ]
    sent, shown = run_all(tmp_path / "run", steps, ROWS)
    assert [it for it in shown if "messages" not in it] == []
    assert len(shown) == len(ROWS) * len(TEMPLATES)
    assert sorted(map(json.dumps, (it["messages"] for it in shown))) == sorted(
        map(json.dumps, sent)
    )


class Stripped(BaseModel):
    text: Annotated[str, StringConstraints(strip_whitespace=True)]
    n: int


class Checked(BaseModel):
    text: str
    n: int

    @field_validator("text")
    @classmethod
    def lower(cls, value: str) -> str:
        return value.lower()


class Written(BaseModel):
    text: str
    n: int

    @field_serializer("text")
    def loud(self, value: str) -> str:
        return value.upper()


class Methods(BaseModel):
    text: str
    n: int

    @property
    def short(self) -> str:
        return self.text[:1]


class Anything(BaseModel):
    text: Any
    n: int


@dataclass
class Uncertain:
    """A template of which it is not certain what was sent."""

    model: Any
    template: str
    row: dict[str, Any]
    why: str


UNCERTAIN = [
    Uncertain(Stripped, "{{ text }}", {"text": " a ", "n": 1}, "Stripped.text: its type has code"),
    Uncertain(Checked, "{{ text }}", {"text": "A", "n": 1}, "Checked.text: its type has code"),
    Uncertain(Anything, "{{ text }}", {"text": 1, "n": 1}, "Anything.text: its type has code"),
    Uncertain(Methods, "{{ chain_input.short }}", {"text": "ab", "n": 1}, "Methods.short is not"),
    Uncertain(Methods, "{{ n }}", {"text": "ab", "n": 1.0}, "it is float, not int"),
    Uncertain(Methods, "{{ n }}", {"text": "ab", "n": "01"}, "'01' is not its usual text"),
    Uncertain(Doc, "{{ day }}", {"text": "a", "day": "2024-01-31T00:00:00"}, "not its usual text"),
    Uncertain(Doc, "{{ n }}", {"text": "a"}, "Doc.n was not written down"),
    Uncertain(Doc, "{{ chain_input }}", {"text": "a"}, "was not written down"),
    Uncertain(Doc, "{% if chain_input.inner %}{{ text }}{% endif %}", {"text": "a"}, "Doc.inner"),
    Uncertain(dict[str, Any], "{{ chain_input.text }}", {"text": "a"}, "its type has code"),
]


@pytest.mark.parametrize("case", UNCERTAIN, ids=lambda it: f"{it.model} {it.template}")
def test_a_prompt_that_is_not_certain_is_not_shown(case: Uncertain, tmp_path: Path) -> None:
    _, (shown,) = run_all(tmp_path / "run", [ask(case.template, case.model)], [case.row])
    assert shown["templates"] == [{"role": "user", "content": case.template}]
    assert case.why in shown["why"]


def test_fields_that_are_certain_do_for_a_prompt(tmp_path: Path) -> None:
    for model in (Stripped, Checked, Written, Methods, Anything):
        step = ask("{{ n }} {{ chain_input.n }}", model)
        sent, shown = run_all(tmp_path / model.__name__, [step], [{"text": "a", "n": 7}])
        assert [it["messages"] for it in shown] == sent


def test_cells_of_a_table_are_the_numbers_that_they_say(tmp_path: Path) -> None:
    row = {"text": "a", "n": "12", "share": "0.25"}
    sent, (shown,) = run_all(tmp_path / "run", [ask("{{ n * 2 }} {{ share }}")], [row])
    assert shown == {"messages": sent[0]}


def test_columns_that_became_other_fields_are_those_fields(tmp_path: Path) -> None:
    rows = [{"body": "b", "text": "t", "n": 1}]
    with fake_engine("e", answer) as engine:
        step = ask("{{ text }}", Methods)
        Chain(name="c", steps=[step]).run(
            rows, output_dir=tmp_path / "run", columns={"text": "body", "n": "n"}
        )
    keep_inputs(tmp_path / "run", rows)
    ((_, part),) = report(tmp_path / "run").rows
    assert part["prompt"] == {"messages": engine.requests[0]}
    assert engine.requests[0][0]["content"] == "b"


class Share(BaseModel):
    share: float | None


def test_a_number_that_json_does_not_have_is_not_taken_for_nothing(tmp_path: Path) -> None:
    with fake_engine("e", answer):
        step = ask("{{ share }}", Share)
        Chain(name="c", steps=[step]).run([{"share": float("nan")}], output_dir=tmp_path / "run")
    keep_inputs(tmp_path / "run", [{"share": None}])
    ((_, part),) = report(tmp_path / "run").rows
    assert "a number that JSON does not have" in part["prompt"]["why"]


def later(template: str) -> Step[Any, Said]:
    return ask(template, Said, "later")


def halves(said: Said) -> list[Said]:
    return [said, Said(word=said.word * 2, score=0.5)]


CHAINS: dict[str, Callable[[], Any]] = {
    "outputs": lambda: pipe(
        ask("{{ text }}"),
        later("{{ word }} {{ ask.score }} {{ score * 2 }} {{ ask }} {{ ask.parts[0].name }} "
              "{{ parts | tojson }} {{ chain_input.text }} {{ ask.parts }}"),
    ),
    "functions": lambda: pipe(
        ask("{{ text }}"), apply(halves), later("{{ word }} {{ halves.score }}")
    ),
    "text": lambda: pipe(
        Step(id="ask", input_model=Doc, engine_name="e", user_prompt="{{ text }}"),
        ask("{{ ask }} {{ ask | length }}", str, "later"),
    ),
    "branches": lambda: pipe(
        Branch("b", [ask("{{ text }}", id="aside")]).join("side"),
        ask("{{ text }} {{ side.word }} {{ side.score }}"),
    ),
    "conversations": lambda: [
        Step(
            id="ask", input_model=Doc, output_model=Said, engine_name="e",
            system_prompt="S {{ n }}", output_format_instruction="JSON, please.",
            messages=[{"role": "user", "content": "{{ text }}"},
                      {"role": "assistant", "content": "Yes?"},
                      {"role": "user", "content": "{{ tags | length }}"}],
            examples=[({"text": "t", "tags": ["x"]}, Said(word="e", score=1.0))],
            prefill="{",
        ),
    ],
    "instructions": lambda: [
        ask("{{ text }}", system_prompt="S {{ n }}", output_format_instruction="JSON, please."),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_prompts_of_a_chain_are_shown_as_they_were_sent(name: str, tmp_path: Path) -> None:
    def answers(messages: Any) -> Any:
        is_first = name == "text" and not messages[-1]["content"].startswith("plain")
        return "plain text" if is_first else answer(messages)

    sent, shown = run_all(tmp_path / "run", CHAINS[name](), ROWS, answers)
    found = [json.dumps(it.get("messages", it)) for it in shown]
    assert {*found} == {json.dumps(it) for it in sent}


UNKNOWN: dict[str, Callable[[], Any]] = {
    "is not certain": lambda: pipe(
        ask("{{ text }}", when="n > 0", otherwise=None), ask("{{ ask.word }}", Any, "later")
    ),
    "of a round": lambda: [
        repeat(ask("{{ text }} {{ feedback }}"), until=lambda it: True, max_rounds=2, id="again")
    ],
    "the reasoning of earlier steps": lambda: pipe(
        ask("{{ text }}"), later("{{ word }} {{ reasoning.ask }}")
    ),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_prompts_of_nodes_that_are_not_certain_are_not_shown(why: str, tmp_path: Path) -> None:
    _, shown = run_all(tmp_path / "run", UNKNOWN[why](), ROWS)
    assert any(why in it.get("why", "") for it in shown)


def test_without_inputs_there_are_templates(tmp_path: Path) -> None:
    with fake_engine("e", answer):
        Chain(name="c", steps=[ask("{{ text }}")]).run(ROWS, output_dir=tmp_path / "run")
    path = tmp_path / "run/flattened/000000.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    own = [{name: it[name] for name in it if name == "row_id" or "ask" in name} for it in lines]
    path.write_text("".join(json.dumps(it) + "\n" for it in own))
    (_, step), _ = report(tmp_path / "run").rows
    assert step["prompt"]["why"] == "the run has not kept its inputs"

"""Going on without an output: `on_error`, `default`, `when` and `otherwise`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chainette import (
    Branch,
    Chain,
    Group,
    Step,
    apply,
    load_chain,
    pipe,
    reduce,
    repeat,
    route,
)
from chainette.errors import ChainError, EngineError, OutputDirError, QuotaError
from chainette.testing import fake_engine
from pydantic import BaseModel, field_validator


class Row(BaseModel):
    n: int


class Label(BaseModel):
    label: str


class Shown(BaseModel):
    text: str


def called(command: list[str]) -> subprocess.CompletedProcess[str]:
    command[0] = str(Path(sys.executable).parent / command[0])
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def answer(messages: Any) -> Any:
    turns = [it["content"] for it in messages if it["role"] == "user"]
    return {"label": turns[-1]} if turns[0] not in ("1", '{"label":"1"}') else "nothing of use"


def label(**options: Any) -> Step[Row, Label]:
    return Step(
        id="label", input_model=Row, output_model=Label, engine_name="e",
        user_prompt="{{ n }}", **options,
    )  # fmt: skip


def shown(value: Label | None, names: Any) -> Shown:
    text = value.label if value is not None else "none"
    return Shown(text=f"{text} {names['label'].label if names['label'] else '-'}")


def breaks(row: Row) -> Label:
    if row.n == 1:
        raise KeyError("one")
    return Label(label=str(row.n))


def wrong(row: Row) -> Label:
    return Row(n=1)  # type: ignore[return-value]


ROWS = [Row(n=n) for n in range(3)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"on_error": "none"}, ["0 0", "none -", "2 2"]),
        ({"default": Label(label="?")}, ["0 0", "? ?", "2 2"]),
        ({"default": {"label": "?"}}, ["0 0", "? ?", "2 2"]),
        ({"on_error": "none", "default": Label(label="?")}, ["0 0", "? ?", "2 2"]),
    ],
)
@pytest.mark.parametrize("kind", ["step", "function"])
def test_the_flow_goes_on_and_the_failure_is_recorded_and_counted(
    kind: str, options: Any, expected: list[str], tmp_path: Path
) -> None:
    node: Any = label(**options) if kind == "step" else apply(breaks, id="label", **options)
    chain = Chain(name="c", steps=[node, apply(shown)])
    with fake_engine("e", answer) as engine:
        run = chain.run(ROWS, output_dir=tmp_path / "run")
        assert [it.unwrap().text for it in run.results] == expected
        assert (run.counts.ok, run.counts.failed, run.counts.tolerated) == (3, 0, 1)
        (error,) = lines(tmp_path / "run/errors.jsonl")
        assert (error["row_id"], error["node_id"], error["tolerated"]) == (1, "label", True)
        assert ("label" in run.results[1].outputs) == ("default" in options)
        engine.requests.clear()
        again = chain.run(ROWS, output_dir=tmp_path / "run", resume=True, force=True)
        assert [it.unwrap().text for it in again.results] == expected
        assert again.counts == run.counts
        assert not engine.requests
        chain.run(ROWS, output_dir=tmp_path / "run", retry_errors=True)
        prompts = [turn for it in engine.requests for turn in it if turn["content"] == "1"]
        assert len(prompts) == (2 if kind == "step" else 0)  # its answer is put back once
        assert len(lines(tmp_path / "run/errors.jsonl")) == 1


def test_the_command_line_ends_with_success_and_says_what_was_tolerated(tmp_path: Path) -> None:
    (tmp_path / "chain.py").write_text(
        "from chainette import Chain, apply\n"
        "def half(row: dict) -> int:\n    return 10 // row['n']\n"
        "CHAIN = Chain(name='c', steps=[apply(half, default=0)])\n"
    )
    (tmp_path / "rows.jsonl").write_text('{"n": 0}\n{"n": 5}\n')
    command = ["chainette", "run", f"{tmp_path}/chain.py:CHAIN", "-i", f"{tmp_path}/rows.jsonl"]
    shown = called([*command, "-o", f"{tmp_path}/run"])
    assert shown.returncode == 0
    assert "2 ok, 0 failed (1 failure tolerated)" in shown.stderr


class Strict(BaseModel):
    label: str

    @field_validator("label")
    @classmethod
    def broken(cls, value: str) -> str:
        raise TypeError("a bug")


def test_a_bug_is_never_tolerated() -> None:
    broken = Step(
        id="label", input_model=Row, output_model=Strict, engine_name="e",
        user_prompt="{{ n }}", on_error="none",
    )  # fmt: skip
    with fake_engine("e", lambda _: {"label": "x"}):
        (result,) = Chain(name="c", steps=[broken]).run(ROWS[:1]).results
    assert (result.state, type(result.error).__name__) == ("failed", "ValidatorError")
    (result,) = Chain(name="c", steps=[apply(wrong, on_error="none")]).run(ROWS[:1]).results
    assert result.state == "failed"
    assert "not a Label" in str(result.error)


def test_the_end_of_an_account_is_never_tolerated() -> None:
    with fake_engine("e", lambda _: QuotaError("nothing left")):
        try:
            run = Chain(name="c", steps=[label(on_error="none")]).run(ROWS)
        except QuotaError:
            return
    assert isinstance(run.stopped, QuotaError)
    assert run.counts.tolerated == 0


def several(row: Row) -> list[Row]:
    return [Row(n=n) for n in range(row.n, row.n + 2)]


def show_aside(row: Row, names: Any) -> Shown:
    return Shown(text=str(names["aside"]))


@pytest.mark.parametrize(
    ("steps", "options", "expected"),
    [
        (lambda: apply(breaks), {"on_error": "none"}, ["label='0'", "None", "label='2'"]),
        (lambda: apply(breaks), {"default": 7}, ["label='0'", "7", "label='2'"]),
        (lambda: apply(several) >> apply(breaks), {"default": []},
         ["[]", "[]", "[Label(label='2'), Label(label='3')]"]),
        (lambda: [Branch("inner", apply(breaks)), apply(several)], {"on_error": "none"},
         ["[Row(n=0), Row(n=1)]", "None", "[Row(n=2), Row(n=3)]"]),
    ],
)  # fmt: skip
def test_a_branch_joins_as_its_default_where_it_fails(
    steps: Callable[[], Any], options: Any, expected: list[str], tmp_path: Path
) -> None:
    branch = Branch("side", steps(), **options).join("aside")
    chain = Chain(name="c", steps=[branch, apply(show_aside)])
    for more in ({}, {"resume": True, "force": True}):
        run = chain.run(ROWS, output_dir=tmp_path / "run", **more)
        assert [it.unwrap().text for it in run.results] == expected
        assert run.counts.ok == 3
        assert run.counts.tolerated >= 1
        assert all(it["tolerated"] for it in lines(tmp_path / "run/errors.jsonl"))


CALLS: list[int] = []


def is_even(row: Row) -> bool:
    CALLS.append(row.n)
    return row.n % 2 == 0


async def is_even_later(row: Row, names: Any) -> bool:
    return names["chain_input"].n % 2 == 0  # type: ignore[no-any-return]


def plus(row: Row) -> Row:
    return Row(n=row.n + 10)


@pytest.mark.parametrize(
    "when", [is_even, is_even_later, "n % 2 == 0", "chain_input.n is divisibleby(2)"]
)
def test_a_node_runs_only_where_its_condition_holds(when: Any, tmp_path: Path) -> None:
    chain = Chain(name="c", steps=[apply(plus, when=when), apply(lambda it: it, id="end")])
    for more in ({}, {"resume": True, "force": True}):
        run = chain.run(ROWS, output_dir=tmp_path / "run", **more)
        assert [it.unwrap() for it in run.results] == [Row(n=10), Row(n=1), Row(n=12)]
        assert ["plus" in it.outputs for it in run.results] == [True, False, True]
    assert chain.run_one(Row(n=1)) == Row(n=1)


def test_a_condition_is_asked_once_for_each_item_also_over_a_resume(tmp_path: Path) -> None:
    CALLS.clear()
    chain = Chain(name="c", steps=[apply(plus, when=is_even)])
    chain.run(ROWS, output_dir=tmp_path / "run", limit=2)
    chain.run(ROWS, output_dir=tmp_path / "run", resume=True)
    assert CALLS == [0, 1, 2]


def test_otherwise_is_the_output_where_the_condition_does_not_hold() -> None:
    with fake_engine("e", lambda _: {"label": "x"}) as engine:
        step = label(when="n == 0", otherwise=Label(label="-"))
        run = Chain(name="c", steps=[step, apply(shown)]).run(ROWS)
        assert [it.unwrap().text for it in run.results] == ["x x", "- -", "- -"]
        assert run.results[1]["label"] == Label(label="-")
        none = label(when="n == 0", otherwise=None)
        run = Chain(name="c", steps=[none, apply(shown)]).run(ROWS)
        assert [it.unwrap().text for it in run.results] == ["x x", "none -", "none -"]
    assert len(engine.requests) == 2


def test_a_branch_that_is_not_run_joins_as_none() -> None:
    branch = Branch("side", apply(several), when="n == 1").join("aside")
    run = Chain(name="c", steps=[branch, apply(show_aside)]).run(ROWS)
    assert [it.unwrap().text for it in run.results] == ["None", "[Row(n=1), Row(n=2)]", "None"]


def test_a_resume_tells_a_skipped_branch_from_its_first_node(tmp_path: Path) -> None:
    node = apply(plus, when="n == 0", otherwise=Row(n=99))
    branch = Branch("side", node, when="n < 2").join("aside")
    chain = Chain(name="c", steps=[branch, apply(show_aside)])
    for more in ({}, {"resume": True, "force": True}):
        run = chain.run(ROWS, output_dir=tmp_path / "run", **more)
        assert [it.unwrap().text for it in run.results] == ["n=10", "n=99", "None"]


def test_a_condition_can_look_at_what_was_joined() -> None:
    branch = Branch("side", apply(lambda row: row.n, id="half", output_model=int)).join("half")
    run = Chain(name="c", steps=[branch, apply(plus, when="half > 0")]).run(ROWS)
    assert [it.unwrap().n for it in run.results] == [0, 11, 12]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: label(on_error="ignore"), "step 'label': on_error is 'ignore'; give 'none'"),
        (lambda: label(default=Row(n=1)), "default: a Row that is not a Label"),
        (lambda: label(otherwise=Label(label="x")), "otherwise needs when="),
        (lambda: label(default={"label": "no {{ n }}"}),
         "default is a constant, the same for all items, and '{{ n }}' in it would stay as it is"),
        (lambda: label(when="n", otherwise=Label(label="{%- if n %}x{% endif %}")),
         "step 'label', otherwise is a constant, the same for all items, and '{%- if n %}'"),
        (lambda: apply(str, default="{{n}}", output_model=str), "default is a constant"),
        (lambda: Branch("b", apply(str, output_model=str), default="{{ n }}"),
         "branch 'b', default is a constant"),
        (lambda: Chain(name="c", steps=[Branch("b", label(), default={"lbl": "-"}).join("x"),
                                        apply(plus)]),
         "branch 'b', default: a dict that is not a Label: 'label' is missing"),
        (lambda: label(when=3), "when is 3; give a function of the item, or an expression"),
        (lambda: label(when="{{ n }}"), "has braces; give the bare expression"),
        (lambda: label(when="n >"), "step 'label', when: 'n >'"),
        (lambda: Chain(name="c", steps=[label(when="n > 1")]),
         "gives Label, but where `when` is false, its input goes on, which is Row"),
        (lambda: Chain(name="c", steps=[apply(plus, when="m > 1")]), "unknown variable 'm'"),
        (lambda: Chain(name="c", steps=[apply(plus, when="chain_input.m > 1")]),
         "'chain_input' has no field 'm'"),
        (lambda: Chain(name="c", steps=[
            label(on_error="none"),
            Step(id="b", input_model=Label, output_model=Label, engine_name="e",
                 user_prompt="{{ label.label }}")]),
         "'b' takes Label, but step 'label' may give None"),
        (lambda: apply(plus, when=lambda a, b, c: True), "the function takes a, b, c"),
        (lambda: Branch("b", apply(plus), on_error="skip"), "branch 'b': on_error is 'skip'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_when_the_chain_is_built(
    make: Callable[[], Any], words: str
) -> None:
    with pytest.raises(ChainError) as caught:
        make()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (lambda row: None, "returned None; it must return True or False"),
        (
            lambda row: 1 / 0,
            "apply 'plus', when failed at test_tolerance.py:",
        ),
        ("1 // (n - n)", "ZeroDivisionError"),
    ],
)
def test_a_condition_that_fails_fails_its_row(when: Any, words: str) -> None:
    chain = Chain(name="c", steps=[apply(plus, when=when, on_error="none")])
    (result,) = chain.run(ROWS[:1]).results
    assert result.state == "failed"
    assert words in str(result.error)


def test_a_resume_refuses_another_condition_and_redoes_it_on_request(tmp_path: Path) -> None:
    first = Chain(name="c", steps=[apply(plus, when="n > 0"), apply(lambda it: it, id="end")])
    first.run(ROWS, output_dir=tmp_path / "run")
    other = Chain(name="c", steps=[apply(plus, when="n > 1"), apply(lambda it: it, id="end")])
    with pytest.raises(OutputDirError, match=r"apply 'plus' \(when\)"):
        other.run(ROWS, output_dir=tmp_path / "run", resume=True)
    run = other.run(ROWS, output_dir=tmp_path / "run", redo=["plus"])
    assert [it.unwrap().n for it in run.results] == [0, 1, 12]


YAML = """
name: c
models:
  Row: {n: int}
  Label: {label: str}
steps:
  - id: label
    input_model: Row
    output_model: Label
    engine_name: e
    user_prompt: "{{ n }}"
    when: n > 0
    otherwise: {label: "-"}
    default: {label: "?"}
  - branch: side
    join: aside
    when: label.label != "-"
    on_error: none
    steps:
      - id: more
        input_model: Label
        output_model: Label
        engine_name: e
        user_prompt: "{{ label.label }}"
  - id: end
    input_model: Label
    output_model: Label
    engine_name: e
    user_prompt: "{{ aside }}"
"""


def test_yaml_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "chain.yml").write_text(YAML)
    chain = load_chain(tmp_path / "chain.yml")
    with fake_engine("e", answer):
        run = chain.run([{"n": n} for n in range(3)])
    assert [it.unwrap().label for it in run.results] == [
        "None", '{"label":"?"}', '{"label":"2"}',
    ]  # fmt: skip
    assert [it["label"].label for it in run.results] == ["-", "?", "2"]


class Bad(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def never(cls, n: int) -> int:
        raise ValueError("never good")


def typo(row: Row) -> Label:
    return Label(label=row.m)  # type: ignore[attr-defined]


def mostly(row: Row) -> Label:
    if row.n != 3:
        raise KeyError("one")
    return Label(label="3")


def several_reasons(row: Row) -> Label:
    raise ValueError("one" if row.n % 2 else "two")


def both(rows: list[Row]) -> list[Label]:
    raise ValueError("no")


def kept(row: Row) -> Row:
    return row


def of_group(group: Group[Row]) -> Label:
    raise ValueError("no")


def bad(**options: Any) -> Step[Row, Bad]:
    return Step(
        id="bad", input_model=Row, output_model=Bad, engine_name="e", user_prompt="{{ n }}",
        reasks=0, **options,
    )  # fmt: skip


ALL_FAIL: dict[str, tuple[Callable[[], Any], str]] = {
    "function": (lambda: apply(typo, on_error="none"), "typo"),
    "function, default": (lambda: apply(typo, default=Label(label="")), "typo"),
    "batch": (lambda: apply(both, batch=5, on_error="none"), "both"),
    "step": (lambda: bad(on_error="none"), "bad"),
    "branch": (lambda: pipe(Branch("b", apply(typo), on_error="none"), apply(kept)), "typo"),
    "route": (lambda: route("n", id="r", on_error="none").case(-1, apply(kept)), "r"),
    "way of a route": (
        lambda: route("n", id="r", on_error="none").case(-1, None).default(apply(typo)), "typo",
    ),
    "repeat": (
        lambda: repeat(apply(kept), until="n < 0", id="r", max_rounds=2, on_error="none"), "r",
    ),
    "groups": (lambda: reduce(apply(of_group, on_error="none"), by="n"), "of_group"),
}  # fmt: skip
SOME_FAIL: dict[str, Callable[[], Any]] = {
    "one output": lambda: apply(mostly, on_error="none"),
    "several reasons": lambda: apply(several_reasons, on_error="none"),
    "a case": lambda: route("n", id="r", on_error="none").case(5, apply(kept)),
    "a good round": lambda: repeat(
        apply(kept), until="n == 5", id="r", max_rounds=2, on_error="none"
    ),
}
FIRST = "all of the first 20 items failed for one reason, and the run goes on"


def warnings_of(chain: Chain[Any, Any], caplog: pytest.LogCaptureFixture, **options: Any) -> Any:
    caplog.clear()
    with fake_engine("e", {"n": 1}, max_concurrency=1):
        run = chain.run([{"n": n} for n in range(150)], **options)
    assert run.stopped is None
    assert run.counts.ok == 150
    return [it.getMessage() for it in caplog.records if "all of the first" in it.getMessage()]


@pytest.mark.parametrize("name", ALL_FAIL)
def test_tolerated_failures_of_all_first_items_are_said_once(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, id = ALL_FAIL[name]
    (said,) = warnings_of(Chain(name="c", steps=make()), caplog)
    assert said.startswith(f"{id}: {FIRST}")


@pytest.mark.parametrize("name", SOME_FAIL)
def test_tolerated_failures_of_some_items_are_not(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings_of(Chain(name="c", steps=SOME_FAIL[name]()), caplog) == []


def test_rounds_of_a_repeat_are_one_item(caplog: pytest.LogCaptureFixture) -> None:
    def row(label: Label | None, names: Any) -> Row:
        return names["chain_input"]  # type: ignore[no-any-return]

    body = [apply(typo, on_error="none"), apply(row)]
    chain = Chain(name="c", steps=repeat(body, until="round == 3", id="r", max_rounds=3))
    with fake_engine("e", {"n": 1}):
        chain.run([{"n": n} for n in range(19)])
        assert not any(FIRST in it.getMessage() for it in caplog.records)
    assert len(warnings_of(chain, caplog)) == 1


def test_failures_of_an_earlier_run_are_not_counted_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chain = Chain(name="c", steps=apply(typo, on_error="none"))
    assert len(warnings_of(chain, caplog, output_dir=tmp_path)) == 1
    assert warnings_of(chain, caplog, output_dir=tmp_path, resume=True) == []


@pytest.mark.parametrize("default", [Label(label="-"), {"label": "-"}])
def test_the_default_of_a_branch_has_the_type_of_its_output(default: Any) -> None:
    branch = Branch("side", label(), default=default).join("aside")
    seen = Step(
        id="seen",
        input_model=Row,
        output_model=str,
        engine_name="e",
        user_prompt="{{ aside.label }}",
    )
    with fake_engine("e", [EngineError("gone"), "good"]) as engine:
        assert Chain(name="c", steps=[branch, seen]).run_one(Row(n=0)) == "good"
    assert engine.requests[-1][-1]["content"] == "-"

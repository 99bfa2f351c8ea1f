"""Values in prompts, and the bounds of prompts."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, Step, apply
from chainette.errors import ChainError
from chainette.pipeline.prompt import PromptTemplate
from chainette.testing import fake_engine
from pydantic import BaseModel


class Colour(Enum):
    red = "rouge"


class Size(str, Enum):
    big = "grand"


class Lamp(BaseModel):
    colour: Colour
    price: Decimal = Decimal("1.10")


@dataclass
class Point:
    x: int


LAMP = Lamp(colour=Colour.red)
JSON = '{"colour":"rouge","price":"1.10"}'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.red, "rouge"),
        (Size.big, "grand"),
        (LAMP, JSON),
        ([LAMP], f"[{JSON}]"),
        ((LAMP, 1), f"[{JSON},1]"),
        ({"a": [LAMP]}, f'{{"a":[{JSON}]}}'),
        ({"a": {"b": ({"c": LAMP},)}}, f'{{"a":{{"b":[{{"c":{JSON}}}]}}}}'),
        ([Colour.red], '["rouge"]'),
        ([date(2026, 1, 2)], '["2026-01-02"]'),
        (Point(1), '{"x":1}'),
        (["a", 1], "['a', 1]"),
        ({"a": None}, "{'a': None}"),
        (date(2026, 1, 2), "2026-01-02"),
        ("<b>", "<b>"),
    ],
    ids=repr,
)
def test_a_value_is_written_for_a_reader(value: Any, expected: str) -> None:
    assert PromptTemplate("{{ value }}", "here").render({"value": value}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (LAMP, JSON),
        ([LAMP], f"[{JSON}]"),
        (date(2026, 1, 2), '"2026-01-02"'),
        (Decimal("1.10"), '"1.10"'),
        (Colour.red, '"rouge"'),
        ("<b>é", '"<b>é"'),
        ({"b": 1, "a": None}, '{"b":1,"a":null}'),
    ],
    ids=repr,
)
def test_tojson_writes_every_value_as_json(value: Any, expected: str) -> None:
    assert PromptTemplate("{{ value | tojson }}", "here").render({"value": value}) == expected


def test_values_that_are_joined_are_written_in_the_same_way() -> None:
    values = {"x": [Colour.red, 1], "y": [{"colour": Colour.red}]}
    source = "{{ x | join(', ') }} {{ y | join('', attribute='colour') }} {{ '<' ~ x[0] ~ '>' }}"
    assert PromptTemplate(source, "here").render(values) == "rouge, 1 rouge <rouge>"


def test_tojson_indents_and_refuses_unknown_names() -> None:
    template = PromptTemplate("{{ value | tojson(indent=2) }}", "here")
    assert template.render({"value": {"a": 1}}) == '{\n  "a": 1\n}'
    with pytest.raises(ChainError, match="'value' is undefined"):
        template.render({})


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ ('a' * 1000) * 100000 }}",
        "{{ [0] * 10**9 }}",
        "{{ '%0999999999d' % 1 }}",
        "{{ '%*d' % (999999999, 1) }}",
        "{{ '%0999999999d' | format(1) }}",
        "{{ '{:0999999999d}'.format(1) }}",
        "{{ '{:{}}'.format(1, 999999999) }}",
        "{{ 'a'.ljust(10**9) }}",
        "{{ 'a'.zfill(999999999) }}",
        "{{ 'a' | center(999999999) }}",
        "{{ 'a\nb' | indent(999999999) }}",
        "{{ x.replace('', x).replace('', x).replace('', x) }}",
        "{{ ([x] * 99999) | join(x) }}",
        "{{ 9 ** 99999999 }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(9999) %}{{ x }}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{{ x }}{% endfor %}",
        "{% set n = namespace(s=x) %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s=x) %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
    ],
)
def test_a_template_that_would_hang_or_fill_the_memory_is_one_error(source: str) -> None:
    started = time.process_time()
    with pytest.raises(ChainError, match="step 'a', user_prompt: "):
        PromptTemplate(source, "step 'a', user_prompt").render({"x": "x" * 1000})
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 'ab' * 3 }}", "ababab"),
        ("{{ 6 * 7 }} {{ 2 ** 10 }} {{ 7 % 4 }} {{ 1 + 1 }}", "42 1024 3 2"),
        ("{{ '%05.1f' % 2 }} {{ '%s' | format('x') }} {{ '{:>3}'.format(1) }}", "002.0 x   1"),
        ("{{ '-' * 3 ~ 1 ~ x }}", "---1x"),
        (
            "{{ 'a' | center(3) }}|{{ 'a\nb' | indent(2) }}|{{ 'aa' | replace('a', 'b', 1) }}",
            " a |a\n  b|ba",
        ),
        ("{% for a in range(3) %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/3 2/3 3/3 "),
        ("{% for a, b in {'k': 1}.items() %}{{ a }}{{ b }}{% else %}-{% endfor %}", "k1"),
        ("{% for a in [1, 2] | map('string') %}{{ a }}{% endfor %}", "12"),
        (
            "{% for a in [[1], [2]] recursive %}{{ loop(a) if a is iterable else a }}{% endfor %}",
            "12",
        ),
        ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(x) }}", "<x>"),
    ],
)
def test_templates_within_the_bounds_are_rendered(source: str, expected: str) -> None:
    assert PromptTemplate(source, "here").render({"x": "x"}) == expected


def test_a_prompt_has_a_limit() -> None:
    template = PromptTemplate("{{ x }}{{ x }}", "step 'a', user_prompt")
    assert len(template.render({"x": "x" * 5_000_000})) == 10_000_000
    with pytest.raises(ChainError, match=r"step 'a', user_prompt: .* more than 10,000,000 char"):
        template.render({"x": "x" * 5_000_001})


class Text(BaseModel):
    text: str


class Loose(BaseModel):
    text: Any


@pytest.mark.parametrize("model", [Text, Loose])
def test_half_a_surrogate_pair_in_an_input_fails_its_row(model: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "\\ud800"}\n')
    step = Step(
        id="s", input_model=model, output_model=Text, engine_name="e", user_prompt="{{ text }}"
    )
    with fake_engine("e") as engine:
        run = Chain(name="c", steps=step).run(tmp_path / "a.jsonl", output_dir=tmp_path / "run")
        assert [result.ok for result in run.results] == [True, False]
        assert "half a surrogate pair, which UTF-8 cannot encode" in str(run.results[1].error)
    assert len(engine.requests) == 1


@pytest.mark.parametrize("fmt", ["jsonl", "parquet"])
def test_files_are_utf_8_whatever_a_function_returns(fmt: Any, tmp_path: Path) -> None:
    def broken(row: Text) -> Any:
        return {"text": row.text + "\ud800", "\udc00": ["\udfff"]}

    chain = Chain(name="c", steps=apply(broken, output_model=dict[str, Any]))
    run = chain.run([{"text": "a"}], output_dir=tmp_path / "run", fmt=fmt)
    assert run.counts.rows == len(list(run.results)) == 1
    for path in (tmp_path / "run").rglob("*.json*"):
        path.read_bytes().decode()


LONE = "x\ud800"
BROKEN: dict[str, tuple[Any, Any]] = {
    "a field": (Text.model_construct(text=LONE), Any),
    "a field of a dict": ({"text": LONE, "n": 1}, dict[str, Any]),
    "a name": ({f"a{LONE}": "b"}, dict[str, Any]),
    "a text": (LONE, str),
    "a list": ({"texts": ["a", LONE], "more": [{"deep": {"er": LONE}}]}, dict[str, Any]),
    "an error": (ValueError(LONE), str),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("in_memory", [True, False])
def test_the_table_of_a_run_is_utf_8_whatever_a_function_returns(
    kind: str, in_memory: bool, tmp_path: Path
) -> None:
    value, output_model = BROKEN[kind]

    def broken(row: Text) -> Any:
        if row.text == "fine":
            return {"text": "fine"} if output_model is not str else "fine"
        if isinstance(value, Exception):
            raise value
        return value

    chain = Chain(name="c", steps=apply(broken, output_model=output_model))
    folder = None if in_memory else tmp_path / "run"
    run = chain.run([{"text": "a"}, {"text": "fine"}], output_dir=folder)
    table = run.to_arrow()
    table.validate(full=True)
    text = json.dumps(table.to_pylist(), ensure_ascii=False) + " ".join(table.column_names)
    assert "x\N{REPLACEMENT CHARACTER}" in text
    assert "fine" in text
    text.encode()


@pytest.mark.parametrize("is_item", [False, True])
def test_a_prompt_that_is_too_long_names_its_step_and_its_row(is_item: bool) -> None:
    step = Step(
        id="s", input_model=Text, output_model=Text, engine_name="e", user_prompt="{{ text * 400 }}"
    )

    def split(row: Text) -> list[Text]:
        return [row, row]

    steps: Any = apply(split) >> step if is_item else step
    rows = [{"text": "a"}, {"text": "b" * 30_000}]
    with fake_engine("e"):
        failed = list(Chain(name="c", steps=steps).run(rows).errors)
    assert len(failed) == 1
    where = "row 1, item 0" if is_item else "row 1"
    assert f"{where}: step 's', user_prompt: it makes a text of more than" in str(failed[0].error)
    assert "10,000,000 characters" in str(failed[0].error)


LONG = "it makes a text of more than 100 characters (max_prompt_chars=100): shorten it, or raise"


@pytest.mark.parametrize(
    "template",
    [
        "{{ text }}",
        "{% for a in [1, 2] %}{{ text }}{% endfor %}",
        "{{ (text * 99) | length }}",
        "{{ (text ~ text) | length }}",
        "{{ (text + text) | length }}",
        "{{ [text, text] | join(', ') | length }}",
        "{{ text | replace('x', text) | length }}",
        "{{ text | indent(60) | length }}",
        "{{ text.ljust(text | length) | length }}",
    ],
)
def test_a_run_can_have_another_limit_of_prompts(template: str) -> None:
    step = Step(id="s", input_model=Text, output_model=str, engine_name="e", user_prompt=template)
    chain = Chain(name="c", steps=step)
    rows = [{"text": "x"}, {"text": "x" * 101 + "\n"}]
    with fake_engine("e"):
        run = chain.run(rows, max_prompt_chars=100)
        (failed,) = run.errors
        assert f"row 1: step 's', user_prompt: {LONG}" in str(failed.error)
        assert run.counts.ok == 1
        assert chain.run(rows).counts.ok == 2, "the limit is that of one run"
        with pytest.raises(ChainError, match="max_prompt_chars=100"):
            chain.run_one(rows[1], max_prompt_chars=100)


def test_the_limit_of_prompts_can_be_larger() -> None:
    step = Step(
        id="s",
        input_model=Text,
        output_model=str,
        engine_name="e",
        user_prompt="{{ (text * 11000000) | length }}",
    )
    chain = Chain(name="c", steps=step)
    with fake_engine("e"):
        assert chain.run([{"text": "x"}]).counts.failed == 1
        assert chain.run([{"text": "x"}], max_prompt_chars=12_000_000).counts.ok == 1
        assert chain.run_one({"text": "x"}, max_prompt_chars=12_000_000) == "text"


@pytest.mark.parametrize("flags", [("--max-prompt-chars", "3"), ("--dry-run",)])
def test_the_command_line_and_yaml_know_the_limit_of_prompts(
    flags: tuple[str, ...], in_process: Any, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(
        "name: c\nrun: {max_prompt_chars: 4}\nmodels: {M: {text: str}}\nsteps:\n"
        "  - {id: s, input_model: M, output_model: M, engine_name: e, user_prompt: '{{ text }}'}\n"
        "engines: [{name: e, backend: openai, model: m, endpoint: 'http://127.0.0.1:9/v1'}]\n"
    )
    (tmp_path / "rows.jsonl").write_text('{"text": "xxxxx"}\n')
    outcome = in_process("run", "c.yaml", "-i", "rows.jsonl", "-o", "out", *flags)
    assert outcome.returncode in (1, 2)
    most = flags[-1] if len(flags) == 2 else "4"
    assert f"(--max-prompt-chars {most})" in " ".join(outcome.stderr.split())

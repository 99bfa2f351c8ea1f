"""Inputs as people have them, and the one message about those that are not rows."""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from chainette import Chain, SamplingParams, Step, apply
from chainette.errors import ChainError, ChainetteError, ConfigError, InputError
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.testing import fake_engine
from pydantic import BaseModel, Field, RootModel, model_validator


class Review(BaseModel):
    text: str
    stars: int | None = None


class Other(BaseModel):
    x: int


@dataclass
class Point:
    x: int


def chain(model: Any = Review) -> Chain:
    return Chain(
        name="c", steps=apply(lambda row: row, id="same", input_model=model, output_model=Any)
    )


def values(inputs: Any, model: Any = Review, **options: Any) -> list[Any]:
    return [result.unwrap() for result in chain(model).run(inputs, **options).results]


def texts() -> Iterator[dict[str, str]]:
    yield {"text": "a"}


async def later() -> list[dict[str, str]]:
    return [{"text": "a"}]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"text": "a"}, r"\[row\], or run_one\(row\)"),
        ({"text": ["a", "b"]}, r"zip\(\*columns"),
        (Review(text="a"), r"not one \(Review\): give \[row\], or run_one\(row\)"),
        ("some text", "no such file, and a text is not a row"),
        ("text", "no such file, and a text is not a row"),
        ("missing.jsonl", "missing.jsonl: No such file"),
        (b'{"text": "a"}', "not bytes"),
        (io.StringIO('{"text": "a"}'), "give its path"),
        (texts, "function: call it"),
        (Review, "neither an iterable"),
        (3, "neither an iterable"),
        (["a", "b"], r"not str: give dicts .* \[\{'text': value\}"),
        ([Path("a.csv")], "not .*Path: give dicts or instances of Review"),
        ([Other(x=1)], "not Other: give dicts or instances of Review"),
        ([Point(1)], "not Point"),
        ("x" * 5000, "no such file, and a text is not a row"),
        ("", "no such file, and a text is not a row"),
        ("https://example.com/rows.jsonl", "is an address; download the file"),
        ((text for text in ["a", "b"]), "not str"),
        ([["a"], ["b"]], "not list"),
        ([1, 2], "not int"),
        (pa.chunked_array([["a"]]), "not one column"),
    ],
)
def test_what_is_not_rows_is_refused_once_with_the_way_to_give_them(
    inputs: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        chain().run(inputs, output_dir=tmp_path / "run")


def test_a_coroutine_is_refused_with_the_advice_to_await_it() -> None:
    with pytest.raises(InputError, match="await it first"):
        chain().run(later())  # type: ignore[arg-type]


def test_async_generators_are_read_as_before() -> None:
    async def rows() -> AsyncIterator[dict[str, str]]:
        yield {"text": "a"}

    async def main() -> int:
        return (await chain().arun(rows())).counts.ok

    assert asyncio.run(main()) == 1


def test_plain_values_are_rows_where_the_chain_takes_them() -> None:
    class Words(RootModel[list[str]]):
        pass

    assert values([["a"], ["b"]], Words) == [Words(["a"]), Words(["b"])]
    assert values(["a", "b"], str) == ["a", "b"]


def frames() -> list[Any]:
    table = pa.table({"text": ["a", "b"], "stars": [1, None]})
    floats = pa.table({"text": ["a", "b"], "stars": [1.0, float("nan")]})
    return [table, floats, table.to_batches()[0], table.to_reader()]


@pytest.mark.parametrize("frame", frames(), ids=["table", "NaN", "batch", "reader"])
def test_a_data_frame_of_arrow_is_its_rows(frame: Any) -> None:
    assert values(frame) == [Review(text="a", stars=1), Review(text="b")]


def test_whatever_has_an_arrow_stream_is_its_rows() -> None:
    class Frame:
        """A frame of a library that Chainette does not know."""

        def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
            return pa.table({"text": ["a", "b"], "stars": [1, None]}).__arrow_c_stream__()

    assert values(Frame()) == [Review(text="a", stars=1), Review(text="b")]


def test_a_data_frame_of_pandas_is_its_rows() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"text": ["a", "b"], "stars": [1.0, float("nan")]}, index=[7, 9])
    assert values(frame) == [Review(text="a", stars=1), Review(text="b")]
    assert values(frame, sample=1, limit=1) == [Review(text="a", stars=1)]


def test_cells_of_pandas_are_plain_values() -> None:
    pd = pytest.importorskip("pandas")

    class Row(BaseModel):
        when: datetime | None = None
        words: list[str]
        code: str

    frame = pd.DataFrame(
        {
            "when": pd.to_datetime(["2026-01-02", None]),
            "words": [pd.array(["x"]).to_numpy(), ["y"]],
            "code": pd.Categorical(["p", "q"]),
        }
    )
    assert values(frame, Row) == [
        Row(when=datetime(2026, 1, 2), words=["x"], code="p"),
        Row(words=["y"], code="q"),
    ]


def test_a_data_frame_of_polars_is_its_rows() -> None:
    class Row(BaseModel):
        when: datetime | None = None
        words: list[str] | None = None
        code: str
        price: Decimal | None = None
        parts: dict[str, Any] | None = None
        share: float | None = None

    frame = pl.DataFrame(
        {
            "when": [datetime(2026, 1, 2), None],
            "words": [["a", "b"], None],
            "code": pl.Series(["p", "q"], dtype=pl.Categorical),
            "price": [Decimal("1.50"), None],
            "parts": [{"a": 1}, {"a": 2}],
            "share": [math.nan, 0.5],
        }
    )
    assert values(frame, Row) == [
        Row(
            when=datetime(2026, 1, 2),
            words=["a", "b"],
            code="p",
            price=Decimal("1.50"),
            parts={"a": 1},
        ),
        Row(code="q", parts={"a": 2}, share=0.5),
    ]
    with pytest.raises(InputError, match=r"LazyFrame: give its collect\(\)"):
        values(frame.lazy(), Row)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["list", "jsonl", "json", "csv", "table", "dataset", "columns"])
def test_a_missing_column_is_found_once_before_anything_is_sent(
    kind: str, count: int, tmp_path: Path
) -> None:
    rows = [{"id": n, "Txt": "a"} for n in range(count)]
    lines = [f'{{"id": {n}, "Txt": "a"}}' for n in range(count)]
    content = {
        "jsonl": "\n".join(lines),
        "json": f"[{', '.join(lines)}]",
        "csv": "id,Txt\n" + "1,a\n" * count,
    }
    inputs: Any = rows if kind in ("list", "columns", "dataset") else tmp_path / f"rows.{kind}"
    if kind in content:
        inputs.write_text(content[kind])
    elif kind == "table":
        inputs = pa.Table.from_pylist(rows)
    elif kind == "dataset":
        inputs = pytest.importorskip("datasets").Dataset.from_list(rows)
    columns = {"text": "txt"} if kind == "columns" else None
    step = Step(
        id="s", input_model=Review, output_model=Review, engine_name="e", user_prompt="{{ text }}"
    )
    with fake_engine("e") as engine, pytest.raises(InputError) as caught:
        Chain(name="c", steps=step).run(inputs, columns=columns, output_dir=tmp_path / "run")
    name = "txt" if kind == "columns" else "text"
    assert f"no column {name!r} (did you mean 'Txt'?); the columns are: id, Txt" in str(
        caught.value
    )
    assert not engine.requests
    assert not (tmp_path / "run").exists()


def test_rows_that_differ_fail_one_by_one() -> None:
    run = chain().run([{}, {"txt": "a"}, {"text": "b"}])
    assert [result.ok for result in run.results] == [False, False, True]


def test_a_field_is_found_under_its_alias_or_made_by_a_validator() -> None:
    class Aliased(BaseModel):
        text: str = Field(alias="Body")

    class Made(BaseModel):
        text: str

        @model_validator(mode="before")
        @classmethod
        def make(cls, data: Any) -> Any:
            return {"text": data["a"] + data["b"]}

    assert values([{"Body": "x"}], Aliased)[0].text == "x"
    assert values([{"a": "x", "b": "y"}], Made)[0].text == "xy"
    with pytest.raises(InputError, match="no column 'Body'"):
        chain(Aliased).run([{"text": "x"}])


def test_an_empty_cell_is_called_empty(tmp_path: Path) -> None:
    class Row(BaseModel):
        text: str
        note: str | None
        label: str = "none"

    (tmp_path / "a.csv").write_text("text,note,label\nx,,\n,y,z\n")
    for inputs in (
        tmp_path / "a.csv",
        pa.table({"text": ["x", None], "note": [None, "y"], "label": [None, "z"]}),
    ):
        good, bad = chain(Row).run(inputs).results
        assert good.unwrap() == Row(text="x", note=None, label="none")
        assert "'text' is empty" in str(bad.error)


STEP: dict[str, Any] = {
    "id": "s", "input_model": Review, "output_model": Review, "engine_name": "e",
    "user_prompt": "{{ text }}",
}  # fmt: skip


def test_an_engine_in_place_of_its_name_is_refused_with_the_name() -> None:
    with (
        fake_engine("small") as engine,
        pytest.raises(ChainError, match=r"not the .* itself: engine_name='small'"),
    ):
        Step(**STEP | {"engine_name": engine})
    with pytest.raises(ChainError, match="not the int itself"):
        Step(**STEP | {"engine_name": 3})


@pytest.mark.parametrize("field", ["user_prompt", "system_prompt"])
@pytest.mark.parametrize("prompt", [None, b"{{ text }}", ["{{ text }}"]])
def test_a_prompt_that_is_not_a_text_is_refused(field: str, prompt: Any) -> None:
    with pytest.raises(ChainError, match=rf"step 's', {field}: give a text, not "):
        Step(**STEP | {field: prompt})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_token": 5}, "SamplingParams: unknown key 'max_token' (did you mean 'max_tokens'?)"),
        ({"temprature": 0}, "(did you mean 'temperature'?)"),
        ({"temperature": -1, "n": 0}, "temperature: Input should be greater"),
    ],
)
def test_a_wrong_sampling_parameter_is_one_message(fields: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SamplingParams(**fields)
    assert message in str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("Classify {text}", "Classify {{ text }}"),
        ("Classify { text }", "Classify {{ text }}"),
        ("Classify ${text}", "'Classify {{ text }}'"),
        ("Classify {chain_input.text!r}, {other}", "Classify {{ chain_input.text }}, {other}"),
        ('{"label": "x"} for {text:>5}', '{"label": "x"} for {{ text }}'),
    ],
)
def test_a_prompt_in_the_manner_of_f_strings_is_refused(prompt: str, meant: str) -> None:
    for fields in ({"user_prompt": prompt}, {"user_prompt": "Classify", "system_prompt": prompt}):
        with pytest.raises(ChainError) as caught:
            Chain(name="c", steps=Step(**STEP | fields))
        assert meant in str(caught.value)


@pytest.mark.parametrize(
    "prompt", ["Tell a joke", "{{ range(3) | list }}", "{% set a = 1 %}{{ a }}"]
)
def test_a_prompt_that_is_the_same_for_every_row_needs_leave(prompt: str) -> None:
    with pytest.raises(ChainError, match=r"as \{\{ text \}\}, or allow it with constant_prompt"):
        Chain(name="c", steps=Step(**STEP | {"user_prompt": prompt}))
    Chain(name="c", steps=Step(**STEP | {"user_prompt": prompt}, constant_prompt=True))
    Chain(name="c", steps=Step(**STEP | {"user_prompt": prompt, "system_prompt": "{{ text }}"}))


def test_a_constant_prompt_is_allowed_in_yaml(tmp_path: Path) -> None:
    text = """
name: jokes
models: {Row: {text: str}}
steps:
  - {id: joke, engine_name: e, input_model: Row, output_model: Row, user_prompt: Tell a joke%s}
"""
    file = tmp_path / "chain.yml"
    file.write_text(text % "")
    with pytest.raises(ChainError, match=r"chain.yml:.*the same for all"):
        load_yaml_chain(file)
    file.write_text(text % ", constant_prompt: true")
    assert load_yaml_chain(file).chain.steps


def test_several_completions_of_a_step_are_refused() -> None:
    with pytest.raises(ChainError, match=r"n=3 would pay for 3 completions and keep one.*generate"):
        Step(**STEP, sampling=SamplingParams(n=3))
    with pytest.raises(ChainetteError, match="sampling is a dict"):
        Step(**STEP, sampling={"n": 1})  # type: ignore[arg-type]

"""Inputs as people have them, and the one message about those that are not rows."""

from __future__ import annotations

import asyncio
import csv
import inspect
import io
import math
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import chainette
import chainette.backend
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from chainette import Chain, SamplingParams, Step, apply, register_engine
from chainette.errors import ChainError, ConfigError, InputError
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.run.inputs.source import InputSource
from chainette.testing import fake_engine
from chainette_openai.config import OpenAIConfig
from pydantic import AliasChoices, AliasPath, BaseModel, Field, RootModel, model_validator


class Review(BaseModel):
    text: str
    stars: int | None = None


class Other(BaseModel):
    x: int


@dataclass
class Point:
    x: int


class Pair(NamedTuple):
    text: str
    stars: int


WANTED = (
    r"give a list of dicts or models, such as \[\{'text': value\}\], "
    "a data frame, or the path of a file"
)


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
        (texts, "not a function: call it, and give what it returns"),
        (lambda: [{"text": "a"}], "not a function: call it, and give what it returns"),
        (Review, r"not the class Review: give instances of it in a list, \[Review\(…\)\]"),
        (Point, r"not the class Point: give instances of it in a list, \[Point\(…\)\]"),
        (Point(1), r"not one \(Point\): give \[row\], or run_one\(row\)"),
        (Pair("a", 1), r"not one \(Pair\): give \[row\], or run_one\(row\)"),
        (list, f"not the class list: {WANTED}"),
        (3, f"not int: {WANTED}"),
        (1.5, f"not float: {WANTED}"),
        (True, f"not bool: {WANTED}"),
        (None, f"not None: {WANTED}"),
        (..., f"not Ellipsis: {WANTED}"),
        (object(), f"not object: {WANTED}"),
        (io, f"not the module io: {WANTED}"),
        (np.array(3), f"not ndarray: {WANTED}"),
        (np.array([["a"]]), r"not ndarray: .*, for example \[dict\(zip\(names, value\)\)"),
        ([np.array([1, 2])], "not ndarray: give dicts or instances of Review"),
        (pd.Series(["a"]), r"not one column \(Series\): give a data frame"),
        (pd.DataFrame({"text": ["a"]}).iloc[0], r"not one column \(Series\): give a data frame"),
        (range(3), r"not int: .* for example \[\{'text': value\} for value in …\]"),
        ({"a", "b"}, r"not str: .* for example \[\{'text': value\} for value in …\]"),
        ([("a", 1)], r"not tuple: .*, for example \[dict\(zip\(names, value\)\)"),
        ([Pair("a", 1)], r"not Pair: .*, for example \[value._asdict\(\) for value in …\]"),
        ([None], "not None: give dicts or instances of Review"),
        ([texts], "not a function: give dicts or instances of Review"),
        ([Review], "not the class Review: give dicts or instances of Review"),
        (["a", "b"], r"not str: give dicts .* \[\{'text': value\}"),
        ([Path("a.csv")], "not .*Path: give dicts or instances of Review"),
        ([Other(x=1)], "not Other: give dicts or instances of Review"),
        ([Point(1)], "not Point"),
        ("x" * 5000, "no such file, and a text is not a row"),
        ("", "no such file, and a text is not a row"),
        ("example://host/rows.jsonl", "no file system has the scheme 'example'"),
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


@pytest.mark.parametrize("inputs", [[1, 2], ["a"], [None]])
def test_rows_of_a_dataclass_are_wanted_too(inputs: Any) -> None:
    with pytest.raises(InputError, match="give dicts or instances of Point"):
        chain(Point).run(inputs)


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
    assert values(frame.lazy(), Row) == values(frame, Row)


async def over_time(rows: Any) -> AsyncIterator[Any]:
    for row in rows:
        yield row


class Stream:
    """Rows of a source that is read once, and says how far it was read."""

    def __init__(self, rows: Any) -> None:
        self.read = 0
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self.read += 1
        return next(self._rows)


ONE_SHOT = {
    "iterator": iter,
    "generator": lambda rows: (row for row in rows),
    "map": lambda rows: map(dict, rows),
    "stream": Stream,
    "asynchronous": over_time,
    "reader": lambda rows: pa.Table.from_pylist(rows).to_reader(),
    "DictReader": lambda rows: csv.DictReader(["id,Txt", *("1,a" for _ in rows)]),
}


@pytest.mark.parametrize("count", [1, 3, 300])
@pytest.mark.parametrize("kind", ONE_SHOT)
@pytest.mark.parametrize("limit", [None, 1])
def test_a_missing_column_of_inputs_that_are_read_once_is_found_once(
    kind: str, count: int, limit: int | None
) -> None:
    rows = [{"id": n, "Txt": "a"} for n in range(count)]
    step = Step(
        id="s", input_model=Review, output_model=Review, engine_name="e", user_prompt="{{ text }}"
    )
    with fake_engine("e") as engine, pytest.raises(InputError) as caught:
        Chain(name="c", steps=step).run(ONE_SHOT[kind](rows), limit=limit)
    message = "no column 'text' (did you mean 'Txt'?); the columns are: id, Txt"
    assert message in str(caught.value)
    assert not engine.requests


def test_a_missing_column_of_standard_input_is_found_once(in_process: Any, tmp_path: Path) -> None:
    (tmp_path / "c.py").write_text(
        "from pydantic import BaseModel\nfrom chainette import Chain, apply\n"
        "class Row(BaseModel):\n    text: str\n"
        "def same(row: Row) -> Row:\n    return row\n"
        "chain = Chain(name='c', steps=apply(same))\n"
    )
    command = ["run", f"{tmp_path}/c.py:chain", "-i", "-", "-o", str(tmp_path / "run")]
    done = in_process(*command, input='not JSON\n{"Txt": "a"}\n{"Txt": "b"}\n')
    assert done.returncode == 2
    assert done.stderr.count("no column 'text' (did you mean 'Txt'?)") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["iterator", "generator", "map", "stream", "asynchronous"])
@pytest.mark.parametrize(
    ("rows", "ok"),
    [
        ([{"Txt": "a"}, {}, {"text": "b"}, {"Txt": "a"}], [False, False, True, False]),
        ([{}], [False]),
        ([], []),
        ([{"text": "a"}, *[{"Txt": "b"}] * 15], [True] + [False] * 15),
        ([*[{"Txt": "b"}] * 9, {"text": "a"}, {"text": "b"}], [False] * 9 + [True] * 2),
        ([{"a": 1}, {"text": None}], [False, False]),
    ],
)
def test_no_row_of_inputs_that_are_read_once_is_lost(kind: str, rows: Any, ok: list[bool]) -> None:
    results = chain().run(ONE_SHOT[kind](rows)).results
    assert [result.row_id for result in results] == list(range(len(ok)))
    assert [result.ok for result in results] == ok


def test_no_row_is_read_after_one_that_fits() -> None:
    rows = Stream([{"Txt": "a"}, {"text": "b"}, {"text": "c"}])
    source = InputSource(rows, limit=None, sample=None, columns=None, model=Review)
    assert rows.read == 2
    assert source.total() is None


@pytest.mark.parametrize("first", [{"text": "a"}, {"Txt": "a"}], ids=["fits", "lacks a field"])
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_stream_that_waits_for_the_end_of_a_row_receives_it(first: Any, is_closed: bool) -> None:
    ends: list[str] = []

    async def main() -> list[int]:
        answered = asyncio.Event()

        async def rows() -> AsyncIterator[Any]:
            try:
                yield first
                await answered.wait()
                yield {"text": "b"}
            finally:
                ends.append("end")

        found = []
        async with aclosing(chain().stream(rows())) as results:
            async for result in results:
                found.append(result.row_id)
                if is_closed:
                    break
                answered.set()
        return found

    assert asyncio.run(asyncio.wait_for(main(), 20)) == ([0] if is_closed else [0, 1])
    assert ends == ["end"]


def test_the_exception_of_a_stream_is_raised_as_itself() -> None:
    async def rows() -> AsyncIterator[Any]:
        yield {"Txt": "a"}
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        chain().run(rows())


def failing(count: int, ok: int | None = None, kinds: int = 1) -> Iterator[dict[str, Any]]:
    """Rows that fail as they are read, except for one."""
    for number in range(count):
        fields = ["text", "stars"][number % kinds]
        yield {"text": "a"} if number == ok else {"text": "a", fields: []}


@pytest.mark.parametrize(
    ("rows", "options", "is_said", "is_stopped"),
    [
        (failing(19), {}, False, False),
        (failing(20), {}, True, False),
        (failing(99), {}, True, False),
        (failing(400), {}, True, True),
        (list(failing(100)), {}, True, False),
        (failing(400), {"max_errors": 300}, True, True),
        (failing(250), {"max_errors": 300}, True, False),
        (failing(400), {"max_errors": 0.99}, True, True),
        (failing(400, ok=0), {}, False, False),
        (failing(400, ok=19), {}, False, False),
        (failing(400, ok=50), {}, True, False),
        (failing(400, kinds=2), {}, False, False),
    ],
)
def test_rows_that_all_fail_for_one_reason_are_said_at_once_and_stop_the_run(
    rows: Any, options: Any, is_said: bool, is_stopped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    run = chain().run(rows, **options)
    said = [it.message for it in caplog.records if "all of the first 20 rows failed" in it.message]
    assert len(said) == is_said
    assert all("input row 19: text: Input should be a valid string" in text for text in said)
    assert (run.stopped is not None) == is_stopped
    most = 301 if options else 100
    assert run.counts.failed < 400 if is_stopped and most == 100 else run.counts.failed >= 19


@pytest.mark.parametrize("kind", ["function", "step"])
def test_failures_of_one_reason_are_alike_whatever_their_numbers(kind: str) -> None:
    def fail(row: Review) -> Review:
        raise ValueError(f"row {row.stars} has no price (id-{row.stars}a)")

    function = apply(fail, input_model=Review, output_model=Review)
    step = Step(
        id="s", input_model=Review, output_model=Review, engine_name="e", user_prompt="{{ text }}"
    )
    rows = [{"text": "a", "stars": n} for n in range(400)]
    with fake_engine("e", lambda messages: "no JSON at all"):
        run = Chain(name="c", steps=function if kind == "function" else step).run(rows)
    assert "all of the first 100 rows failed for one reason" in str(run.stopped)
    assert 100 <= run.counts.failed < 300


def test_a_run_that_was_stopped_is_not_stopped_by_the_failures_of_before(tmp_path: Path) -> None:
    broken = True

    def check(row: Review) -> Review:
        if broken:
            raise ValueError("no price list")
        return row

    chain = Chain(name="c", steps=apply(check, input_model=Review, output_model=Review))
    rows = [{"text": "a", "stars": n} for n in range(400)]
    first = chain.run(rows, output_dir=tmp_path / "run")
    assert first.stopped is not None
    broken = False
    options: Any = {"output_dir": tmp_path / "run", "force": True}  # a closure has changed
    second = chain.run(rows, resume=True, **options)
    assert second.stopped is None
    assert second.counts.failed == first.counts.failed
    assert chain.run(rows, retry_errors=True, **options).counts.ok == 400


def test_the_command_says_that_all_rows_fail_and_ends_with_3(
    in_process: Any, tmp_path: Path
) -> None:
    (tmp_path / "c.py").write_text(
        "from pydantic import BaseModel\nfrom chainette import Chain, apply\n"
        "class Row(BaseModel):\n    n: int\n"
        "def fail(row: Row) -> Row:\n    raise ValueError(f'no price for {row.n}')\n"
        "chain = Chain(name='c', steps=apply(fail))\n"
    )
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"n": {n}}}\n' for n in range(400)))
    command = ["run", f"{tmp_path}/c.py:chain", "-i", str(tmp_path / "rows.jsonl")]
    done = in_process(*command, "-o", str(tmp_path / "a"))
    assert done.returncode == 3
    assert "all of the first 20 rows failed for one reason" in done.stderr
    assert "to resume" in done.stderr
    done = in_process(*command, "-o", str(tmp_path / "b"), "--max-errors", "1000")
    assert done.returncode == 1


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
    with pytest.raises(ChainError, match="engine_name is 3; give the name of an engine"):
        Step(**STEP | {"engine_name": 3})


@pytest.mark.parametrize("field", ["user_prompt", "system_prompt"])
@pytest.mark.parametrize("prompt", [None, b"{{ text }}", ["{{ text }}"]])
def test_a_prompt_that_is_not_a_text_is_refused(field: str, prompt: Any) -> None:
    is_missing = prompt is None and field == "user_prompt"
    said = ": give user_prompt, or messages" if is_missing else f", {field}: give a text, not "
    with pytest.raises(ChainError, match=f"step 's'{said}"):
        Step(**STEP | {field: prompt})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_token": 5}, "SamplingParams: unknown key 'max_token' (did you mean 'max_tokens'?)"),
        ({"temprature": 0}, "(did you mean 'temperature'?)"),
        ({"temperature": -1, "n": 0}, "temperature: expected a number of at least 0"),
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
    with pytest.raises(ChainError, match=r"n=3 would pay for 3 completions.*samples=3"):
        Step(**STEP, sampling=SamplingParams(n=3))
    with pytest.raises(ChainError, match="n=3 would pay"):
        Step(**STEP, sampling={"n": 3})


GIVEN: dict[str, dict[str, Any]] = {
    "ApplyNode": {"fn": repr, "id": "x"},
    "Backend": {"name": "x", "config": "m:C", "client": "m:C"},
    "BaseClient": {"config": None},
    "BaseHTTPClient": {"config": None},
    "Branch": {"name": "x", "steps": []},
    "Capabilities": {"json_schema": True},
    "Chain": {"name": "x", "steps": []},
    "Completion": {"text": "x"},
    "Container": {"name": "x", "options": [], "image": "x", "arguments": [], "url": "x"},
    "Download": {"what": "x"},
    "EngineConfig": {"name": "x", "backend": "openai"},
    "GuidedDecodingParams": {"choice": ["x"]},
    "HTTPResponse": {"status": 200, "headers": {}, "body": b""},
    "LLMOutput": {"outputs": []},
    "OpenAIChatClient": {"config": None},
    "OpenAIResponsesClient": {"config": None},
    "OutputSchema": {"output_type": int},
    "PerLoop": {"make": repr},
    "Request": {"messages": [], "sampling": SamplingParams()},
    "Result": {"row_id": 1},
    "Run": {"results": [], "counts": None},
    "SamplingParams": {"max_tokens": 5},
    "ServerProcess": {"command": [], "name": "x"},
    "SharedStart": {"work": repr},
    "Step": {**STEP},
    "Usage": {"prompt_tokens": 1},
}
"""The arguments of every public class that is made by hand."""


def public_classes() -> dict[str, Any]:
    values = {
        name: getattr(module, name)
        for module in (chainette, chainette.backend)
        for name in module.__all__
    }
    return {name: value for name, value in values.items() if inspect.isclass(value)}


def instance(name: str, /, **fields: Any) -> Any:
    cls = public_classes()[name]
    if inspect.isabstract(cls):

        class Made(cls):  # type: ignore[misc]
            async def _chat(self, request: Any) -> Any: ...

        cls = Made
    return cls(**fields)


def test_every_public_class_is_in_the_table() -> None:
    made = {
        name
        for name, value in public_classes().items()
        if not issubclass(value, dict) and not issubclass(value, Exception)
    }
    # Runs make those, and a cache has no keywords.
    assert made - {"Calls", "Group", "IdentityCache", "SyncCalls"} == GIVEN.keys()


QUICK = {"Completion", "HTTPResponse", "LLMOutput", "Request", "Usage"}
"""Classes that are made for every row, for which looking at keywords would take too long."""


@pytest.mark.parametrize("name", sorted(GIVEN.keys() - QUICK))
def test_a_wrong_keyword_of_a_public_class_is_answered_with_the_nearest_right_one(
    name: str,
) -> None:
    last = list(GIVEN[name])[-1]
    wrong = f"{last}s" if len(last) < 5 else last[:-1]
    with pytest.raises((ConfigError, TypeError)) as caught:
        instance(name, **GIVEN[name], **{wrong: 1})
    message = str(caught.value)
    assert re.search(rf"unknown (key|keyword) '{wrong}' \(did you mean '{last}'\?\)", message)
    assert "pydantic" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("EngineConfig", {"max_concurency": 3}, "(did you mean 'max_concurrency'?)"),
        ("EngineConfig", {"timeout": 0}, "EngineConfig: timeout: expected a number above 0"),
        (
            "EngineConfig",
            {"price": {"input": 1, "ouput": 2}},
            "unknown key 'ouput' in price (did you mean 'output'?)",
        ),
        ("GuidedDecodingParams", {"regx": "a"}, "(did you mean 'regex'?)"),
        ("GuidedDecodingParams", {"json": {"a": 1}}, "give exactly one of json, regex"),
        ("GuidedDecodingParams", {"regex": 3}, "regex: expected a text"),
        (
            "SamplingParams",
            {"guided_decoding": {"choise": ["a"]}},
            "unknown key 'choise' in guided_decoding (did you mean 'choice'?)",
        ),
        ("Step", {"sampling_params": None}, "(did you mean 'sampling'?); keywords: id, "),
        ("Step", {"output_modell": str}, "(did you mean 'output_model'?)"),
    ],
)
def test_a_mistake_in_a_public_class_is_one_message(name: str, fields: Any, message: str) -> None:
    with pytest.raises((ConfigError, TypeError)) as caught:
        instance(name, **GIVEN[name] | fields)
    assert message in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_mistake_in_the_configuration_of_a_backend_is_one_message() -> None:
    with pytest.raises(ConfigError, match=r"OpenAIConfig: unknown key 'modl' \(did you mean"):
        OpenAIConfig(name="x", backend="openai", model="m", modl="m")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"unknown key 'modl' \(did you mean 'model'\?\)"):
        register_engine("x", backend="openai", model="m", modl="m")


def test_the_errors_of_plugins_name_their_keywords() -> None:
    with pytest.raises(TypeError, match=r"unknown keyword 'stats' \(did you mean 'status'\?\)"):
        chainette.backend.RateLimitError("slow", stats=429)  # type: ignore[call-arg]


def test_an_option_of_apply_is_answered_with_the_nearest_right_one() -> None:
    with pytest.raises(TypeError, match=r"unknown keyword 'bach' \(did you mean 'batch'\?\)"):
        apply(lambda row: row, id="x", bach=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"unknown keyword 'bach' \(did you mean 'batch'\?\)"):

        @apply(bach=3)  # type: ignore[call-overload]
        def same(row: Any) -> Any:
            return row


class Asked(BaseModel):
    text: str
    n: int = 0


def test_columns_that_leave_out_a_required_field_are_refused() -> None:
    def length(row: Asked) -> int:
        return len(row.text)

    chain = Chain(name="lengths", steps=apply(length))
    rows = [{"body": "a"}]
    with pytest.raises(InputError) as caught:
        chain.run(rows, columns={"txt": "body"})
    assert str(caught.value) == (
        "columns: Asked has no field 'txt' (did you mean 'text'?); its fields are: text, n"
    )
    with pytest.raises(InputError, match="no column is taken for 'text'; columns are taken for: n"):
        chain.run(rows, columns={"n": "body"})
    assert chain.run(rows, columns={"text": "body"}).results[0].value == 1
    assert chain.run([{"body": "a", "n": 1}], columns={"text": "body", "n": "n"}).counts.ok == 1


class Named(BaseModel):
    text: str = Field(validation_alias=AliasChoices("words", AliasPath("parts", 0)))
    n: int = Field(0, alias="number")


class Loose(BaseModel, extra="allow"):
    text: str


class Read(BaseModel):
    text: str

    @model_validator(mode="before")
    @classmethod
    def _joined(cls, row: dict[str, str]) -> dict[str, str]:
        return {"text": f"{row['a']}{row['b']}"}


@pytest.mark.parametrize(
    ("model", "columns", "fields"),
    [
        (Asked, {"text": "x", "zz": "y"}, "text, n"),
        (Asked, {"text": "x", "m": "y"}, "text, n"),
        (Named, {"words": "x", "txt": "y"}, "text, n"),
        (Loose, {"text": "x", "zz": "y"}, None),
        (Named, {"words": "x", "number": "n"}, None),
        (Named, {"parts": "list", "number": "n"}, None),
        (Read, {"a": "x", "b": "y"}, None),
    ],
)
def test_a_column_for_what_is_not_a_field_is_refused(
    model: Any, columns: dict[str, str], fields: str | None
) -> None:
    def length(row: Any) -> int:
        return len(row.text)

    chain = Chain(name="lengths", steps=apply(length, input_model=model, output_model=int))
    rows = [{"x": "a", "y": "b", "n": 1, "list": ["a"]}]
    if fields is None:
        assert chain.run(rows, columns=columns).counts.ok == 1
        return
    with pytest.raises(InputError, match=rf"columns: \w+ has no field '\w+'.*are: {fields}"):
        chain.run(rows, columns=columns)


def shout(text: str) -> str:
    return text.upper()


SHOUT = Chain(name="shout", steps=apply(shout))


@pytest.mark.parametrize(
    ("given", "column"),
    [
        (pd.Series(["a", "b"], name="word"), "word"),
        (pd.Series(["a", "b"]), "input"),
        (pl.Series("word", ["a", "b"]), "word"),
        (pl.Series(["a", "b"]), "input"),
        (pd.DataFrame({"word": ["a", "b"]}), "word"),
        (pl.DataFrame({"word": ["a", "b"]}).to_arrow(), "word"),
        (["a", "b"], "input"),
    ],
)
def test_one_column_is_a_value_a_row_where_a_value_is_expected(given: Any, column: str) -> None:
    results = SHOUT.run(given).results
    assert [it.value for it in results] == ["A", "B"]
    assert [it.inputs for it in results] == [{column: "a"}, {column: "b"}]


def test_a_file_of_one_column_is_a_value_a_row(tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("word\na\nb\n")
    assert [it.value for it in SHOUT.run(tmp_path / "words.csv").results] == ["A", "B"]
    (tmp_path / "more.csv").write_text("word,n\na,1\n")
    with pytest.raises(InputError, match=r"takes one value a row \(str\), .* columns word, n: "):
        SHOUT.run(tmp_path / "more.csv")
